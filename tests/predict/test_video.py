"""Videos: every frame at its time, sound as it was, transparency, and files that play however the work ends."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from films import draw_frame, film_seconds, hear, read_film, read_sound, write_film
from scenes import draw_wall

from cleanplate import Predictor, UserError, predict
from cleanplate.pictures import write_picture
from cleanplate.predict.clips import Clip

KINDS = {"mask": ".mp4", "depth_colour": ".mp4", "cutout": ".webm", "onto": ".mp4"}


@pytest.fixture(scope="session")
def plate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plate") / "plate.png"
    write_picture(path, draw_wall(0, (96, 128)))
    return path


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """21 frames: two batches and a rest."""
    return write_film(tmp_path_factory.mktemp("film") / "walk.mp4", 21)


@pytest.fixture(scope="session")
def made(run: Path, plate: Path, film: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What comes of `film`, put onto blue."""
    out = tmp_path_factory.mktemp("made")
    predicted = predict(run, plate, [film], out=out, onto="#0000ff")
    assert predicted.frames == predicted.videos[0].frames == 21
    assert {Path(file).name for file in predicted.files} == {f"walk_{kind}{end}" for kind, end in KINDS.items()}
    return out


@pytest.mark.parametrize("kind", KINDS)
def test_every_frame_is_there_at_its_time(kind: str, made: Path, film: Path) -> None:
    file = made / f"walk_{kind}{KINDS[kind]}"
    frames, times = read_film(file)
    assert len(frames) == 21
    assert times == pytest.approx(read_film(film)[1], abs=0.001)
    assert film_seconds(file) == pytest.approx(film_seconds(film), abs=0.04)


@pytest.mark.parametrize("kind", ["mask", "depth_colour", "onto"])
def test_sound_is_copied_packet_by_packet(kind: str, made: Path, film: Path) -> None:
    assert read_sound(film)
    assert read_sound(made / f"walk_{kind}.mp4") == read_sound(film)


def test_frames_hold_what_the_predictor_answers(run: Path, plate: Path, film: Path, made: Path) -> None:
    frames, _ = read_film(film)
    scene = Predictor.load(run).with_plate(draw_wall(0, (96, 128)))
    masks, _ = read_film(made / "walk_mask.mp4", "gray")
    ontos, _ = read_film(made / "walk_onto.mp4")
    for frame, mask, onto in zip(frames, masks, ontos, strict=True):
        answer = scene(frame).mask
        assert np.abs(mask - answer * 255).mean() < 5
        weight = answer[..., None]
        expected = frame * weight + np.array([0, 0, 255]) * (1 - weight)
        assert np.abs(onto - expected).mean() < 12


def test_cutout_is_transparent_where_nobody_is(run: Path, film: Path, made: Path) -> None:
    scene = Predictor.load(run).with_plate(draw_wall(0, (96, 128)))
    with av.open(str(made / "walk_cutout.webm")) as container:
        decoder = av.CodecContext.create("libvpx-vp9", "r")  # ffmpeg's own decoder leaves the transparency out
        alphas = [
            frame.to_ndarray(format="rgba")[..., 3]
            for packet in container.demux(video=0)
            for frame in decoder.decode(packet if packet.size else None)
        ]
    frames, _ = read_film(film)
    assert len(alphas) == 21
    for frame, alpha in zip(frames, alphas, strict=True):
        assert np.abs(alpha / 255 - scene(frame).mask).mean() < 0.05


def test_uneven_times_are_kept(run: Path, plate: Path, tmp_path: Path) -> None:
    times = np.cumsum([0, *([40, 40, 120, 15] * 5)]).tolist()
    film = write_film(tmp_path / "uneven.mp4", len(times), times=times)
    predict(run, plate, [film], out=tmp_path / "out", only=["mask"])
    shown = read_film(tmp_path / "out" / "uneven_mask.mp4")[1]
    assert shown == pytest.approx([time / 1000 for time in times], abs=0.002)


def test_sound_that_webm_can_hold_is_in_the_cutout(run: Path, plate: Path, tmp_path: Path) -> None:
    film = write_film(tmp_path / "web.webm", 9, sound="libopus")
    predict(run, plate, [film], out=tmp_path / "out", only=["cutout"])
    assert read_sound(tmp_path / "out" / "web_cutout.webm") == read_sound(film)


