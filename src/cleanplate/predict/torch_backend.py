"""The network in torch, on whatever device there is."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cleanplate.models.ready import Normalise, ReadyModel
from cleanplate.weights import WeightsCard, load_weights


class TorchBackend:
    """A backend of `Predictor`.

    Args:
        model: the network with its normalisation, in evaluation mode.
        card: what its weights say of themselves.
    """

    def __init__(self, model: ReadyModel, card: WeightsCard) -> None:
        self.device = torch.accelerator.current_accelerator() or torch.device("cpu")
        self.model = model.to(self.device).eval()
        self.card = card

    @classmethod
    def load(cls, weights: Path | str) -> "TorchBackend":
        """Load a run folder's best weights or a weights file."""
        model, card = load_weights(weights)
        plate, frame = card.normalisation.plate, card.normalisation.frame
        return cls(ReadyModel(model, Normalise(plate.mean, plate.std), Normalise(frame.mean, frame.std)), card)

    @property
    def size(self) -> int:
        """Pixels of the longer side that the network was trained at last."""
        return self.card.size

    @property
    def metres(self) -> tuple[float, float] | None:
        """What depth 0 and depth 1 are in metres; None where depth is relative, or there is none."""
        return self.card.depth.metres if self.card.depth else None

    def keep_plates(self, plates: np.ndarray) -> Tensor:
        """Return `(B, H, W, 3)` uint8 RGB plates as the network takes them."""
        return self._tensor(plates)

    @torch.inference_mode()
    def __call__(self, kept_plates: Tensor, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Return masks and depths, `(B, H, W)` float32 of 0 to 1, of `(B, H, W, 3)` uint8 RGB frames.

        The plates are as many as the frames, or one for all of them. There are no depths from a network that has
        none, or has never seen a depth label.
        """
        inputs = self._tensor(frames)
        mask, depth = self.model(kept_plates.expand_as(inputs), inputs)
        if depth is None or self.card.depth is None:
            return mask[:, 0].cpu().numpy(), None
        return mask[:, 0].cpu().numpy(), depth[:, 0].cpu().numpy()

    def _tensor(self, pictures: np.ndarray) -> Tensor:
        return torch.tensor(pictures).permute(0, 3, 1, 2).to(self.device)
