"""Augmentation of a batch: items mirrored whole; hue, saturation, value and contrast of plate and frame apart."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from kornia.color import hsv_to_rgb, rgb_to_hsv
from torch import Tensor

from cleanplate.data.source import Batch
from cleanplate.recipe import Augmentation, Contrast, HorizontalFlip, HueSaturationValue


def flip(batch: Batch, settings: HorizontalFlip | None, *, seed: int, epoch: int) -> Batch:
    """Mirror items left to right at random: plate, frame and truth together, by (seed, epoch, item) alone."""
    if not settings:
        return batch
    draws = [np.random.default_rng([seed, epoch, index, 1]).random() for index in batch.indices.tolist()]
    chosen = torch.tensor(draws, device=batch.plate.device)[:, None, None, None] < settings.probability
    plate, frame, mask, depth = (torch.where(chosen, x.flip(-1), x) for x in batch[:4])
    valid = None if batch.valid is None else torch.where(chosen, batch.valid.flip(-1), batch.valid)
    return batch._replace(plate=plate, frame=frame, mask=mask, depth=depth, valid=valid)


def augment(
    plate: Tensor, frame: Tensor, settings: Augmentation, *, seed: int, epoch: int, indices: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Change the colours of plates and frames at random, each by its own draw.

    Every draw depends on nothing but (seed, epoch, item), so neither order nor batch size matters.

    Args:
        plate: `(B, 3, H, W)` RGB, 0 to 1.
        frame: as plate.
        settings: what is changed, and how far.
        seed: of the run.
        epoch: from 0.
        indices: the items' numbers.

    Returns:
        Plates and frames, 0 to 1.
    """
    if not settings.hue_saturation_value and not settings.contrast:
        return plate, frame
    draws = [np.random.default_rng([seed, epoch, index]).random((2, 6)) for index in indices]
    both = torch.as_tensor(np.stack(draws), dtype=plate.dtype, device=plate.device)
    changed = []
    for pictures, draw in zip((plate, frame), both.unbind(1), strict=True):
        if settings.hue_saturation_value:
            pictures = _shift_hsv(pictures, draw[:, :4], settings.hue_saturation_value)
        if settings.contrast:
            pictures = _scale(pictures, draw[:, 4:], settings.contrast)
        changed.append(pictures)
    return changed[0], changed[1]


def _shift_hsv(pictures: Tensor, draw: Tensor, settings: HueSaturationValue) -> Tensor:
    chosen = draw[:, 0] < settings.probability
    if not chosen.any():
        return pictures
    limits = draw.new_tensor([settings.hue * 2 * math.pi / 180, settings.saturation / 255, settings.value / 255])
    shift = (draw[chosen, 1:] * 2 - 1) * limits
    hsv = rgb_to_hsv(pictures[chosen]) + shift[:, :, None, None]
    hue, others = hsv[:, :1].remainder(2 * math.pi), hsv[:, 1:].clamp(0, 1)
    pictures = pictures.clone()
    pictures[chosen] = hsv_to_rgb(torch.cat([hue, others], 1))
    return pictures


def _scale(pictures: Tensor, draw: Tensor, settings: Contrast) -> Tensor:
    chosen = draw[:, 0] < settings.probability
    factor = torch.where(chosen, 1 + (draw[:, 1] * 2 - 1) * settings.limit, 1)
    return (pictures * factor[:, None, None, None]).clamp(0, 1)
