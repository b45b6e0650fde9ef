"""DSResNet: one encoder of plate and frame, one decoder each for mask and depth.

Structure of https://github.com/shan18/Depth-Estimation-Segmentation, without its layers that nothing uses.
"""

import torch
from torch import Tensor, nn

from cleanplate.models.blocks import DecoderBlock, Encoder, Network, Pool, Prediction


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


class DSResNet(Network):
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

    def encode_plate(self, plate: Tensor) -> list[Tensor]:
        """Return what hangs on the plate alone: its features, `(B, 16, H, W)` and `(B, 32, H/2, W/2)`."""
        return self.plate_encoder(plate)

    def answer(self, plate_features: list[Tensor], frame: Tensor) -> Prediction:
        """Return the logits of frames, from the features of their plates."""
        # Features are named by how far their picture is scaled down.
        plate_1, plate_2 = plate_features
        frame_1, frame_2 = self.frame_encoder(frame)
        both_1, both_2 = torch.cat([plate_1, frame_1], dim=1), torch.cat([plate_2, frame_2], dim=1)
        both_2, pooled = self.pool(both_2)
        merged_4, merged_8, merged_16, merged_32 = self.encoder(self.merge(pooled))
        skips = [merged_16, merged_8, merged_4, both_2, both_1]
        return Prediction(self.mask_decoder(merged_32, skips), self.depth_decoder(merged_32, skips))
