"""Pictures of what the network answers: the same validation items after every epoch."""

import numpy as np
import torch

from cleanplate.data.source import Batch
from cleanplate.data.split import Split
from cleanplate.models.ready import ReadyModel
from cleanplate.sheet import COMPARISON, colour_depth, draw_sheet

GROUP = 8


def preview_items(split: Split, count: int) -> np.ndarray:
    """Return `count` validation items, as evenly from all parts as they allow."""
    order = [(rank, part, item) for part, items in split.parts.items() for rank, item in enumerate(items)]
    order.sort(key=lambda entry: entry[0])
    return np.array([item for _, _, item in order[:count]], dtype=int)


@torch.inference_mode()
def draw_previews(model: ReadyModel, batch: Batch) -> np.ndarray:
    """Return a sheet `(height, width, 3)` uint8 RGB of a batch: inputs, truth and answers, two items a line."""
    device = next(model.parameters()).device
    rows = []
    for start in range(0, len(batch.indices), GROUP):
        group = slice(start, start + GROUP)
        mask, depth = model(batch.plate[group].to(device), batch.frame[group].to(device))
        for n in range(len(mask)):
            item = start + n
            truth = _colour(batch.depth[item]) if batch.has_depth[item] else None
            rows.append(
                (
                    _rgb(batch.plate[item]),
                    _rgb(batch.frame[item]),
                    _grey(batch.mask[item]),
                    _grey(mask[n]),
                    truth,
                    None if depth is None or not batch.has_depth.any() else _colour(depth[n]),
                )
            )
    return draw_sheet(rows, COMPARISON, across=2)


def _rgb(picture: torch.Tensor) -> np.ndarray:
    return picture.permute(1, 2, 0).numpy()


def _grey(mask: torch.Tensor) -> np.ndarray:
    return (mask[0].cpu().numpy() * 255).round().astype(np.uint8)


def _colour(depth: torch.Tensor) -> np.ndarray:
    return colour_depth(depth[0].cpu().numpy())