def test_sound_that_webm_cannot_hold_is_made_anew_at_its_time(run: Path, plate: Path, tmp_path: Path) -> None:
    film = write_film(tmp_path / "walk.mp4", 50, sound_from=0.8)
    predict(run, plate, [film], out=tmp_path / "out", only=["cutout"])
    seconds, loud = hear(tmp_path / "out" / "walk_cutout.webm")
    assert seconds == pytest.approx(2, abs=0.03)
    assert loud == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize(
    ("name", "sound", "layout"),
    [("camera.avi", "pcm_s16le", "stereo"), ("receiver.ts", "aac", "stereo"), ("12:30.mov", "pcm_s16le", "mono")],
    ids=["channels without names", "no header", "a colon in the name"],
)
def test_sound_as_cameras_write_it_is_heard_at_its_time(
    name: str, sound: str, layout: str, run: Path, plate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_film(tmp_path / name, 50, sound=sound, layout=layout, sound_from=0.8)
    predict(run, plate, [name], out=".", only=["mask"])
    made = f"{Path(name).stem}_mask.mp4"
    assert len(read_film(tmp_path / made)[0]) == 50
    first = read_film(tmp_path / made)[1][0]
    assert hear(tmp_path / made)[1] - first == pytest.approx(0.8, abs=0.05)


def test_a_film_without_sound_gives_films_without(run: Path, plate: Path, tmp_path: Path) -> None:
    film = write_film(tmp_path / "silent.mp4", 3, sound=None)
    predict(run, plate, [film], out=tmp_path / "out", only=["mask"])
    assert len(read_film(tmp_path / "out" / "silent_mask.mp4")[0]) == 3
    assert read_sound(tmp_path / "out" / "silent_mask.mp4") == []


def test_odd_sides_are_made_even(run: Path, tmp_path: Path) -> None:
    with av.open(str(tmp_path / "odd.mkv"), "w") as container:
        video = container.add_stream("ffv1", rate=25)
        video.height, video.width, video.pix_fmt = 95, 127, "bgr0"
        for number in range(3):
            container.mux(video.encode(av.VideoFrame.from_ndarray(draw_frame(number, (95, 127)), "rgb24")))
        container.mux(video.encode(None))
    write_picture(tmp_path / "plate.png", draw_wall(0, (95, 127)))
    predict(run, tmp_path / "plate.png", [tmp_path / "odd.mkv"], out=tmp_path / "out", only=["mask"])
    assert read_film(tmp_path / "out" / "odd_mask.mp4", "gray")[0][0].shape == (96, 128)


def test_colours_come_back_as_they_went_in(tmp_path: Path) -> None:
    with Clip(write_film(tmp_path / "walk.mp4", 1)) as clip:
        pixels = next(part.pixels for part in clip.parts() if hasattr(part, "pixels"))
    assert np.abs(pixels.astype(int) - draw_frame(0)).mean() < 3


def test_a_phones_turned_film_comes_out_upright(tmp_path: Path) -> None:
    film = write_film(tmp_path / "phone.mp4", 2, sound=None)
    one, none, minus = b"\0\1\0\0", bytes(4), b"\xff\xff\0\0"
    before, after = film.read_bytes().split(b"tkhd")
    lying, clockwise = one + none * 3 + one, none + one + none + minus + none
    film.write_bytes(before + b"tkhd" + after.replace(lying, clockwise, 1))
    with Clip(film) as clip:
        pixels = next(part.pixels for part in clip.parts() if hasattr(part, "pixels"))
    assert np.abs(pixels.astype(int) - np.rot90(draw_frame(0), -1)).mean() < 3


SLOW = """
import sys
from cleanplate import cli
from cleanplate.predict.predictor import Scene

ours, calls = Scene.on_canvas, []
def on_canvas(self, frames):
    calls.append(1)
    if len(calls) == 153:
        print("working", flush=True)
        sys.stdin.read()  # for ever
    return ours(self, frames)
Scene.on_canvas = on_canvas
cli.main(sys.argv[1:])
"""


@pytest.mark.parametrize(("how", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_broken_off_work_leaves_films_that_play(
    how: signal.Signals, code: int, run: Path, plate: Path, tmp_path: Path
) -> None:
    film = write_film(tmp_path / "long.mp4", 200)
    words = ["predict", "--weights", run, "--plate", plate, film, "--out", tmp_path / "out", "--onto", "#00ff00"]
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, *map(str, words)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        # As in a terminal: what runs in the background of a shell inherits a SIGINT that is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout
    assert process.stdout.readline() == "working\n"
    process.send_signal(how)
    _, said = process.communicate(timeout=60)
    assert process.returncode == code, said
    killed = how == signal.SIGKILL
    if not killed:
        assert "stopped" in said
        assert "frames of long.mp4, which play" in said
        assert len(said.splitlines()) == 1
    for kind, end in KINDS.items():
        least = 50 if killed and end == ".mp4" else 100  # the last piece is lost: of MP4 two seconds, of WebM one
        file = tmp_path / "out" / f"long_{kind}{end}"
        assert least <= len(read_film(file)[0]) <= 152
        assert read_sound(file)


@pytest.mark.parametrize(
    ("content", "text"),
    [(None, "no such picture, video or folder"), (b"no video", "not a readable video"), (b"", "not a readable video")],
)
def test_what_is_no_film_is_named(content: bytes | None, text: str, run: Path, plate: Path, tmp_path: Path) -> None:
    film = tmp_path / "broken.mp4"
    if content is not None:
        film.write_bytes(content)
    with pytest.raises(UserError, match=rf"^{film}: {text}[^\n]*$"):
        predict(run, plate, [film], out=tmp_path / "out")


def test_a_film_of_another_shape_is_named_and_nothing_is_written(run: Path, plate: Path, tmp_path: Path) -> None:
    film = write_film(tmp_path / "tall.mp4", 3, shape=(128, 96))
    with pytest.raises(UserError, match=r"tall\.mp4: plate and frame are 128x96 and 96x128"):
        predict(run, plate, [film], out=tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_the_command_says_in_json_what_it_made(
    run: Path, plate: Path, film: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from cleanplate.cli import main

    words = ["predict", "--weights", run, "--plate", plate, film, "--out", tmp_path / "out", "--only", "mask", "--json"]
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    assert ended.value.code == 0
    told = json.loads(capsys.readouterr().out)
    assert told["videos"][0]["frames"] == 21
    assert told["files"] == [str(tmp_path / "out" / "walk_mask.mp4")]
