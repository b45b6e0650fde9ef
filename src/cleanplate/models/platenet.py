"""PlateNet: a network of cleanplate's own, made to take few passes over memory."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cleanplate.models.blocks import ConvReluNorm, DecoderBlock, Encoder, Network, Pool, Prediction, Residual

CELL = 2
"""Pixels a side of the squares that the network works with: a square's pixels are its channels."""
OVERVIEW = 64
"""Pixels a side at which the whole is looked at, whatever the pictures' size."""
EPS = 1e-3
"""Added to a channel's variance by the norms. After a ReLU some channels are nearly always 0; with the usual 1e-5 an
item that wakes one is multiplied by 300 there, with this by 30 at most."""


class PlateNet(Network):
    """Mask and depth from plate and frame; 7,823,092 parameters.

    It looks twice. The overview, deep and cheap, sees both pictures at 64x64 and finds out what they show; what it
    learns does not hang on their size. The close look, of three shallow levels, draws that along the edges it sees.

    No convolution looks at the full picture, where `DSResNet` spends half of its time. Squares of 2x2 pixels are taken
    as one with 12 channels, which loses nothing, and the head answers with a square's pixels at once: Shi et al.,
    "Real-time single image and video super-resolution using an efficient sub-pixel convolutional neural network", 2016.

    A pixel's depth is chosen among three, so that it can break off at an outline: that of the foreground where the mask
    is, else the nearer or the farther of two that lie behind it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.overview = _Look()
        self.encoder = Encoder(64, 64, 128, 256, 512)
        self.decoder = nn.ModuleList([DecoderBlock(512, 256), DecoderBlock(256, 128), DecoderBlock(128, 64)])
        self.close = _Look()
        self.join = nn.Sequential(Residual(128, 64), Residual(64, 64))
        self.edges = DecoderBlock(64, 32, two_skips=True)
        self.head = nn.Conv2d(32, 5 * CELL**2, kernel_size=3, padding=1)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps = EPS

    def encode_plate(self, plate: Tensor) -> list[Tensor]:
        """Return what hangs on the plate alone: its features, `(B, 32, H/2, W/2)` and of the overview."""
        overview = resampled(plate, (OVERVIEW, OVERVIEW))
        return [self.close.plate(_as_cells(plate)), self.overview.plate(_as_cells(overview))]

    def answer(self, plate_features: list[Tensor], frame: Tensor) -> Prediction:
        """Return the logits of frames, from the features of their plates."""
        return self.draw(plate_features, frame)

    def draw(self, plate_features: list[Tensor], frame: Tensor, known: Tensor | None = None) -> Prediction:
        """Return the logits of frames; what is `known` of the depth behind people, `(B, 1, H, W)`, is added to it."""
        close, overview = plate_features
        _, pooled = self.overview(overview, _as_cells(resampled(frame, (OVERVIEW, OVERVIEW))))
        *skips, x = self.encoder(pooled)
        for block, skip in zip(self.decoder, reversed(skips), strict=True):
            x = block(x, skip)
        both, pooled = self.close(close, _as_cells(frame))
        x = F.interpolate(x, size=pooled.shape[-2:], mode="bilinear", align_corners=False)
        x = self.edges(self.join(torch.cat([x, pooled], dim=1)), both)
        mask, side, near, far, before = F.pixel_shuffle(self.head(x), CELL).chunk(5, dim=1)
        behind = torch.lerp(far, near, side.sigmoid())
        if known is not None:
            behind = behind + known.to(behind.dtype)
        return Prediction(mask, torch.lerp(behind, before, mask.detach().sigmoid()))


class _Look(nn.Module):
    """The first features of plate and frame, beside each other."""

    def __init__(self) -> None:
        super().__init__()
        self.plate = ConvReluNorm(3 * CELL**2, 32)
        self.frame = ConvReluNorm(3 * CELL**2, 32)
        self.pool = Pool()

    def forward(self, plate_features: Tensor, frame: Tensor) -> tuple[Tensor, Tensor]:
        """Return both, `(B, 64, H/2, W/2)`, and their max pool."""
        return self.pool(torch.cat([plate_features, self.frame(frame)], dim=1))


def resampled(pictures: Tensor, size: Sequence[int]) -> Tensor:
    """Return `(B, C, *size)` of `(B, C, H, W)`: linearly, each new pixel of all that it covers."""
    exact = pictures.float() if pictures.dtype == torch.bfloat16 else pictures  # torch has no such kernel for it
    return F.interpolate(exact, size=size, mode="bilinear", align_corners=False, antialias=True).to(pictures.dtype)


def _as_cells(pictures: Tensor) -> Tensor:
    """Return `(B, 12, H/2, W/2)` of `(B, 3, H, W)`, in the layout it came in."""
    cells = F.pixel_unshuffle(pictures, CELL)
    return cells if pictures.is_contiguous() else cells.contiguous(memory_format=torch.channels_last)
