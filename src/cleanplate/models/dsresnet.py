"""DSResNet: one encoder of plate and frame, one decoder each for mask and depth.

Structure of https://github.com/shan18/Depth-Estimation-Segmentation, without its layers that nothing uses.
"""

import torch
from torch import Tensor, nn

from cleanplate.models.blocks import DecoderBlock, Encoder, Pool, Prediction, require_fitting


class Decoder(nn.Module):
    """From the smallest features back to the full picture: logits of one channel."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            [
                DecoderBlock(512, 256),
                DecoderBlock(256, 128),
                DecoderBlock(128, 64),
                DecoderBlock(64, 32, two_skips=True),
                DecoderBlock(32, 16, two_skips=True),
            ]
        )
        self.head = nn.Conv2d(16, 1, kernel_size=1)

    def forward(self, x: Tensor, skips: list[Tensor]) -> Tensor:
        """Return `(B, 1, H, W)` from `x`, `(B, 512, H/32, W/32)`, and the skips, smallest picture first."""
        for block, skip in zip(self.blocks, skips, strict=True):
            x = block(x, skip)
        return self.head(x)


class DSResNet(nn.Module):
    """Mask and depth from plate and frame; 10,343,490 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.plate_encoder = Encoder(3, 16, 32)
        self.frame_encoder = Encoder(3, 16, 32)
        self.pool = Pool()
        self.merge = nn.Conv2d(64, 32, kernel_size=1)
        self.encoder = Encoder(32, 64, 128, 256, 512)
        self.mask_decoder = Decoder()
        self.depth_decoder = Decoder()

    def forward(self, plate: Tensor, frame: Tensor) -> Prediction:
        """Return logits `(B, 1, H, W)` of mask and depth.

        Args:
            plate: normalised RGB, `(B, 3, H, W)`, H and W multiples of 32.
            frame: the same view with foreground, as plate.

        Raises:
            UserError: shapes differ, or are not multiples of 32.
        """
        require_fitting(plate, frame)
        # Features are named by how far their picture is scaled down.
        plate_1, plate_2 = self.plate_encoder(plate)
        frame_1, frame_2 = self.frame_encoder(frame)
        both_1, both_2 = torch.cat([plate_1, frame_1], dim=1), torch.cat([plate_2, frame_2], dim=1)
        both_2, pooled = self.pool(both_2)
        merged_4, merged_8, merged_16, merged_32 = self.encoder(self.merge(pooled))
        skips = [merged_16, merged_8, merged_4, both_2, both_1]
        return Prediction(self.mask_decoder(merged_32, skips), self.depth_decoder(merged_32, skips))
