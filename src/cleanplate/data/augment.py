"""Augmentation of a batch: items mirrored whole; hue, saturation, value and contrast of plate and frame apart."""

import math
from collections.abc import Sequence

import cv2
import numpy as np
import torch
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


def augment_(
    plate: Tensor, frame: Tensor, settings: Augmentation, *, seed: int, epoch: int, indices: Sequence[int]
) -> None:
    """Change the colours of plates and frames in place and at random, each by its own draw.

    Every draw depends on nothing but (seed, epoch, item), so neither order nor batch size matters.

    Args:
        plate: `(B, 3, H, W)` RGB, 0 to 1, as it is afterwards.
        frame: as plate.
        settings: what is changed, and how far.
        seed: of the run.
        epoch: from 0.
        indices: the items' numbers.
    """
    if not settings.hue_saturation_value and not settings.contrast:
        return
    draws = [np.random.default_rng([seed, epoch, index]).random((2, 6)) for index in indices]
    both = torch.as_tensor(np.stack(draws), dtype=plate.dtype, device=plate.device)
    one_by_one = plate.device.type == "cpu" and plate.dtype == torch.float32
    change = _change_one_by_one if one_by_one else _change_together
    change(plate, both[:, 0], settings)
    change(frame, both[:, 1], settings)


def _change_together(pictures: Tensor, draw: Tensor, settings: Augmentation) -> None:
    """Change pictures as an accelerator does it best."""
    if hsv := settings.hue_saturation_value:
        from kornia.color import hsv_to_rgb, rgb_to_hsv

        chosen, shift = _shifts(draw, hsv)
        if chosen.any():
            values = rgb_to_hsv(pictures[chosen]) + shift[chosen, :, None, None]
            hue, others = values[:, :1].remainder(2 * math.pi), values[:, 1:].clamp(0, 1)
            pictures[chosen] = hsv_to_rgb(torch.cat([hue, others], 1))
    if settings.contrast:
        chosen, factor = _factors(draw, settings.contrast)
        pictures.mul_(torch.where(chosen, factor, 1)[:, None, None, None]).clamp_(0, 1)


def _change_one_by_one(pictures: Tensor, draw: Tensor, settings: Augmentation) -> None:
    """Change pictures as a processor does it best: those alone that are chosen, each while it is in the cache."""
    views = pictures.permute(0, 2, 3, 1).numpy()
    if settings.hue_saturation_value:
        chosen, shift = _shifts(draw, settings.hue_saturation_value)
        hsv = np.empty_like(views[0], order="C")
        lowest, highest = np.zeros_like(hsv), np.tile(np.array([math.inf, 1, 1], np.float32), (*hsv.shape[:2], 1))
        for number in chosen.nonzero()[:, 0].tolist():
            hue, saturation, value = shift[number].tolist()
            cv2.cvtColor(np.ascontiguousarray(views[number]), cv2.COLOR_RGB2HSV, dst=hsv)
            shifted = (math.degrees(hue) % 360, saturation, value, 0.0)  # OpenCV takes a hue past 360 round
            cv2.add(hsv, shifted, dst=hsv)  # type: ignore[call-overload]  # its stub knows no colours
            cv2.max(cv2.min(hsv, highest, dst=hsv), lowest, dst=hsv)
            views[number] = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    if settings.contrast:
        chosen, factor = _factors(draw, settings.contrast)
        for number in chosen.nonzero()[:, 0].tolist():
            pictures[number].mul_(float(factor[number])).clamp_(0, 1)


def _shifts(draw: Tensor, settings: HueSaturationValue) -> tuple[Tensor, Tensor]:
    """Return which pictures are changed, `(B,)` bool, and how far, `(B, 3)`: hue in radians, saturation and value."""
    limits = draw.new_tensor([settings.hue * 2 * math.pi / 180, settings.saturation / 255, settings.value / 255])
    return draw[:, 0] < settings.probability, (draw[:, 1:4] * 2 - 1) * limits


def _factors(draw: Tensor, settings: Contrast) -> tuple[Tensor, Tensor]:
    """Return which pictures are changed, `(B,)` bool, and by which factor, `(B,)`."""
    return draw[:, 4] < settings.probability, 1 + (draw[:, 5] * 2 - 1) * settings.limit
