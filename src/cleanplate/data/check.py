"""Find every fault of a data set before training does."""

import csv
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict

from cleanplate.cores import count_cores
from cleanplate.data.card import read_card
from cleanplate.data.modest import FIELDS, FILE_MAP, find_folder, find_picture, read_file_map
from cleanplate.errors import UserError, one_line
from cleanplate.files import require_file, require_folder
from cleanplate.pictures import decode, pictures_called
from cleanplate.progress import track

ITEMS_PER_TASK = 16  # a future each would take more memory than all the names
COLOUR_SPREAD = 32
"""A pixel whose channels differ by more, of 255, has a colour."""
SOFT_LOW, SOFT_HIGH = 26, 229
EDGE_REACH, SOFT_SHARE = 3, 0.05
FAINT_SHARE = 0.01

Shape = tuple[int, ...]


class Fault(BaseModel):
    """One fault of one file."""

    model_config = ConfigDict(frozen=True)
    file: str
    fault: Annotated[str, AfterValidator(one_line)]


class CheckReport(BaseModel):
    """What `cleanplate data check` found."""

    items: int
    """How many lines of the file map could be read."""
    faults: list[Fault]


def check(data: Path | str, *, workers: int | None = None) -> CheckReport:
    """Look at every line, table and picture of a data set folder and name all that is wrong with them.

    Wrong are: a missing folder or file, a broken line, a name given twice, a picture that cannot be read, one of
    another size than the others of its item, a grey plate or frame, a mask or depth map in colour, anything with
    transparency, a depth map that is the same everywhere, a mask that is not near 0 or 1, a row of `bbox.txt` or
    `items.csv` that fits no line of the file map, an invalid `dataset.yaml`.

    A mask is near 0 or 1 when its edges may be soft, but at most 5 % of its pixels lie between 10 and 90 % farther
    than 3 pixels from an edge; and when it reaches 50 % somewhere, unless it is empty but for 1 % of its pixels.

    Args:
        data: a data set folder.
        workers: number of threads, one a core when None.

    Raises:
        UserError: there is no such folder.
    """
    folder = require_folder(data, "data set folder")
    names, faults = _read_names(folder)
    count = len(names["frame"])
    has_depth = bool((names["depth"] != b"").any())
    folders, missing = _find_folders(folder, has_depth)
    faults += [*missing, *_table_faults(folder, names)]
    if "depth" in folders and count and not has_depth and any(folders["depth"].iterdir()):
        text = f"holds depth maps, but no line of {FILE_MAP} names one; add them as its fourth column"
        faults.append(Fault(file=str(folders["depth"]), fault=text))
    with ThreadPoolExecutor(workers or count_cores()) as pool:
        plates: dict[bytes, tuple[Path, Shape]] = {}
        plate_names = np.unique(names["plate"]).tolist() if "plate" in folders else []
        looked = pool.map(lambda name: _look(folders["plate"], name.decode(), "plate"), plate_names)
        for name, (path, shape, found) in zip(
            plate_names, track(looked, len(plate_names), "checking plates"), strict=True
        ):
            faults += found
            if shape:
                plates[name] = path, shape

        def check_some(start: int) -> list[list[Fault]]:
            rows = zip(*(names[field][start : start + ITEMS_PER_TASK].tolist() for field in FIELDS), strict=True)
            return [list(_item_faults(row, folders, plates)) for row in rows]

        results = pool.map(check_some, range(0, count, ITEMS_PER_TASK))
        for found in track((found for result in results for found in result), count, "checking items"):
            faults += found
    return CheckReport(items=count, faults=list(dict.fromkeys(faults)))  # a shared plate's fault comes once


def _read_names(folder: Path) -> tuple[dict[str, np.ndarray], list[Fault]]:
    path = folder / FILE_MAP
    try:
        names, faults = read_file_map(path)
    except UserError as error:
        return dict.fromkeys(FIELDS, np.array([], np.bytes_)), [_named(str(error), path)]
    return names, [_named(fault, path) for fault in faults]


def _find_folders(folder: Path, has_depth: bool) -> tuple[dict[str, Path], list[Fault]]:
    folders, faults = {}, []
    for field in FIELDS:
        try:
            folders[field] = find_folder(folder, field)
        except UserError as error:
            if field != "depth" or has_depth:
                faults.append(_named(str(error), folder))
    return folders, faults


def _item_faults(
    row: tuple[bytes, ...], folders: dict[str, Path], plates: dict[bytes, tuple[Path, Shape]]
) -> Iterator[Fault]:
    shapes = {}
    for field, name in zip(FIELDS[1:], row[1:], strict=True):
        if name and field in folders:
            path, shape, faults = _look(folders[field], name.decode(), field)
            yield from faults
            if shape:
                shapes[path] = shape
    if row[0] in plates:
        path, shape = plates[row[0]]
        shapes[path] = shape
    if shapes:
        usual = Counter(shapes.values()).most_common(1)[0][0]
        for path, shape in shapes.items():
            if shape != usual:
                size, others = ("{1}x{0}".format(*sides) for sides in (shape, usual))
                text = f"is {size}, but the other pictures of its item are {others}; give them one size"
                yield Fault(file=str(path), fault=text)


