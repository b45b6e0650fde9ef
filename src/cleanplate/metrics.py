"""How good masks and depths are: sums over items and processes, and per item.

Masks and depths are probabilities, `(B, 1, H, W)`, 0 to 1; `valid`, bool `(B, 1, H, W)`, says which pixels count (None:
all). Everything is summed in float64.
"""

import torch
from torch import Tensor
from torchmetrics import Metric

from cleanplate.losses import WINDOW, Target, similarity_map

THRESHOLD = 0.5
NAMES = (
    "iou",
    "soft_iou",
    "false_positive_share",
    "rmse",
    "batch_rmse",
    "mae",
    "aligned_rmse",
    "abs_rel",
    "delta_1.25",
)
STRUCTURE_NAMES = ("ssim", "aligned_ssim")
"""Taken only where asked for: they cost as much as the other metrics together, many times over."""


def iou(mask: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """Return intersection over union of each item, `(B,)`, both at threshold 0.5; 1 where both are empty."""
    predicted, true = _foreground(mask, valid), _foreground(target, valid)
    union = (predicted | true).sum(dim=1)
    return torch.where(union > 0, (predicted & true).sum(dim=1).double() / union, 1.0)


def soft_iou(mask: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """Return `(sum(p t) + e) / (sum(p) + sum(t) - sum(p t) + e)` of each item, `(B,)`, e = 1e-6; no threshold."""
    p, t = _blank(mask, valid), _blank(target, valid)
    both = (p * t).sum(dim=1)
    return (both + 1e-6) / (p.sum(dim=1) + t.sum(dim=1) - both + 1e-6)


def foreground_share(mask: Tensor, valid: Tensor | None = None) -> Tensor:
    """Return the share of each item's pixels, `(B,)`, that are foreground at threshold 0.5."""
    return _foreground(mask, valid).sum(dim=1) / _counts(mask, valid).sum(dim=1).double()


def depth_rmse(depth: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """Return the root mean square error of each item, `(B,)`; NaN where no pixel counts."""
    counts = _counts(target, valid)
    error = _blank(depth, counts) - _blank(target, counts)
    return (error.square().sum(dim=1) / counts.sum(dim=1)).sqrt()


def aligned_rmse(depth: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """Return `depth_rmse` after each item's least-squares scale and shift of `depth`; a flat one is only shifted."""
    counts = _counts(target, valid)
    p, t = _centred(depth, counts), _centred(target, counts)
    explained = (p * t).sum(dim=1).square() / p.square().sum(dim=1).clamp(min=torch.finfo(torch.double).tiny)
    return ((t.square().sum(dim=1) - explained).clamp(min=0) / counts.sum(dim=1)).sqrt()


def align(depth: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """Return each item's `depth` under its least-squares scale and shift, float64; a flat one is only shifted."""
    counts = _counts(target, valid)
    p, t = _centred(depth, counts), _centred(target, counts)
    scale = (p * t).sum(dim=1) / p.square().sum(dim=1).clamp(min=torch.finfo(torch.double).tiny)
    mean = _blank(target, counts).sum(dim=1) / counts.sum(dim=1).clamp(min=1)
    return (scale[:, None] * p + mean[:, None]).view(depth.shape)


def ssim(depth: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """Return structural similarity of each item, `(B,)`, over the windows of `losses.ssim`; NaN where none counts."""
    if min(target.shape[-2:]) < WINDOW:
        return torch.full((len(target),), torch.nan, dtype=torch.double, device=target.device)
    similarity, whole = similarity_map(depth.double(), target.double(), valid)
    if whole is None:
        return similarity.mean(dim=(1, 2, 3))
    return (similarity * whole).sum(dim=(1, 2, 3)) / whole.sum(dim=(1, 2, 3))


class MaskDepthMetrics(Metric):
    """All the metrics of mask and depth, over any number of batches and processes.

    `abs_rel` and `delta_1.25` are taken in metres, `near + depth * (far - near)`, and None without `near` and `far`; so
    is every metric that had nothing to measure. `soft_iou` and `batch_rmse` are the published experiment's. With
    `structure` there are `ssim` and `aligned_ssim` as well.
    """

    full_state_update = False
    totals: Tensor

    def __init__(self, near: float | None = None, far: float | None = None, *, structure: bool = False) -> None:
        super().__init__(compute_with_cache=False)  # the cache outlives merge_state
        self.near, self.far = near, far
        self.names = NAMES + STRUCTURE_NAMES if structure else NAMES
        # A row for each name: what is summed, and over how many.
        self.add_state("totals", torch.zeros(len(self.names), 2, dtype=torch.double), dist_reduce_fx="sum")

    def update(self, mask: Tensor, depth: Tensor | None, target: Target) -> None:
        """Take in a batch.

        Args:
            mask: predicted, 0 to 1.
            depth: predicted, 0 to 1; None from a network without depth.
            target: what they should be; items without depth count for the mask alone.
        """
        self._update_mask(mask, target)
        if depth is not None and target.depth is not None:
            self._update_depth(depth, target.depth, target.depth_valid())
            if len(self.names) > len(NAMES):
                self._update_structure(depth, target.depth, target.depth_valid())

    def compute(self) -> dict[str, float | None]:
        """Return every metric by name; None where there was nothing to measure."""
        result: dict[str, float | None] = {}
        for name, (total, count) in zip(self.names, self.totals.tolist(), strict=True):
            mean = total / count if count else None
            result[name] = mean**0.5 if mean is not None and name in ("rmse", "aligned_rmse") else mean
        return result

    def _update_mask(self, mask: Tensor, target: Target) -> None:
        empty = ~_foreground(target.mask, target.valid).any(dim=1)
        self._add("iou", iou(mask, target.mask, target.valid), torch.ones_like(empty))
        self._add("soft_iou", soft_iou(mask, target.mask, target.valid), ~empty)
        self._add("false_positive_share", foreground_share(mask, target.valid), empty)

    def _update_depth(self, depth: Tensor, target: Tensor, valid: Tensor | None) -> None:
        counts = _counts(target, valid)
        p, t = _blank(depth, counts), _blank(target, counts)
        error = p - t
        self._add("rmse", error.square(), counts)
        self._add("mae", error.abs(), counts)
        self._add("aligned_rmse", aligned_rmse(depth, target, valid).square(), counts.sum(dim=1))

        positive = counts & (t > 1e-4)
        batch_rmse = ((error.square() * positive).sum() / positive.sum().clamp(min=1)).sqrt()
        self._add("batch_rmse", batch_rmse, counts.any(dim=1).sum())

        if self.near is not None and self.far is not None:
            p, t = self.near + p * (self.far - self.near), self.near + t * (self.far - self.near)
            away = counts & (t > 0)  # at 0 metres nothing is relative
            self._add("abs_rel", (p - t).abs() / t, away)
            self._add("delta_1.25", (torch.maximum(p / t, t / p) < 1.25).double(), away)

    def _update_structure(self, depth: Tensor, target: Tensor, valid: Tensor | None) -> None:
        for name, compared in (("ssim", depth), ("aligned_ssim", align(depth, target, valid))):
            values = ssim(compared, target, valid)
            self._add(name, values, ~values.isnan())

    def _add(self, name: str, values: Tensor, weights: Tensor) -> None:
        total = torch.where(weights > 0, values * weights, 0).sum()
        self.totals[self.names.index(name)] += torch.stack([total, weights.sum().double()])


def _counts(picture: Tensor, valid: Tensor | None) -> Tensor:
    """Return which pixels count, bool `(B, H W)`."""
    return torch.ones_like(picture, dtype=torch.bool).flatten(1) if valid is None else valid.flatten(1)


def _blank(picture: Tensor, valid: Tensor | None) -> Tensor:
    """Return the picture as float64 `(B, H W)`, 0 (never NaN) where pixels do not count."""
    return torch.where(_counts(picture, valid), picture.flatten(1).double(), 0)


def _foreground(mask: Tensor, valid: Tensor | None) -> Tensor:
    return _blank(mask, valid) >= THRESHOLD


def _centred(picture: Tensor, valid: Tensor) -> Tensor:
    picture = _blank(picture, valid)
    mean = picture.sum(dim=1, keepdim=True) / valid.sum(dim=1, keepdim=True).clamp(min=1)
    return torch.where(valid, picture - mean, 0)
