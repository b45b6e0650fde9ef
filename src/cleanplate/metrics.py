"""How good masks and depths are: sums over items and processes, and per item.

Masks and depths are probabilities, `(B, 1, H, W)`, 0 to 1; `valid`, bool `(B, 1, H, W)`, says which pixels count (None:
all). Pixels are compared in float32, or float64 where they are given so, and summed in float64.
"""

from typing import NamedTuple

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
    both, union = _overlap(_foreground(mask, valid), _foreground(target, valid))
    return torch.where(union > 0, both / union, 1.0)


def soft_iou(mask: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """Return `(sum(p t) + e) / (sum(p) + sum(t) - sum(p t) + e)` of each item, `(B,)`, e = 1e-6; no threshold."""
    both, union = _overlap(_blank(mask, valid), _blank(target, valid))
    return (both + 1e-6) / (union + 1e-6)


def foreground_share(mask: Tensor, valid: Tensor | None = None) -> Tensor:
    """Return the share of each item's pixels, `(B,)`, that are foreground at threshold 0.5."""
    return _sum(_foreground(mask, valid)) / _count(mask, valid)


def align(depth: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """Return each item's `depth` under its least-squares scale and shift, float64; a flat one is only shifted."""
    p, t = _blank(depth, valid), _blank(target, valid)
    line = _fit(p, t, _count(target, valid))
    return (line.scale[:, None] * p + line.shift[:, None]).view(depth.shape)


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
            true, valid = target.depth, target.valid
            if target.has_depth is not None and not target.has_depth.all():
                depth, true = depth[target.has_depth], true[target.has_depth]
                valid = None if valid is None else valid[target.has_depth]
            self._update_depth(depth, true, valid)
            if len(self.names) > len(NAMES):
                self._update_structure(depth, true, valid)

    def compute(self) -> dict[str, float | None]:
        """Return every metric by name; None where there was nothing to measure."""
        result: dict[str, float | None] = {}
        for name, (total, count) in zip(self.names, self.totals.tolist(), strict=True):
            mean = total / count if count else None
            result[name] = mean**0.5 if mean is not None and name in ("rmse", "aligned_rmse") else mean
        return result

    def _update_mask(self, mask: Tensor, target: Target) -> None:
        p, t = _blank(mask, target.valid), _blank(target.mask, target.valid)
        empty = _sum(_foreground(t)) == 0
        self._add("iou", iou(p, t), torch.ones_like(empty))
        self._add("soft_iou", soft_iou(p, t), ~empty)
        self._add("false_positive_share", foreground_share(mask, target.valid), empty)

    def _update_depth(self, depth: Tensor, target: Tensor, valid: Tensor | None) -> None:
        count = _count(target, valid)
        p, t = _blank(depth, valid), _blank(target, valid)
        distance = (p - t).abs()
        squares = distance.square()
        self._total("rmse", _sum(squares), count)
        self._total("mae", _sum(distance), count)
        self._total("aligned_rmse", _fit(p, t, count).left, count)

        positive = t > 1e-4  # never where a pixel does not count
        batch_rmse = (_sum(squares * positive).sum() / _sum(positive).sum().clamp(min=1)).sqrt()
        items = (count > 0).sum()
        self._total("batch_rmse", batch_rmse * items, items)

        if self.near is not None and self.far is not None:
            span = self.far - self.near
            p, t = self.near + p * span, self.near + t * span
            away = t > 0  # at 0 metres nothing is relative
            if valid is not None:
                away &= valid.flatten(1)
            off, within = distance * span / t, (p < 1.25 * t) & (t < 1.25 * p)
            self._total("abs_rel", _sum(off.masked_fill_(~away, 0)), _sum(away))
            self._total("delta_1.25", _sum(within & away), _sum(away))

    def _update_structure(self, depth: Tensor, target: Tensor, valid: Tensor | None) -> None:
        for name, compared in (("ssim", depth), ("aligned_ssim", align(depth, target, valid))):
            values = ssim(compared, target, valid)
            self._add(name, values, ~values.isnan())

    def _add(self, name: str, values: Tensor, counts: Tensor) -> None:
        """Add values of items, `(B,)`, those that count."""
        self._total(name, torch.where(counts, values, 0), counts)

    def _total(self, name: str, sums: Tensor, counts: Tensor) -> None:
        """Add sums, and over how many they go."""
        self.totals[self.names.index(name)] += torch.stack([sums.sum(), counts.sum().double()])


class _Line(NamedTuple):
    """Each item's least-squares line, `(B,)` float64."""

    scale: Tensor
    shift: Tensor
    left: Tensor
    """The sum of squares that it leaves."""


def _fit(p: Tensor, t: Tensor, count: Tensor) -> _Line:
    """Return the line from `p` to `t`, both `(B, H W)` and 0 where pixels do not count, from their moments."""
    p, t = p.double(), t.double()  # the differences of the moments need it
    count = count.clamp(min=1)
    pp, pt, tt = ((a * b).sum(dim=1) for a, b in ((p, p), (p, t), (t, t)))
    p_sum, t_sum = p.sum(dim=1), t.sum(dim=1)
    p_square, both = pp - p_sum * p_sum / count, pt - p_sum * t_sum / count
    scale = torch.where(p_square > 1e-12 * pp, both / p_square, 0)  # of a flat one nothing but rounding is left
    left = (tt - t_sum * t_sum / count - scale * both).clamp(min=0)
    return _Line(scale, (t_sum - scale * p_sum) / count, left)


def _sum(pixels: Tensor) -> Tensor:
    """Return the sum of each item's pixels, `(B,)` float64, of `(B, H W)`; of bools, how many are True."""
    if pixels.dtype == torch.bool:  # counted as bytes, a sixth of the time
        return pixels.view(torch.uint8).sum(dim=1, dtype=torch.int32).double()
    return pixels.sum(dim=1, dtype=torch.double)


def _count(picture: Tensor, valid: Tensor | None) -> Tensor:
    """Return how many pixels of each item count, `(B,)` float64."""
    if valid is not None:
        return _sum(valid.flatten(1))
    return picture.new_full((len(picture),), picture.shape[1:].numel(), dtype=torch.double)


def _blank(picture: Tensor, valid: Tensor | None) -> Tensor:
    """Return the picture as float32 or float64 `(B, H W)`, 0 (never NaN) where pixels do not count."""
    picture = picture.flatten(1).to(torch.promote_types(picture.dtype, torch.float32))
    return picture if valid is None else picture.masked_fill(~valid.flatten(1), 0)


def _foreground(mask: Tensor, valid: Tensor | None = None) -> Tensor:
    """Return which pixels are foreground, bool `(B, H W)`, False where they do not count."""
    return _blank(mask, valid) >= THRESHOLD


def _overlap(p: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """Return `sum(p t)` and `sum(p) + sum(t) - sum(p t)` of each item, `(B,)`, of shares or bools."""
    both = _sum(p * t)
    return both, _sum(p) + _sum(t) - both
