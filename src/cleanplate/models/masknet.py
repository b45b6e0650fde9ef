"""MaskNet: the small network for the mask alone, at full size throughout.

Structure of https://github.com/shan18/Depth-Estimation-Segmentation, with its dropout of 0 left out.
"""

import torch
from torch import Tensor, nn

from cleanplate.models.blocks import ConvReluNorm, Prediction, require_fitting


class MaskNet(nn.Module):
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

    def forward(self, plate: Tensor, frame: Tensor) -> Prediction:
        """Return logits `(B, 1, H, W)` of the mask, and None for depth.

        Args:
            plate: normalised RGB, `(B, 3, H, W)`, H and W multiples of 32 (one contract for all networks).
            frame: the same view with foreground, as plate.

        Raises:
            UserError: shapes differ, or are not multiples of 32.
        """
        require_fitting(plate, frame)
        both = torch.cat([self.plate_encoder(plate), self.frame_encoder(frame)], dim=1)
        return Prediction(self.mask_decoder(self.merge(both)), None)
