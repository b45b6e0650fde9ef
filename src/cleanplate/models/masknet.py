"""MaskNet: the small network for the mask alone, at full size throughout.

Structure of https://github.com/shan18/Depth-Estimation-Segmentation, with its dropout of 0 left out.
"""

import torch
from torch import Tensor, nn

from cleanplate.models.blocks import ConvReluNorm, Network, Prediction


class MaskNet(Network):
    """Mask from plate and frame; 59,745 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.plate_encoder = ConvReluNorm(3, 32)
        self.frame_encoder = ConvReluNorm(3, 32)
        self.merge = nn.Conv2d(64, 32, kernel_size=1)
        self.mask_decoder = nn.Sequential(
            ConvReluNorm(32, 64),
            ConvReluNorm(64, 64),
            nn.Conv2d(64, 1, kernel_size=1),
        )

    def encode_plate(self, plate: Tensor) -> list[Tensor]:
        """Return what hangs on the plate alone: its features, `(B, 32, H, W)`."""
        return [self.plate_encoder(plate)]

    def answer(self, plate_features: list[Tensor], frame: Tensor) -> Prediction:
        """Return the logits of frames, from the features of their plates."""
        both = torch.cat([*plate_features, self.frame_encoder(frame)], dim=1)
        return Prediction(self.mask_decoder(self.merge(both)), None)