def _look(folder: Path, name: str, field: str) -> tuple[Path, Shape | None, list[Fault]]:
    """Look at one picture: its file, its height and width if it can be read, and its faults."""
    path = folder / name
    try:
        path = find_picture(folder, name)
        # PNG alone can have transparency, and only this flag shows it; but it ignores how a camera turned its JPEG.
        turns = path.suffix.lower() != ".png"
        picture = decode(path, cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH if turns else cv2.IMREAD_UNCHANGED)
    except UserError as error:
        return path, None, [_named(str(error), path)]
    texts = list(_content_faults(picture, field))
    others = [other.name for other in pictures_called(folder, name)]
    if len(others) > 1:
        texts.append(f"the name is there twice: {' and '.join(others)}; remove all but one")
    return path, picture.shape[:2], [Fault(file=str(path), fault=text) for text in texts]


def _content_faults(picture: np.ndarray, field: str) -> Iterator[str]:
    is_grey_field = field in ("mask", "depth")
    if picture.ndim == 3 and picture.shape[2] == 4 and picture[..., 3].min() < np.iinfo(picture.dtype).max:
        yield f"has transparency; save the {field} without an alpha channel"
    if picture.ndim == 2 and not is_grey_field:
        yield f"is grey; a {field} has three channels, RGB"
    if not is_grey_field:
        return
    grey = picture if picture.ndim == 2 else picture[..., :3].max(2)
    spread = 0 if picture.ndim == 2 else int((grey - picture[..., :3].min(2)).max())
    if spread > COLOUR_SPREAD * (257 if picture.dtype == np.uint16 else 1):
        yield f"has colours; a {'depth map' if field == 'depth' else 'mask'} is a grey picture"
    elif field == "depth":
        if grey.min() == grey.max():
            yield "is the same depth everywhere; leave the depth column empty if there is none"
    else:
        yield from _mask_faults((grey >> 8).astype(np.uint8) if grey.dtype == np.uint16 else grey)


def _mask_faults(mask: np.ndarray) -> Iterator[str]:
    largest = int(mask.max())
    if largest < 128 and np.count_nonzero(mask) > FAINT_SHARE * mask.size:
        yield f"has no value above {largest} of 255; a mask is 255 where foreground, 0 elsewhere"
        return
    soft = cv2.inRange(mask, SOFT_LOW, SOFT_HIGH)
    if np.count_nonzero(soft) > SOFT_SHARE * mask.size:
        around = np.ones((2 * EDGE_REACH + 1,) * 2, np.uint8)
        edges = cv2.morphologyEx((mask >= 128).astype(np.uint8), cv2.MORPH_GRADIENT, around)
        share = np.count_nonzero(soft[edges == 0]) / mask.size
        if share > SOFT_SHARE:
            yield f"is not near 0 or 255: {share:.0%} of it lies between, away from edges; save it as black and white"


def _table_faults(folder: Path, names: dict[str, np.ndarray]) -> Iterator[Fault]:
    try:
        read_card(folder)
    except UserError as error:
        yield _named(str(error), folder / "dataset.yaml")
    plate_of = {frame.decode(): plate.decode() for frame, plate in zip(names["frame"], names["plate"], strict=True)}
    for name, read in (("bbox.txt", _box_faults), ("items.csv", _row_faults)):
        path = folder / name
        if path.exists():
            try:
                with require_file(path, "missing").open(encoding="utf-8", newline="") as lines:
                    yield from (Fault(file=str(path), fault=text) for text in read(lines, plate_of))
            except UserError as error:
                yield _named(str(error), path)
            except (OSError, UnicodeDecodeError, csv.Error) as error:
                yield Fault(file=str(path), fault=f"cannot be read as text ({error})")


def _box_faults(lines: Iterable[str], plate_of: dict[str, str]) -> Iterator[str]:
    for number, line in enumerate(lines, start=1):
        frame, *box = line.rsplit(maxsplit=4) or [""]  # names may have blanks
        if len(box) != 4 or not all(value.isdecimal() for value in box):
            yield f"line {number}: expected a frame with extension, and x, y, width, height in pixels"
        elif frame.rpartition(".")[0] not in plate_of:
            yield f"line {number}: no line of {FILE_MAP} has the frame {frame}"


def _row_faults(lines: Iterable[str], plate_of: dict[str, str]) -> Iterator[str]:
    table = csv.DictReader(lines)
    missing = {"frame", "plate", "cutouts"}.difference(table.fieldnames or ())
    if missing:
        yield f"has no column {', '.join(sorted(missing))}; its first line names the columns"
        return
    waiting = dict.fromkeys(plate_of)
    for row in table:
        frame, plate = row["frame"], row["plate"]
        if frame not in plate_of:
            yield f"line {table.line_num}: no line of {FILE_MAP} has the frame {frame}"
        elif frame not in waiting:
            yield f"line {table.line_num}: frame {frame} has a row already; remove one"
        elif plate != plate_of[frame]:
            yield f"line {table.line_num}: frame {frame} is on plate {plate_of[frame]} in {FILE_MAP}, not {plate}"
        waiting.pop(frame, None)
    yield from (f"has no row for frame {frame}" for frame in waiting)


def _named(message: str, path: Path) -> Fault:
    """Split the message of a UserError into the file and what is wrong with it, a line number going with the latter."""
    text = message.removeprefix(f"{path}:").strip()
    number, colon, rest = text.partition(": ")
    return Fault(file=str(path), fault=f"line {number}: {rest}" if colon and number.isdecimal() else text)
