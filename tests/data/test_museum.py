import csv
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from cleanplate.data.museum import make as making
from cleanplate.data.museum import make_museum
from cleanplate.data.museum.bodies import build_body
from cleanplate.data.museum.camera import CENTRE, Camera
from cleanplate.data.museum.material import Material
from cleanplate.data.museum.poses import draw_pose, neutral_pose
from cleanplate.data.museum.render import Plate, see
from cleanplate.data.museum.rooms import FAR, FOV, NEAR
from cleanplate.data.museum.scene import EMPTY_SHARE, draw_count, draw_frame, draw_plate, figure_of, room_seed
from cleanplate.data.museum.solids import CUT, ROUND, Solid, Solids, box, trace, turned
from cleanplate.errors import UserError
from cleanplate.pictures import read_depth, read_mask, read_rgb, read_rgba

SIZE, ROOMS, FRAMES, FIGURES = 96, 4, 7, 6
GREY = Material((0.5, 0.5, 0.5))


@pytest.fixture(scope="module")
def museum(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("museum") / "set"
    return make_museum(out, rooms=ROOMS, frames=FRAMES, figures=FIGURES, size=SIZE, seed=3, workers=1)


@pytest.fixture(scope="module")
def plates() -> list[Plate]:
    """The plates of the set that `museum` is, with their geometry."""
    return [draw_plate(np.random.default_rng(room_seed(3, room)), SIZE) for room in range(ROOMS)]


def file_map(museum: Path) -> list[list[str]]:
    return [line.split("\t") for line in (museum / "file_map.txt").read_text().splitlines()]


def items_with_plates(museum: Path, plates: list[Plate]) -> list[tuple[list[str], Plate]]:
    return [(row, plates[int(row[0][2:]) - 1]) for row in file_map(museum)]


def mask_of(museum: Path, row: list[str]) -> np.ndarray:
    return read_mask(museum / "bg_fg_mask" / f"{row[2]}.png")


def depth_of(museum: Path, row: list[str]) -> np.ndarray:
    return read_depth(museum / "bg_fg_depth_map" / f"{row[3]}.png")


def step() -> float:
    """One step of a depth map, in metres."""
    return (FAR - NEAR) / 65535


def world_points(camera: Camera, depth: np.ndarray) -> np.ndarray:
    """Unproject pixel centres by the textbook formula: `(H, W, 3)`."""
    focal = camera.size / 2 / np.tan(np.radians(FOV / 2))
    centres = np.arange(camera.size) + 0.5 - camera.size / 2
    directions = np.stack(np.broadcast_arrays(centres[None] / focal, -centres[:, None] / focal, 1.0), -1)
    return camera.position + (directions * depth[..., None]) @ camera.rotation.T


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_bytes_depend_on_the_seed_alone_and_not_on_workers_or_the_number_of_rooms(tmp_path: Path, museum: Path) -> None:
    options = {"frames": FRAMES, "figures": FIGURES, "size": SIZE}
    fewer = make_museum(tmp_path / "fewer", rooms=2, seed=3, workers=2, **options)
    whole = files_of(museum)
    for name, content in files_of(fewer).items():
        if name == "dataset.yaml":
            continue
        if "/" in name:
            assert content == whole[name], name
        else:
            assert whole[name].startswith(content), name
    other = make_museum(tmp_path / "other", rooms=1, seed=4, workers=1, **options)
    assert (other / "bg" / "bg001.jpg").read_bytes() != whole["bg/bg001.jpg"]
    assert (other / "fg" / "fg001.png").read_bytes() != whole["fg/fg001.png"]


def test_layout_is_that_of_a_data_set_folder(museum: Path) -> None:
    rows = file_map(museum)
    assert len(rows) == ROOMS * FRAMES
    assert len({row[1] for row in rows}) == len(rows)
    for plate, frame, mask, depth in rows:
        for folder, name in (("bg", f"{plate}.jpg"), ("bg_fg", f"{frame}.jpg")):
            assert read_rgb(museum / folder / name).shape == (SIZE, SIZE, 3)
        assert (museum / "bg_fg_mask" / f"{mask}.png").is_file()
        assert (museum / "bg_fg_depth_map" / f"{depth}.png").is_file()
    for number in range(1, FIGURES + 1):
        alpha = read_rgba(museum / "fg" / f"fg{number:03d}.png")[..., 3]
        assert 0 in alpha
        assert ((alpha > 0) & (alpha < 255)).any()
        np.testing.assert_array_equal(read_mask(museum / "fg_mask" / f"fg{number:03d}_mask.png") == 255, alpha >= 128)
    with (museum / "items.csv").open() as table:
        items = list(csv.DictReader(table))
    assert [item["frame"] for item in items] == [row[1] for row in rows]
    known = {path.stem for path in (museum / "fg").iterdir()}
    assert {name for item in items for name in item["cutouts"].split()} <= known


def test_card_says_how_it_was_made_and_gives_metres(museum: Path) -> None:
    card = yaml.safe_load((museum / "dataset.yaml").read_text())
    assert card["name"] == "museum"
    assert card["depth"] == {"kind": "metric", "near": NEAR, "far": FAR, "fov": FOV}
    made_by = card["made_by"]
    assert (made_by["command"], made_by["rooms"], made_by["seed"], made_by["size"]) == ("data museum", ROOMS, 3, SIZE)


def test_boxes_enclose_the_masks(museum: Path) -> None:
    lines = [line.split("\t") for line in (museum / "bbox.txt").read_text().splitlines()]
    for (name, *numbers), row in zip(lines, file_map(museum), strict=True):
        x, y, width, height = map(int, numbers)
        mask = mask_of(museum, row)
        assert name == f"{row[1]}.jpg"
        assert mask.sum() == mask[y : y + height, x : x + width].sum()
        if width:
            edges = (mask[y, :], mask[y + height - 1, :], mask[:, x], mask[:, x + width - 1])
            assert all(edge.any() for edge in edges)


def test_masks_are_binary_and_cover_one_percent_unless_the_frame_is_empty(museum: Path) -> None:
    for row in file_map(museum):
        mask = mask_of(museum, row)
        assert set(np.unique(mask)) <= {0, 255}
        assert (mask > 0).mean() >= 0.01 or ("empty" in row[1] and not mask.any())


def test_three_percent_of_frames_are_empty() -> None:
    rng = np.random.default_rng(0)
    counts = np.bincount([draw_count(rng) for _ in range(20_000)]) / 20_000
    assert counts[0] == pytest.approx(EMPTY_SHARE, abs=0.004)
    assert (counts[1:] > 0.05).all()


def test_depth_is_the_plates_outside_the_mask_and_nearer_inside(museum: Path, plates: list[Plate]) -> None:
    for row, plate in items_with_plates(museum, plates):
        metres, inside = NEAR + depth_of(museum, row) * step(), mask_of(museum, row) > 0
        behind = plate.depth[CENTRE]
        np.testing.assert_allclose(metres[~inside], behind[~inside], atol=step())
        assert (metres[inside] < behind[inside] + step()).all()


def test_depth_keeps_its_small_steps_and_spreads(plates: list[Plate], museum: Path) -> None:
    assert all(len(np.unique(depth_of(museum, row))) > 1000 for row in file_map(museum))
    more = [draw_plate(np.random.default_rng(room_seed(1, room)), 64).depth[CENTRE] for room in range(16)]
    relative = (np.stack(more) - NEAR) / (FAR - NEAR)
    assert relative.min() > 0
    assert relative.max() < 1
    assert relative.std() > 0.12


def test_room_depth_is_the_closed_form_distance_to_floor_and_walls(plates: list[Plate]) -> None:
    for plate in plates:
        room, owner = plate.room, plate.owner[CENTRE]
        points = world_points(room.camera, plate.depth[CENTRE])
        sides = ((1, 0.0), (1, room.height), (0, -room.width / 2), (0, room.width / 2), (2, room.depth))
        for number, (axis, value) in enumerate(sides):
            np.testing.assert_allclose(points[owner == number][:, axis], value, atol=2e-5)
        low, high = np.array([-room.width / 2, 0, 0]), np.array([room.width / 2, room.height, room.depth])
        assert (points > low - 1e-3).all()
        assert (points < high + 1e-3).all()
        assert (owner == 0).mean() > 0.02


@pytest.fixture(scope="module")
def void(plates: list[Plate]) -> Plate:
    """A hundred metres of nothing in front of a camera 0.5 m above the floor that looks straight along z."""
    camera = Camera(np.array([0.0, 0.5, 0.0]), np.eye(3), 128 / np.tan(np.radians(FOV / 2)), 256)
    depth, owner = np.full((5, 256, 256), 100, np.float32), np.zeros((5, 256, 256), np.int16)
    return plates[0]._replace(room=plates[0].room._replace(camera=camera), depth=depth, owner=owner)


@pytest.mark.parametrize("number", range(5))
def test_people_stand_on_the_floor_at_the_size_that_their_distance_gives(void: Plate, number: int) -> None:
    figure, away = figure_of(7, number), 4.0 + 0.5 * number
    sight = see(void, [build_body(figure, neutral_pose(), (0.0, away), 1.0 + number)])
    points = world_points(void.room.camera, sight.depth[CENTRE])[sight.who == 0]
    feet = points[points[:, 1] < 0.06]
    pixel = away / void.room.camera.focal
    assert -1e-4 < points[:, 1].min() < pixel
    assert points[:, 1].max() == pytest.approx(figure.height, abs=0.06 + pixel)
    assert feet[:, 2].mean() == pytest.approx(away, abs=0.2)  # half a shoe


def test_every_pose_stands_on_the_floor(void: Plate) -> None:
    rng = np.random.default_rng(5)
    for number in range(25):
        sight = see(void, [build_body(figure_of(1, number), draw_pose(rng), (0.5, 4.0), rng.uniform(0, 6))])
        heights = world_points(void.room.camera, sight.depth[CENTRE])[sight.who == 0][:, 1]
        assert -1e-4 < heights.min() < 0.03
        assert 0.9 < heights.max() < 2.6


def test_people_overlap_hide_behind_furniture_and_are_cut_by_the_frame() -> None:
    several = behind = cut = False
    for room in range(6):
        rng = np.random.default_rng(room_seed(2, room))
        plate = draw_plate(rng, 64)
        for _ in range(8):
            numbers, sight = draw_frame(rng, plate, 2, 10)
            if sight.solids is None:
                continue
            alone = np.full_like(sight.owner, -1)
            trace(sight.solids, plate.room.camera, np.full_like(sight.depth, np.inf), alone, 0)
            several |= len(numbers) > 1
            behind |= ((alone[CENTRE] >= 0) & (sight.who < 0)).sum() > 20
            border = np.concatenate([sight.who[0], sight.who[-1], sight.who[:, 0], sight.who[:, -1]])
            cut |= bool((border >= 0).any())
            assert set(np.unique(sight.who)) == {-1, *range(len(numbers))}
    assert several
    assert behind
    assert cut


def test_frame_is_the_plate_away_from_people_and_differs_on_them(museum: Path) -> None:
    for row in file_map(museum):
        plate, frame = (read_rgb(museum / f / f"{n}.jpg").astype(int) for f, n in (("bg", row[0]), ("bg_fg", row[1])))
        difference, inside = np.abs(plate - frame).max(2), mask_of(museum, row) > 0
        untouched = ~inside[: SIZE // 6].any(0)
        assert np.median(difference[~inside]) <= 2
        assert (difference[: SIZE // 6 - 16, untouched] == 0).all()
        if inside.any():
            assert difference[inside].mean() > 8


def signed_distance(solid: Solid, points: np.ndarray) -> np.ndarray:
    """Measure by brute force how far points `(N, 3)` are from a rounded cone: it is a row of many balls."""
    shares = np.linspace(0, 1, 150)
    local = (points - solid.origin) @ np.linalg.inv(solid.frame).T
    middles = np.stack([0 * shares, shares * solid.length, 0 * shares], 1)
    radii = solid.r1 + shares * (solid.r2 - solid.r1)
    return (np.linalg.norm(local[:, None] - middles, axis=2) - radii).min(1)


angles = st.floats(-3, 3)


@settings(max_examples=25, deadline=None)
@given(angles, angles, st.floats(0.1, 0.9), st.floats(0.05, 0.3), st.floats(0.05, 0.3), st.floats(0.5, 1.0))
def test_rays_meet_a_rounded_cone_where_a_row_of_balls_begins(
    turn: float, tilt: float, length: float, r1: float, r2: float, flat: float
) -> None:
    if abs(r1 - r2) > 0.9 * length:
        r2 = r1
    lean = turned(turn) @ np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    solid = Solid(ROUND, lean * np.array([1, 1, flat]), np.array([0.1, -0.1, 4.0]), length, r1, r2, GREY)
    camera = Camera(np.zeros(3), np.eye(3), 15.0, 12)
    depth, owner = np.full((5, 12, 12), np.inf, np.float32), np.full((5, 12, 12), -1, np.int16)
    trace(Solids([solid]), camera, depth, owner, 3)
    x, y = (plane[CENTRE] for plane in camera.rays(camera.frame))
    rays = np.stack(np.broadcast_arrays(x, y, np.float32(1)), -1).reshape(-1, 3)
    depths = np.linspace(2.8, 5.2, 81)
    nearest = np.stack([signed_distance(solid, rays * at) for at in depths]).min(0).reshape(12, 12)
    hit = owner[CENTRE] == 3
    assert (nearest[~hit] > -1e-3).all()
    assert (nearest[hit] < 0.02).all()
    surface = depth[CENTRE][hit]
    np.testing.assert_allclose(signed_distance(solid, rays[hit.ravel()] * surface[:, None]), 0, atol=2e-3)
    assert (signed_distance(solid, rays[hit.ravel()] * (surface[:, None] - 0.01)) > 0).all()


def test_rays_meet_boxes_and_cut_cones_at_their_known_faces() -> None:
    camera = Camera(np.zeros(3), np.eye(3), 64.0, 64)
    lying = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]).T  # the axis points at the camera
    solids = [
        box(np.array([-0.5, 0.0, 5.0]), (0.3, 0.3, 0.5), 0.0, GREY),
        Solid(CUT, lying, np.array([0.5, 0.0, 5.0]), 1.0, 0.3, 0.3, GREY),
    ]
    depth, owner = np.full((5, 64, 64), np.inf, np.float32), np.full((5, 64, 64), -1, np.int16)
    trace(Solids(solids), camera, depth, owner, 0)
    row = 32
    left, right = (round(64 * x / z + 32) for x, z in ((-0.5, 4.5), (0.5, 4.0)))
    assert (owner[CENTRE, row, left], owner[CENTRE, row, right]) == (0, 1)
    assert depth[CENTRE, row, left] == pytest.approx(4.5, abs=1e-5)
    assert depth[CENTRE, row, right] == pytest.approx(4.0, abs=1e-5)


@pytest.mark.parametrize(
    ("option", "value", "named"),
    [
        ("rooms", 0, "--rooms"),
        ("figures", 0, "--figures"),
        ("frames", -1, "--frames"),
        ("size", 100, "128"),
        ("size", 32, "--size"),
        ("seed", -1, "--seed"),
        ("workers", 0, "--workers"),
    ],
)
def test_bad_number_is_named_in_one_line(tmp_path: Path, option: str, value: int, named: str) -> None:
    with pytest.raises(UserError, match=named) as caught:
        make_museum(tmp_path / "set", **{option: value})
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "set").exists()


def test_folder_that_holds_something_is_refused(museum: Path) -> None:
    with pytest.raises(UserError, match="exists already"):
        make_museum(museum, rooms=1)


def test_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(making, "draw_frame", fail)
    with pytest.raises(OSError, match="disk full"):
        make_museum(tmp_path / "set", rooms=1, figures=1, frames=1, size=64, workers=1)
    assert list(tmp_path.iterdir()) == []
