"""The network in torch, on whatever device there is."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cleanplate.device import bfloat16_is_faster, pick_device
from cleanplate.models.blocks import lay_out, set_kernels
from cleanplate.models.ready import Normalise, ReadyModel
from cleanplate.predict.packed import pack_weights
from cleanplate.weights import WeightsCard, load_weights


class TorchBackend:
    """A backend of `Predictor`.

    Args:
        model: the network with its normalisation, in evaluation mode.
        card: what its weights say of themselves.
        exact: compute in float32 with torch's own layers; otherwise in the way that is fastest here.
    """

    def __init__(self, model: ReadyModel, card: WeightsCard, exact: bool = False) -> None:
        self.device = pick_device()
        self.model = model.to(self.device).eval()
        self.card = card
        if not exact:
            set_kernels(self.model, "fused")
            lay_out(self.model, torch.channels_last)
            if bfloat16_is_faster(self.device):
                self.model.compute_in(torch.bfloat16)
            if self.device.type == "cpu":
                pack_weights(self.model.model)

    @classmethod
    def load(cls, weights: Path | str, exact: bool = False) -> "TorchBackend":
        """Load a run folder's best weights or a weights file."""
        model, card = load_weights(weights)
        plate, frame = card.normalisation.plate, card.normalisation.frame
        return cls(ReadyModel(model, Normalise(plate.mean, plate.std), Normalise(frame.mean, frame.std)), card, exact)

    @property
    def size(self) -> int:
        """Pixels of the longer side that the network was trained at last."""
        return self.card.size

    @property
    def metres(self) -> tuple[float, float] | None:
        """What depth 0 and depth 1 are in metres; None where depth is relative, or there is none."""
        return self.card.depth.metres if self.card.depth else None

    @torch.inference_mode()
    def keep_plates(self, plates: np.ndarray) -> list[Tensor]:
        """Return the features of `(B, H, W, 3)` uint8 RGB plates."""
        return self.model.encode_plate(self._tensor(plates))

    @torch.inference_mode()
    def __call__(self, kept_plates: list[Tensor], frames: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Return masks and depths, `(B, H, W)` float32 of 0 to 1, of `(B, H, W, 3)` uint8 RGB frames.

        The plates are as many as the frames, or one for all of them. There are no depths from a network that has
        none, or has never seen a depth label.
        """
        plates = [features.expand(len(frames), -1, -1, -1) for features in kept_plates]
        mask, depth = self.model.answer(plates, self._tensor(frames))
        if depth is None or self.card.depth is None:
            return mask[:, 0].cpu().numpy(), None
        return mask[:, 0].cpu().numpy(), depth[:, 0].cpu().numpy()

    @contextmanager
    def side_by_side(self) -> Iterator[None]:
        """Let calls come from several threads at once, each on one core."""
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)

    def _tensor(self, pictures: np.ndarray) -> Tensor:
        return torch.tensor(pictures).permute(0, 3, 1, 2).to(self.device)
