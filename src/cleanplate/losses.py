"""Losses of mask and depth.

`p` is the sigmoid of the logits, `t` the target, both `(B, 1, H, W)`, 0 to 1; `valid`, bool `(B, 1, H, W)`, says which
pixels count (None: all). Everything is computed in the dtype given; give float32 logits, outside autocast.

With `everywhere`, all sums and counts go over the batches of all processes of torch.distributed: each process must make
the same calls, and gets the value of one process with all the items. `Loss` says when that is so.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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


def rmse(p: Tensor, t: Tensor, valid: Tensor | None = None, *, everywhere: bool = False) -> Tensor:
    """Return `sqrt(mean((p - t)^2) + 1e-6)`, or 0 when no pixel counts."""
    valid = _stated(valid, p, everywhere)
    if valid is None:
        return (F.mse_loss(p, t) + 1e-6).sqrt()
    p, t = _blank(valid, p, t)
    total, count = _sums(everywhere, F.mse_loss(p, t, reduction="sum"), valid.sum())
    return (total / count.clamp(min=1) + 1e-6).sqrt() * (count > 0)


def bce(logits: Tensor, t: Tensor, valid: Tensor | None = None, *, everywhere: bool = False) -> Tensor:
    """Return the mean binary cross-entropy of logits, or 0 when no pixel counts."""
    valid = _stated(valid, logits, everywhere)
    if valid is None:
        return F.binary_cross_entropy_with_logits(logits, t)
    logits, t = _blank(valid, logits, t)
    weight = valid.to(logits.dtype)
    total = F.binary_cross_entropy_with_logits(logits, t, weight, reduction="sum")
    total, count = _sums(everywhere, total, weight.sum())
    return total / count.clamp(min=1)


def dice(p: Tensor, t: Tensor, valid: Tensor | None = None, smooth: float = 1.0, *, everywhere: bool = False) -> Tensor:
    """Return `1 - (2 sum(p t) + s) / (sum(p) + sum(t) + s)`, s = `smooth`, sums over the whole batch."""
    p, t = _blank(valid, p, t)
    both, predicted, true = _sums(everywhere, (p * t).sum(), p.sum(), t.sum())
    return 1 - (2 * both + smooth) / (predicted + true + smooth)


def ssim(p: Tensor, t: Tensor, valid: Tensor | None = None, *, everywhere: bool = False) -> Tensor:
    """Return `1 - SSIM(p, t)`, or 0 when no window counts.

    Gaussian window of 11x11, sigma 1.5, K = (0.01, 0.03), data range 1, no padding; the mean is over the windows that
    lie wholly in valid pixels. Wang et al., "Image quality assessment", 2004.
    """
    valid = _stated(valid, p, everywhere)
    similarity, whole = similarity_map(p, t, valid)
    if whole is None:
        return 1 - similarity.mean()
    total, count = _sums(everywhere, ((1 - similarity) * whole).sum(), whole.sum())
    return total / count.clamp(min=1)


def similarity_map(p: Tensor, t: Tensor, valid: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
    """Return SSIM in each window, `(..., H-10, W-10)`, and which windows lie wholly in valid pixels (None: all)."""
    p, t = _blank(valid, p, t)
    p_mean, t_mean, pp, tt, pt = _gaussian_filter(torch.stack([p, t, p * p, t * t, p * t]))
    c1, c2 = 0.01**2, 0.03**2
    p_var = (pp - p_mean * p_mean).clamp(min=0)  # rounding makes flat windows slightly negative
    t_var = (tt - t_mean * t_mean).clamp(min=0)
    covariance = pt - p_mean * t_mean
    similarity = (2 * p_mean * t_mean + c1) / (p_mean * p_mean + t_mean * t_mean + c1)
    similarity = similarity * (2 * covariance + c2) / (p_var + t_var + c2)
    if valid is None:
        return similarity, None
    gaps = F.max_pool2d(F.max_pool2d((~valid).to(p.dtype), (WINDOW, 1), stride=1), (1, WINDOW), stride=1)
    return similarity, gaps == 0


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


def _stated(valid: Tensor | None, like: Tensor, everywhere: bool) -> Tensor | None:
    """Return `valid`, written out when counts are to be summed `everywhere`: others may have padding."""
    return torch.ones_like(like, dtype=torch.bool) if valid is None and everywhere else valid


def _sums(everywhere: bool, *sums: Tensor) -> tuple[Tensor, ...]:
    """Return the sums as they are, or `everywhere` in one exchange: each over all processes, in the first's dtype."""
    if not everywhere:
        return sums
    return _SumOfProcesses.apply(torch.stack([part.to(sums[0].dtype) for part in sums])).unbind()


