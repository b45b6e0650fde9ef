"""Plates: how much of one is found again in frames of the same and of other views, and how well it is had from footage.

    cleanplate data museum hd --rooms 12 --figures 12 --frames 2 --size 1024 --seed 77
    python benchmarks/plates.py --data hd

Footage is made of the set's rooms and people, 256 pixels a side, 100 frames: two walk through all the time, a third
stands there for a share of it, never quite still.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

from cleanplate import clean_plate
from cleanplate.data.modest import ModestFolder
from cleanplate.pictures import list_pictures, read_rgb, read_rgba
from cleanplate.predict.match import SIZE, share_found

SIDE = 256
FRAMES = 100
WRONG = 20
"""Difference, of 255, from which a pixel of a plate is wrong."""


def small(picture: np.ndarray, size: int) -> np.ndarray:
    return cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)


def print_matches(folder: ModestFolder) -> None:
    found: dict[str, list[float]] = {}
    items = [folder.read(index) for index in range(len(folder))]
    pairs = [(small(item.plate, SIZE), small(item.frame, SIZE)) for item in items]
    for number, (plate, frame) in enumerate(pairs):
        views = {"the same view": frame, "the same, 0.6 times as bright": (frame * 0.6).astype(np.uint8)}
        noise = np.random.default_rng(number).normal(0, 8, frame.shape)
        views["the same, noise of 8"] = np.clip(frame + noise, 0, 255).astype(np.uint8)
        for part in (1, 2, 5):
            moved = np.float32([[1, 0, part / 100 * SIZE], [0, 1, part / 200 * SIZE]])
            views[f"moved by {part} % of the width"] = cv2.warpAffine(
                frame, moved, (SIZE, SIZE), borderMode=cv2.BORDER_REPLICATE
            )
        views["another room"] = pairs[(number + len(pairs) // 2) % len(pairs)][1]
        for name, view in views.items():
            share = share_found(plate, view)
            if share is not None:
                found.setdefault(name, []).append(share)
    print("| frame | least | median | most |\n|---|---|---|---|")
    for name, shares in found.items():
        print(f"| {name} | {min(shares):.0%} | {np.median(shares):.0%} | {max(shares):.0%} |")


def paste(frame: np.ndarray, person: np.ndarray, x: int, y: int) -> None:
    left, right, bottom = max(0, x), min(SIDE, x + person.shape[1]), min(SIDE, y + person.shape[0])
    if left < right:
        seen = person[: bottom - y, left - x : right - x]
        alpha = seen[..., 3:] / 255
        frame[y:bottom, left:right] = frame[y:bottom, left:right] * (1 - alpha) + alpha * seen[..., :3]


def make_footage(room: np.ndarray, people: list[np.ndarray], stay: float, begin: int, seed: int) -> list[np.ndarray]:
    rng, frames = np.random.default_rng(seed), []
    for number in range(FRAMES):
        frame = room.astype(np.float64)
        paste(frame, people[0], int(-90 + number * (SIDE + 180) / FRAMES), 50)
        paste(frame, people[1], int(SIDE - number * 2.3 % (SIDE + 150)), 40)
        if begin <= number < begin + stay * FRAMES:
            paste(frame, people[2], 120 + int(rng.integers(-1, 2)), 48 + int(rng.integers(-1, 2)))
        frames.append(np.clip(frame + rng.normal(0, 3, frame.shape), 0, 255).round().astype(np.uint8))
    return frames


def wrong_share(made: np.ndarray, room: np.ndarray) -> float:
    return float((np.abs(made.astype(int) - room).max(axis=-1) > WRONG).mean())


def print_footage(folder: Path, rooms: int) -> None:
    plates = [small(read_rgb(path), SIDE) for path in list_pictures(folder / "bg")[:rooms]]
    cutouts = [read_rgba(path) for path in list_pictures(folder / "fg")]
    people = [cv2.resize(c, (c.shape[1] * 200 // c.shape[0], 200), interpolation=cv2.INTER_AREA) for c in cutouts]
    print("| somebody stays | in | median | clean_plate |\n|---|---|---|---|")
    for where in ("the middle", "the beginning"):
        for stay in (0, 0.3, 0.5, 0.6, 0.7):
            wrong = []
            for number, room in enumerate(plates):
                three = [people[(number + step) % len(people)] for step in (3, 5, 0)]
                begin = int((1 - stay) / 2 * FRAMES) if where == "the middle" else 0
                frames = make_footage(room, three, stay, begin, number)
                wrong.append([wrong_share(m, room) for m in (np.median(frames, axis=0), clean_plate(frames)[0])])
            median, ours = np.mean(wrong, axis=0)
            print(f"| {stay:.0%} of the time | {where} | {median:.1%} | {ours:.1%} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rooms", type=int, default=4, help="how many the footage is made of")
    options = parser.parse_args()
    print_matches(ModestFolder(options.data))
    print_footage(options.data, options.rooms)


if __name__ == "__main__":
    main()
