"""Pictures side by side under captions: contact sheets, previews, worst items."""

from collections.abc import Sequence

import cv2
import numpy as np

from cleanplate.pictures import rescale

GAP = 4
CAPTION_HEIGHT = 18
SCALE_WIDTH = 76
BACKGROUND = 255
COMPARISON = ("plate", "frame", "mask: truth", "mask: network", "depth: truth", "depth: network")
"""The captions where a network's answers stand beside the truth."""

_COLOURS = cv2.applyColorMap(np.arange(255, -1, -1, dtype=np.uint8)[:, None], cv2.COLORMAP_VIRIDIS)[..., ::-1].copy()


def colour_depth(depth: np.ndarray) -> np.ndarray:
    """Return depth `(H, W)` float, 0 nearest to 1 farthest, as `(H, W, 3)` uint8 RGB: near is yellow, far is violet."""
    return cv2.applyColorMap(cv2.convertScaleAbs(np.clip(depth, 0, 1), alpha=255), _COLOURS)


def draw_depth_scale(height: int, metres: tuple[float, float] | None) -> np.ndarray:
    """Return the colours of depth from far, at the top, to near, with five numbers beside them.

    Args:
        height: pixels.
        metres: what depth 0 and 1 are; the numbers are depths of 0 to 1 when None.

    Returns:
        `(height, SCALE_WIDTH, 3)` uint8 RGB, to stand at the right of a picture of `colour_depth`.
    """
    near, far = metres or (0.0, 1.0)
    scale = np.full((height, SCALE_WIDTH, 3), BACKGROUND, np.uint8)
    depths = np.linspace(1, 0, height, dtype=np.float32)
    scale[:, GAP : GAP + 12] = colour_depth(depths[:, None])
    for share in (0, 0.25, 0.5, 0.75, 1) if height >= 5 * CAPTION_HEIGHT else (0, 1):
        text = f"{near + share * (far - near):.2f}" if metres is None else f"{near + share * (far - near):.1f} m"
        _write(scale, text, GAP + 16, round(10 + (1 - share) * (height - 13)))
    return scale


def draw_sheet(
    rows: Sequence[Sequence[np.ndarray | None]],
    captions: Sequence[str],
    *,
    tile: int = 112,
    across: int = 1,
    notes: Sequence[str] | None = None,
    title: str = "",
) -> np.ndarray:
    """Return a sheet of pictures with a caption over each column.

    Args:
        rows: for each item its pictures: `(H, W)` or `(H, W, 3)` uint8; None leaves a place empty, and a column of
            nothing else is left out.
        captions: one for each column.
        tile: pixels of a picture's longer side on the sheet.
        across: how many items stand side by side.
        notes: a line under each item, if any.
        title: a line over the whole sheet, if any.

    Returns:
        `(height, width, 3)` uint8 RGB.
    """
    shown = [n for n in range(len(captions)) if not rows or any(row[n] is not None for row in rows)]
    rows, captions = [[row[n] for n in shown] for row in rows], [captions[n] for n in shown]
    height, width = tile + GAP + (CAPTION_HEIGHT if notes else 0), (tile + GAP) * len(captions) + 2 * GAP
    lines = -(-len(rows) // across)
    head = CAPTION_HEIGHT * (2 if title else 1)
    sheet = np.full((head + lines * height, width * min(across, max(len(rows), 1)), 3), BACKGROUND, np.uint8)
    _write(sheet, title, 0, CAPTION_HEIGHT - 5)
    for column in range(sheet.shape[1] // width):
        for number, caption in enumerate(captions):
            _write(sheet, caption, column * width + number * (tile + GAP), head - 5)
    for item, row in enumerate(rows):
        top, left = head + item // across * height, item % across * width
        for number, picture in enumerate(row):
            if picture is not None:
                small = _tile(picture, tile)
                start = left + number * (tile + GAP)
                sheet[top : top + small.shape[0], start : start + small.shape[1]] = small
        if notes:
            _write(sheet, notes[item], left, top + tile + CAPTION_HEIGHT - 5)
    return sheet


def _tile(picture: np.ndarray, longer_side: int) -> np.ndarray:
    tile = rescale(picture, longer_side / max(picture.shape[:2]))
    return tile if tile.ndim == 3 else cv2.cvtColor(tile, cv2.COLOR_GRAY2RGB)


def _write(sheet: np.ndarray, text: str, x: int, y: int) -> None:
    cv2.putText(sheet, text, (x + 1, y), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (40, 40, 40), 1, cv2.LINE_AA)