class _SumOfProcesses(torch.autograd.Function):
    """Sum a tensor over all processes, and its gradient too.

    Let S = sum_r S_r(w) be the sum over n processes and L(S) the loss, which every process computes. Each has the
    gradient dL/dS; their sum, n dL/dS, goes back to S_r, so that process r has n dL/dS dS_r/dw for the weights w. The
    mean of that over processes, which DistributedDataParallel takes, is dL/dS sum_r dS_r/dw = dL/dw of the whole batch.
    """

    @staticmethod
    def forward(ctx: Any, part: Tensor) -> Tensor:
        return _all_reduced(part)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _all_reduced(gradient)


def _all_reduced(part: Tensor) -> Tensor:
    total = part.clone(memory_format=torch.contiguous_format)
    torch.distributed.all_reduce(total)
    return total


def _several_processes() -> bool:
    """Tell whether there are other processes to sum over."""
    distributed = torch.distributed
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


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


class Loss(nn.Module):
    """A loss by its name: `loss(prediction, target)` returns a dict of scalars.

    They are "loss" and its parts by name, without their weights. Items without depth enter the mask's parts alone; when
    no item has depth, the depth part is 0 with zero gradients.

    In training mode the batches of all processes are one: each must make as many calls as the others, gets the same
    scalars, and DistributedDataParallel's mean of the gradients is the gradient of the whole; a process with nothing
    that counts takes part too. In evaluation mode each keeps to its own batches, of which it may have more or fewer.
    """

    def __init__(self, name: str, depth_weight: float | None = None) -> None:
        super().__init__()
        self.name = name
        self.parts = dict(LOSSES[name])
        if depth_weight is not None:
            of_depth = {key: part for key, part in self.parts.items() if part.of == "depth"}
            self.parts |= {key: part._replace(weight=depth_weight) for key, part in of_depth.items()}
        self.names = ("loss", *self.parts)
        """The keys of what a call returns, in order."""

    def forward(self, prediction: Prediction, target: Target) -> dict[str, Tensor]:
        """Return "loss" and its parts.

        Raises:
            UserError: the loss needs depth that the network does not predict.
        """
        parts = {name: self._compute_part(part, prediction, target) for name, part in self.parts.items()}
        loss = torch.stack([self.parts[name].weight * value for name, value in parts.items()]).sum()
        return {"loss": loss, **parts}

    def _compute_part(self, part: Part, prediction: Prediction, target: Target) -> Tensor:
        logits, t, valid = prediction.mask_logits, target.mask, target.valid
        if part.of == "depth":
            if prediction.depth_logits is None:
                mask_only = ", ".join(other for other in LOSSES if not loss_needs_depth(other))
                raise UserError(
                    f"loss: {self.name} needs depth, which this model does not predict; choose one of {mask_only}"
                )
            logits, valid = prediction.depth_logits, target.depth_valid()
            t = torch.zeros_like(logits) if target.depth is None else target.depth
        everywhere = self.training and _several_processes()
        return part.loss(logits if part.loss is bce else logits.sigmoid(), t, valid, everywhere=everywhere)


def create_loss(name: str, depth_weight: float | None = None) -> Loss:
    """Return the loss of that name.

    Args:
        name: one of `LOSSES`.
        depth_weight: of its depth part, in place of the report's 2.

    Raises:
        UserError: there is none.
    """
    if name not in LOSSES:
        raise UserError(f"loss: {name!r} is not known; choose one of {', '.join(LOSSES)}")
    return Loss(name, depth_weight)


def loss_needs_depth(name: str) -> bool:
    """Tell whether a loss has a depth part."""
    return any(part.of == "depth" for part in LOSSES[name].values())
