"""A network with all that comes before and after it: pictures in, mask and depth out."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cleanplate.models.blocks import Network


class Normalise(nn.Module):
    """Bring pictures of 0 to 1 to zero mean and unit deviation, channel by channel.

    Args:
        mean: of each channel, RGB.
        std: likewise.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return `(B, 3, H, W)` normalised, in the layout it came in."""
        if pictures.is_contiguous() or not pictures.is_contiguous(memory_format=torch.channels_last):
            return (pictures - self.mean) / self.std
        # row by row: three channels next to each other are too few for a processor to take at once
        rows, width = pictures.permute(0, 2, 3, 1).flatten(2), pictures.shape[3]
        mean, std = (values.view(3).repeat(width) for values in (self.mean, self.std))
        return (rows - mean).div_(std).unflatten(2, (width, 3)).permute(0, 3, 1, 2)


class ReadyModel(nn.Module):
    """A network that takes pictures as they are and answers in the units of the data.

    Args:
        model: one of `create_model`.
        normalise_plate: how plates are normalised.
        normalise_frame: how frames are.
    """

    def __init__(self, model: Network, normalise_plate: Normalise, normalise_frame: Normalise) -> None:
        super().__init__()
        self.model, self.normalise_plate, self.normalise_frame = model, normalise_plate, normalise_frame
        self.dtype = torch.float32

    def compute_in(self, dtype: torch.dtype) -> None:
        """Let the convolutions compute in `dtype`; norms and answers stay float32."""
        for module in self.model.modules():
            if isinstance(module, nn.Conv2d):
                module.to(dtype)
        self.dtype = dtype

    def forward(self, plate: Tensor, frame: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return mask and depth.

        Args:
            plate: `(B, 3, H, W)` uint8 RGB, H and W multiples of 32.
            frame: as plate.

        Returns:
            Mask and depth, each `(B, 1, H, W)` float32, 0 to 1; no depth from a network that has none.
        """
        return self.answer(self.encode_plate(plate), frame)

    def encode_plate(self, plate: Tensor) -> list[Tensor]:
        """Return what the network needs of plates, `(B, 3, H, W)` uint8 RGB."""
        return self.model.encode_plate(self.normalise_plate(plate.float() / 255).to(self.dtype))

    def answer(self, plate_features: list[Tensor], frame: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return mask and depth of frames, as `forward`, from what `encode_plate` gave of their plates."""
        prediction = self.model.answer(plate_features, self.normalise_frame(frame.float() / 255).to(self.dtype))
        depth = prediction.depth_logits
        return prediction.mask_logits.float().sigmoid(), None if depth is None else depth.float().sigmoid()
