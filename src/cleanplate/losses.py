"""Losses of mask and depth.

`p` is the sigmoid of the logits, `t` the target, both `(B, 1, H, W)`, 0 to 1; `valid`, bool `(B, 1, H, W)`, says which
pixels count (None: all). Everything is computed in the dtype given; give float32 logits, outside autocast.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from cleanplate.errors import UserError
from cleanplate.models import Prediction

WINDOW = 11
SIGMA = 1.5


class Target(NamedTuple):
    """What a batch's mask and depth should be."""

    mask: Tensor
    """`(B, 1, H, W)`, 1 where foreground."""
    depth: Tensor | None
    """`(B, 1, H, W)`, 0 nearest, 1 farthest; None when no item has depth, anything (NaN too) in items without."""
    has_depth: Tensor | None = None
    """bool `(B,)`; None when all items have depth."""
    valid: Tensor | None = None
    """bool `(B, 1, H, W)`, False in padding, which is left out; None when there is none."""

    def depth_valid(self) -> Tensor | None:
        """Return which pixels count for depth, bool `(B, 1, H, W)`; None when all do."""
        if self.depth is None:
            return torch.zeros_like(self.mask, dtype=torch.bool)
        if self.has_depth is None:
            return self.valid
        has_depth = self.has_depth.view(-1, 1, 1, 1).expand_as(self.mask)
        return has_depth if self.valid is None else has_depth & self.valid


def rmse(p: Tensor, t: Tensor, valid: Tensor | None = None) -> Tensor:
    """Return `sqrt(mean((p - t)^2) + 1e-6)`, or 0 when no pixel counts."""
    if valid is None:
        return (F.mse_loss(p, t) + 1e-6).sqrt()
    p, t = _blank(valid, p, t)
    mean_square = F.mse_loss(p, t, reduction="sum") / valid.sum().clamp(min=1)
    return (mean_square + 1e-6).sqrt() * valid.any()


def bce(logits: Tensor, t: Tensor, valid: Tensor | None = None) -> Tensor:
    """Return the mean binary cross-entropy of logits, or 0 when no pixel counts."""
    if valid is None:
        return F.binary_cross_entropy_with_logits(logits, t)
    logits, t = _blank(valid, logits, t)
    weight = valid.to(logits.dtype)
    return F.binary_cross_entropy_with_logits(logits, t, weight, reduction="sum") / weight.sum().clamp(min=1)


def dice(p: Tensor, t: Tensor, valid: Tensor | None = None, smooth: float = 1.0) -> Tensor:
    """Return `1 - (2 sum(p t) + s) / (sum(p) + sum(t) + s)`, s = `smooth`, sums over the whole batch."""
    p, t = _blank(valid, p, t)
    return 1 - (2 * (p * t).sum() + smooth) / (p.sum() + t.sum() + smooth)


def ssim(p: Tensor, t: Tensor, valid: Tensor | None = None) -> Tensor:
    """Return `1 - SSIM(p, t)`, or 0 when no window counts.

    Gaussian window of 11x11, sigma 1.5, K = (0.01, 0.03), data range 1, no padding; the mean is over the windows that
    lie wholly in valid pixels. Wang et al., "Image quality assessment", 2004.
    """
    p, t = _blank(valid, p, t)
    p_mean, t_mean, pp, tt, pt = _gaussian_filter(torch.stack([p, t, p * p, t * t, p * t]))
    c1, c2 = 0.01**2, 0.03**2
    p_var = (pp - p_mean * p_mean).clamp(min=0)  # rounding makes flat windows slightly negative
    t_var = (tt - t_mean * t_mean).clamp(min=0)
    covariance = pt - p_mean * t_mean
    similarity = (2 * p_mean * t_mean + c1) / (p_mean * p_mean + t_mean * t_mean + c1)
    similarity = similarity * (2 * covariance + c2) / (p_var + t_var + c2)
    if valid is None:
        return 1 - similarity.mean()
    gaps = F.max_pool2d(F.max_pool2d((~valid).to(p.dtype), (WINDOW, 1), stride=1), (1, WINDOW), stride=1)
    whole = gaps == 0
    return ((1 - similarity) * whole).sum() / whole.sum().clamp(min=1)


