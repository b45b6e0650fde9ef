"""PlateNet: one network of cleanplate's own, made to take few passes over memory."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cleanplate.models.blocks import ConvReluNorm, DecoderBlock, Encoder, Network, Prediction

CELL = 4
"""Pixels a side of the squares that the network works with: a square's pixels are its channels."""
WIDTH = 64
"""Channels of plate and frame each; every halving of the picture doubles them."""


class PlateNet(Network):
    """Mask and depth from plate and frame; 7,705,056 parameters.

    No convolution looks at the full picture. Squares of 4x4 pixels are taken as one with 48 channels, which loses
    nothing, and the head answers with a square's 16 pixels at once: Shi et al., "Real-time single image and video
    super-resolution using an efficient sub-pixel convolutional neural network", 2016. Mask and depth share the decoder.
    """

    def __init__(self) -> None:
        super().__init__()
        self.plate_encoder = ConvReluNorm(3 * CELL**2, WIDTH)
        self.frame_encoder = ConvReluNorm(3 * CELL**2, WIDTH)
        self.encoder = Encoder(2 * WIDTH, WIDTH, 2 * WIDTH, 4 * WIDTH, 8 * WIDTH)
        self.decoder = nn.ModuleList(
            [
                DecoderBlock(8 * WIDTH, 4 * WIDTH),
                DecoderBlock(4 * WIDTH, 2 * WIDTH),
                DecoderBlock(2 * WIDTH, WIDTH),
            ]
        )
        self.head = nn.Conv2d(2 * WIDTH, 2 * CELL**2, kernel_size=3, padding=1)

    def encode_plate(self, plate: Tensor) -> list[Tensor]:
        """Return what hangs on the plate alone: its features, `(B, 64, H/4, W/4)`."""
        return [self.plate_encoder(_as_cells(plate))]

    def answer(self, plate_features: list[Tensor], frame: Tensor) -> Prediction:
        """Return the logits of frames, from the features of their plates."""
        frame_features = self.frame_encoder(_as_cells(frame))
        *skips, x = self.encoder(torch.cat([*plate_features, frame_features], dim=1))
        for block, skip in zip(self.decoder, reversed(skips), strict=True):
            x = block(x, skip)
        logits = F.pixel_shuffle(self.head(torch.cat([x, frame_features], dim=1)), CELL)
        return Prediction(logits[:, :1], logits[:, 1:])


def _as_cells(pictures: Tensor) -> Tensor:
    """Return `(B, 48, H/4, W/4)` of `(B, 3, H, W)`, in the layout it came in."""
    cells = F.pixel_unshuffle(pictures, CELL)
    return cells if pictures.is_contiguous() else cells.contiguous(memory_format=torch.channels_last)
