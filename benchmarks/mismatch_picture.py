"""Draw what each mismatch of plate and frame looks like, on pictures of the museum: docs/images/mismatch.png.

python benchmarks/mismatch_picture.py docs/images/mismatch.png
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from cleanplate.data.live import LiveComposition
from cleanplate.data.mismatch import CHANGES, mismatch
from cleanplate.data.modest import ModestFolder
from cleanplate.data.museum import make_museum
from cleanplate.data.source import Batch
from cleanplate.pictures import write_picture
from cleanplate.recipe_pictures import CastShadow, Composition, ContactShadow, Mismatch
from cleanplate.sheet import draw_sheet

SIZE = 224
SCENE = 5
"""The number of the frame that is shown."""
STRONG = {
    "camouflage": {"share": [0.8, 0.9]},
    "outdated": {"size": [0.15, 0.2]},
    "exposure": {"both": [1, 1]},
    "jpeg": {"quality": [35, 35]},
    "blur": {"sigma": [1.2, 1.2]},
}
"""Settings at the strong end of what they are by default."""
SHADOWS = {
    "cast_shadow": CastShadow(probability=1),
    "contact_shadow": ContactShadow(probability=1, darkness=(0.5, 0.6)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        museum = make_museum(Path(made) / "museum", rooms=4, figures=8, frames=2, size=SIZE, seed=3)
        shown = [*mismatches(museum), *shadows(museum)]
    rows = [(_picture(batch.plate), _picture(batch.frame), _difference(batch)) for _, batch in shown]
    sheet = draw_sheet(rows, ("plate", "frame", "difference"), tile=128, across=3, notes=[name for name, _ in shown])
    write_picture(options.out, sheet)


def mismatches(museum: Path) -> Iterator[tuple[str, Batch]]:
    """Yield each mismatch by itself, of some draws the one that changes most."""
    batch = ModestFolder(museum).batch([SCENE], SIZE, seed=1, epoch=0)
    yield "as rendered", batch
    for name in CHANGES:
        settings = Mismatch.model_validate({name: {"probability": 1} | STRONG.get(name, {})})
        drawn = [mismatch(batch, settings, seed=1, epoch=epoch) for epoch in range(12)]
        yield name, max(drawn, key=lambda one: _change(batch, one))


def shadows(museum: Path) -> Iterator[tuple[str, Batch]]:
    """Yield each shadow by itself, which composed frames alone have: the largest of some."""
    settings = Composition(items=20, empty=0, people=1, cut=0, height=(0.5, 0.6), crop=(0.9, 1), figures=20)
    for name in SHADOWS:
        own = settings.model_copy(update=dict.fromkeys(SHADOWS) | {name: SHADOWS[name]})
        source = LiveComposition(museum / "bg", None, own)
        composed = [source.batch([index], SIZE, seed=1, epoch=0) for index in range(len(source))]
        yield f"composed: {name}", max(composed, key=_shaded)


def _change(before: Batch, after: Batch) -> float:
    moved = sum(
        (x.float() - y.float()).abs().mean() for x, y in ((before.plate, after.plate), (before.frame, after.frame))
    )
    return float(moved)


def _shaded(batch: Batch) -> float:
    return float(((batch.plate.float() - batch.frame.float()) * (batch.mask == 0)).mean())


def _picture(pictures: object) -> np.ndarray:
    return pictures[0].permute(1, 2, 0).numpy()


def _difference(batch: Batch) -> np.ndarray:
    """Return the largest difference of the channels, three times as bright."""
    difference = (batch.frame[0].int() - batch.plate[0].int()).abs().amax(0)
    return (3 * difference).clamp(0, 255).numpy().astype(np.uint8)


if __name__ == "__main__":
    main()