def _gaussian_filter(x: Tensor) -> Tensor:
    """Return `(..., H-10, W-10)`: a banded matrix on each side, faster than convolutions of a single channel."""
    return _band(x.shape[-2], x) @ x @ _band(x.shape[-1], x).mT


def _band(size: int, like: Tensor) -> Tensor:
    offset = torch.arange(size, device=like.device) - torch.arange(size - WINDOW + 1, device=like.device)[:, None]
    weight = torch.exp(-((offset - WINDOW // 2).to(like.dtype) ** 2) / (2 * SIGMA**2))
    weight = weight * ((offset >= 0) & (offset < WINDOW))
    return weight / weight.sum(dim=1, keepdim=True)


def _blank(valid: Tensor | None, *tensors: Tensor) -> tuple[Tensor, ...]:
    """Set what does not count to 0, so that not even NaN there reaches value or gradient."""
    return tensors if valid is None else tuple(torch.where(valid, tensor, 0) for tensor in tensors)


class Part(NamedTuple):
    """One part of a loss."""

    weight: float
    of: Literal["mask", "depth"]
    loss: Callable[..., Tensor]


LOSSES: dict[str, dict[str, Part]] = {
    "rmse-bce-dice": {
        "rmse": Part(2, "depth", rmse),
        "bce": Part(1, "mask", bce),
        "dice": Part(2, "mask", partial(dice, smooth=1e-6)),
    },
    "ssim-dice": {"ssim": Part(2, "depth", ssim), "dice": Part(1, "mask", dice)},
    "rmse-bce": {"rmse": Part(2, "depth", rmse), "bce": Part(1, "mask", bce)},
    "bce": {"bce": Part(1, "mask", bce)},
    "dice": {"dice": Part(1, "mask", dice)},
    "ssim": {"ssim": Part(1, "mask", ssim)},
}


def create_loss(name: str) -> Callable[[Prediction, Target], dict[str, Tensor]]:
    """Return `loss(prediction, target)`: a dict of scalars, "loss" and its parts by name, without their weights.

    Items without depth enter the mask's parts alone; when no item has depth, the depth part is 0 with zero gradients.

    Raises:
        UserError: there is no loss of that name; or, when called, it needs depth that the network does not predict.
    """
    if name not in LOSSES:
        raise UserError(f"loss: {name!r} is not known; choose one of {', '.join(LOSSES)}")
    return partial(_compute, name)


def loss_needs_depth(name: str) -> bool:
    """Tell whether a loss has a depth part."""
    return any(part.of == "depth" for part in LOSSES[name].values())


def _compute(name: str, prediction: Prediction, target: Target) -> dict[str, Tensor]:
    parts = {part: _compute_part(name, LOSSES[name][part], prediction, target) for part in LOSSES[name]}
    loss = torch.stack([LOSSES[name][part].weight * value for part, value in parts.items()]).sum()
    return {"loss": loss, **parts}


def _compute_part(name: str, part: Part, prediction: Prediction, target: Target) -> Tensor:
    logits, t, valid = prediction.mask_logits, target.mask, target.valid
    if part.of == "depth":
        if prediction.depth_logits is None:
            mask_only = ", ".join(other for other in LOSSES if not loss_needs_depth(other))
            raise UserError(f"loss: {name} needs depth, which this model does not predict; choose one of {mask_only}")
        logits, valid = prediction.depth_logits, target.depth_valid()
        t = torch.zeros_like(logits) if target.depth is None else target.depth
    return part.loss(logits if part.loss is bce else logits.sigmoid(), t, valid)
