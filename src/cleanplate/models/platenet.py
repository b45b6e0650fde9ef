"""PlateNet: a network of cleanplate's own, made to take few passes over memory."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cleanplate.models.blocks import ConvReluNorm, DecoderBlock, Encoder, Network, Pool, Prediction

CELL = 2
"""Pixels a side of the squares that the network works with: a square's pixels are its channels."""


class PlateNet(Network):
    """Mask and depth from plate and frame; 7,615,016 parameters.

    No convolution looks at the full picture, where `DSResNet` spends half of its time. Squares of 2x2 pixels are taken
    as one with 12 channels, which loses nothing, and the head answers with a square's pixels at once: Shi et al.,
    "Real-time single image and video super-resolution using an efficient sub-pixel convolutional neural network", 2016.
    Mask and depth share the decoder.
    """

    def __init__(self) -> None:
        super().__init__()
        self.plate_encoder = ConvReluNorm(3 * CELL**2, 32)
        self.frame_encoder = ConvReluNorm(3 * CELL**2, 32)
        self.pool = Pool()
        self.encoder = Encoder(64, 64, 128, 256, 512)
        self.decoder = nn.ModuleList(
            [
                DecoderBlock(512, 256),
                DecoderBlock(256, 128),
                DecoderBlock(128, 64),
                DecoderBlock(64, 32, two_skips=True),
            ]
        )
        self.head = nn.Conv2d(32, 2 * CELL**2, kernel_size=3, padding=1)

    def encode_plate(self, plate: Tensor) -> list[Tensor]:
        """Return what hangs on the plate alone: its features, `(B, 32, H/2, W/2)`."""
        return [self.plate_encoder(_as_cells(plate))]

    def answer(self, plate_features: list[Tensor], frame: Tensor) -> Prediction:
        """Return the logits of frames, from the features of their plates."""
        both, pooled = self.pool(torch.cat([*plate_features, self.frame_encoder(_as_cells(frame))], dim=1))
        *skips, x = self.encoder(pooled)
        for block, skip in zip(self.decoder, [*reversed(skips), both], strict=True):
            x = block(x, skip)
        logits = F.pixel_shuffle(self.head(x), CELL)
        return Prediction(logits[:, :1], logits[:, 1:])


def _as_cells(pictures: Tensor) -> Tensor:
    """Return `(B, 12, H/2, W/2)` of `(B, 3, H, W)`, in the layout it came in."""
    cells = F.pixel_unshuffle(pictures, CELL)
    return cells if pictures.is_contiguous() else cells.contiguous(memory_format=torch.channels_last)
