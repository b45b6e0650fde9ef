"""What goes wrong in a training: files, disks, memory and losses."""

import csv
import errno
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import torch
from scenes import PLAIN, broken_file, write_scenes
from trainings import RECIPE, STEPS, assert_same, equal_weights, parameters, read_rows, send, small_recipe, states

from cleanplate import Recipe, UserError, evaluate, resume, train
from cleanplate.data.modest import ModestFolder
from cleanplate.data.split import split_items
from cleanplate.data.statistics import normalisation_of
from cleanplate.recipe import Phase, Sgd
from cleanplate.train import record
from cleanplate.train.run import Run
from cleanplate.train.state import read_state


def damage(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    if how == "cut":
        del content[len(content) // 2 :]
    elif how == "empty":
        content.clear()
    else:
        content[{"head": 3, "digest": 30, "start": 60, "middle": len(content) // 2, "end": len(content) - 1}[how]] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("how", ["head", "digest", "start", "middle", "end", "cut", "empty"])
def test_a_damaged_state_is_set_aside_and_the_one_before_is_taken(
    how: str, unbroken: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(unbroken, tmp_path / "run"))
    newest = run / "checkpoints" / f"step-{STEPS:09d}.ckpt"
    damage(newest, how)
    resume(run)
    assert f"{newest} is damaged, and set aside as {newest.name}.damaged" in capsys.readouterr().err
    assert newest.with_name(f"{newest.name}.damaged").exists()
    assert_same(run, unbroken)


def test_a_run_whose_states_are_all_damaged_starts_anew(unbroken: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(unbroken, tmp_path / "run"))
    for state in (run / "checkpoints").iterdir():
        damage(state, "middle")
    resume(run)
    assert_same(run, unbroken)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]", b"{}", b'{"data": "."}', b"[" * 100_000])
def test_a_damaged_environment_is_one_line(content: bytes, unbroken: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(unbroken, tmp_path / "run"))
    (run / "environment.json").write_bytes(content)
    with pytest.raises(UserError, match=r"environment\.json: .*; the run folder is damaged"):
        resume(run)


@pytest.mark.parametrize(("key", "value"), [("normalisation", {}), ("devices", "2"), ("threads", 0), ("depth", [])])
def test_an_environment_of_wrong_values_is_one_line(key: str, value: object, unbroken: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(unbroken, tmp_path / "run"))
    file = run / "environment.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {key: value}))
    with pytest.raises(UserError, match=rf"environment\.json: {key}.*; the run folder is damaged"):
        resume(run)


@pytest.mark.parametrize("name", ["metrics.csv", "times.csv"])
@pytest.mark.parametrize("content", [b"", b"text", b"\xff", b"epoch,phase\n1,1\n", b"epoch\n1\nx\n", b"epoch,lr\n1"])
def test_damaged_figures_are_one_line(content: bytes, name: str, unbroken: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(unbroken, tmp_path / "run"))
    (run / name).write_bytes(content)
    with pytest.raises(UserError, match=r"metrics\.csv, times\.csv: .*; the run folder is damaged"):
        Run.open(run).rows()


def test_a_state_never_runs_code(unbroken: Path, tmp_path: Path) -> None:
    from hashlib import sha256

    path = tmp_path / "state.ckpt"
    torch.save({"evil": os.system}, tmp_path / "evil")
    content = (tmp_path / "evil").read_bytes()
    path.write_bytes(b"cleanplate state 1\n" + sha256(content).digest() + content)
    with pytest.raises(UserError, match=r"state\.ckpt: holds more than tensors and plain values"):
        read_state(path)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 12 MB."""
    path = tmp_path / "disk"
    path.mkdir()
    mounting = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", path], capture_output=True, text=True)
    if mounting.returncode:
        pytest.skip(f"needs the right to mount a file system: {mounting.stderr.strip()}")
    yield path
    subprocess.run(["umount", path], check=True)


def test_a_disk_that_is_really_full(small_disk: Path, unbroken: Path, scenes: Path) -> None:
    run, ballast = small_disk / "run", small_disk / "ballast"
    ballast.write_bytes(bytes(11_200_000))
    with pytest.raises(OSError, match="No space left") as error:
        train(RECIPE, scenes, run=run)
    assert error.value.filename.startswith(str(run))
    assert not list(run.rglob(".*"))
    ballast.unlink()
    resume(run)
    assert_same(run, unbroken)


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_run_folder_that_is_made_read_only_goes_on_later(small_disk: Path, unbroken: Path, scenes: Path) -> None:
    run = small_disk / "run"
    train(RECIPE, scenes, run=run, epochs_now=1)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    before = {path: path.stat().st_size for path in run.rglob("*")}
    with pytest.raises(OSError, match="Read-only file system") as error:
        resume(run)
    assert error.value.filename.startswith(str(run))
    assert {path: path.stat().st_size for path in run.rglob("*")} == before
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    resume(run)
    assert_same(run, unbroken)


@pytest.mark.parametrize("kind", ["full", "short", "read-only"])
def test_a_disk_that_fills_up_costs_nothing_but_the_time_since_the_last_state(
    kind: str, unbroken: Path, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, fsync = tmp_path / "run", os.fsync

    def full(number: int) -> None:
        is_file = stat.S_ISREG(os.fstat(number).st_mode)
        if is_file and len(list((run / "checkpoints").glob("step-*"))) >= 2:
            if kind == "short":
                os.ftruncate(number, 100)
            number = errno.EROFS if kind == "read-only" else errno.ENOSPC
            raise OSError(number, os.strerror(number))
        fsync(number)

    with monkeypatch.context() as patches:
        patches.setattr(os, "fsync", full)
        with pytest.raises(OSError, match=r"No space left|Read-only") as error:
            train(RECIPE, scenes, run=run)
    assert error.value.filename == str(run / "epochs" / "002.safetensors")
    assert states(run) == [4, 8]
    assert not list(run.rglob(".*"))
    resume(run)
    assert_same(run, unbroken)


def test_pictures_that_break_in_mid_epoch_cost_nothing(
    unbroken: Path, scenes: Path, tmp_path: Path, on_call: Callable[..., None]
) -> None:
    run, data = tmp_path / "run", Path(shutil.copytree(scenes, tmp_path / "data"))
    masks, away = data / "bg_fg_mask", data / "away"
    on_call(7, lambda: masks.rename(away) and None)
    with pytest.raises(UserError, match=r"bg_fg_mask/.*: no such picture"):
        train(RECIPE, data, run=run, pack=False)
    assert states(run)[-1] == 7
    away.rename(masks)
    resume(run)
    assert_same(run, unbroken)


def test_a_loss_that_is_no_number_stops_the_run_before_it_does_harm(
    unbroken: Path, scenes: Path, tmp_path: Path, on_call: Callable[..., None]
) -> None:
    run = tmp_path / "run"
    on_call(7, lambda: float("nan"))
    with pytest.raises(UserError, match=r"the loss is nan at step 6 \(items \[\d+, .*\]\); lower optimizer.lr"):
        train(RECIPE, scenes, run=run)
    assert states(run)[-1] == 6
    resume(run)
    assert_same(run, unbroken)


def test_steps_without_a_finite_loss_can_be_left_out(
    scenes: Path, tmp_path: Path, on_call: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = RECIPE.model_copy(update={"skip_nonfinite": 1})
    on_call(7, lambda: float("nan"))
    train(recipe, scenes, run=tmp_path / "run")
    said = " ".join(capsys.readouterr().err.split())
    assert "note: the loss is nan at step 6" in said
    assert "left out, 1 of skip_nonfinite=1" in said
    assert all(value.isfinite().all() for value in parameters(tmp_path / "run").values())
    assert len(read_rows(tmp_path / "run")) == recipe.epochs


def test_memory_that_runs_out_in_a_later_phase_is_one_line_and_the_run_goes_on(
    unbroken: Path, scenes: Path, tmp_path: Path, on_call: Callable[..., None]
) -> None:
    run = tmp_path / "run"

    def fail() -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried …")

    on_call(17, fail)
    with pytest.raises(
        UserError, match=r"phases\.1: a batch of 4 at 64x64 does not fit in memory, one of 2 does; lower"
    ):
        train(RECIPE, scenes, run=run)
    resume(run)
    assert_same(run, unbroken)


def test_batch_size_that_is_said_to_fit_does(scenes: Path, tmp_path: Path, memory_for: Callable[..., None]) -> None:
    memory_for(3, size=64)
    with pytest.raises(UserError, match=r"phases\.1: a batch of 4 at 64x64 does not fit in memory, one of 2 does"):
        train(RECIPE, scenes, run=tmp_path / "run")
    begun = Run.open(tmp_path / "run")
    first, second = RECIPE.phases
    phases = (first, second.model_copy(update={"batch_size": 2}))
    begun.write_recipe(begun.recipe().model_copy(update={"phases": phases}))
    assert resume(begun.path, take="file").epochs == RECIPE.epochs


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone keeps to a limit of a process's memory")
def test_memory_that_really_ends_is_one_line_with_a_batch_that_fits(scenes: Path, tmp_path: Path) -> None:
    recipe = small_recipe(phases=(Phase(size=256, epochs=1, batch_size=16),))
    begin = (  # what is kept in holes counts against a limit of addresses
        "import resource, sys, torch; from pathlib import Path; from cleanplate import Recipe, train, UserError\n"
        "from cleanplate.train import begin, engine\n"
        "begin.keep_freed_memory = engine.keep_freed_memory = lambda: None\n"
        "recipe = Recipe.model_validate_json(sys.argv[1])\n"
        "used = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 900_000_000,) * 2)\n"
        "train(recipe, sys.argv[2], run=sys.argv[3], pack=False)"
    )
    command = [sys.executable, "-c", begin, recipe.model_dump_json(), str(scenes), str(tmp_path / "run")]
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}  # each has a stack of its own
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=one_thread)
    assert re.search(r"a batch of 16 at 256x256 does not fit in memory, one of [1248] does", ended.stderr), ended.stderr


@pytest.mark.filterwarnings("ignore:Encountered `nan`")
def test_loss_that_is_not_finite_names_the_items_and_the_mend(scenes: Path, tmp_path: Path) -> None:
    recipe = small_recipe(optimizer=Sgd(lr=1e30), phases=(Phase(size=32, epochs=3, batch_size=4),))
    with pytest.raises(UserError, match=r"the loss is (nan|inf) at step \d+ \(items \[\d+, .*\]\); lower optimizer.lr"):
        train(recipe, scenes, run=tmp_path / "run")


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("part", ["train", "validation"])
def test_picture_that_ends_early_is_named_and_the_training_goes_on_once_it_is_mended(
    workers: int, part: str, tmp_path: Path
) -> None:
    data = write_scenes(tmp_path / "data", plates=3)
    recipe = small_recipe(split={"kind": "random", "train": 0.5}, compute=PLAIN.model_copy(update={"workers": workers}))
    broken = data / "bg_fg" / f"{name_of_an_item(data, recipe, part)}.png"
    normalisation_of(ModestFolder(data))  # kept in the data set, or it would be this that finds the fault
    with broken_file(broken), pytest.raises(UserError, match=rf"^{broken}: the picture ends early [^\n]*$"):
        train(recipe, data, run=tmp_path / "run", pack=False)
    if part == "train":  # found before the run began, when the references were fitted
        assert not (tmp_path / "run").exists()
    else:
        assert resume(tmp_path / "run").epochs == 1


@pytest.mark.parametrize("workers", [0, 1])
def test_an_item_that_cannot_be_read_can_be_left_out(workers: int, tmp_path: Path) -> None:
    data = write_scenes(tmp_path / "data", plates=20)
    recipe = small_recipe(
        split={"kind": "random"}, on_bad_item="skip", previews=36, compute=PLAIN.model_copy(update={"workers": workers})
    )
    whole = Path(train(recipe, data, run=tmp_path / "whole").run)
    for part in ("train", "seen"):
        run, name = tmp_path / part, name_of_an_item(data, recipe, part)
        with broken_file(data / "bg_fg" / f"{name}.png"):
            train(recipe, data, run=run)
        with (run / "skipped.csv").open(newline="") as file:
            (row,) = csv.DictReader(file)
        assert ModestFolder(data).name(int(row["item"])) == name
        assert "ends early" in row["fault"]
        assert equal_weights(run, whole) == (part == "seen")
        assert read_rows(run) != read_rows(whole)


def test_a_batch_of_nothing_but_such_an_item_is_left_out_of_validation_and_evaluation(tmp_path: Path) -> None:
    data = write_scenes(tmp_path / "data", plates=20)
    recipe = small_recipe(split={"kind": "random"}, on_bad_item="skip")
    batch = len(split_items(ModestFolder(data), recipe.split).parts["seen"]) - 1  # the last item is alone
    recipe = recipe.model_copy(update={"phases": (Phase(size=32, epochs=1, batch_size=batch),)})
    name = name_of_an_item(data, recipe, "seen")
    with broken_file(data / "bg_fg" / f"{name}.png"):
        train(recipe, data, run=tmp_path / "run")
        found = evaluate(tmp_path / "run", data)
        at_own_size = evaluate(tmp_path / "run", data, native=True)
    assert found.items == at_own_size.items == batch
    assert found.metrics["iou"] == pytest.approx(float(read_rows(tmp_path / "run")[0]["validation/iou"]), rel=1e-6)


def test_a_fault_before_the_first_step_after_a_resume_is_told_as_it_is(
    scenes: Path, tmp_path: Path, on_call: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    run = tmp_path / "run"
    on_call(2, lambda: send(signal.SIGTERM))  # within an epoch
    with pytest.raises(SystemExit):
        train(RECIPE, scenes, run=run)
    monkeypatch.setattr(record, "Events", fail)
    with pytest.raises(OSError, match="No space left"):
        resume(run)


def test_more_than_one_item_of_a_hundred_is_too_much_to_leave_out(tmp_path: Path) -> None:
    data = write_scenes(tmp_path / "data", plates=20)
    for path in sorted((data / "bg_fg_mask").iterdir())[:3]:
        path.write_bytes(b"")
    with pytest.raises(UserError, match=r"\.png: .*; on_bad_item=skip leaves out 1 items at most, 1 % of all"):
        train(small_recipe(on_bad_item="skip"), data, run=tmp_path / "run")


def name_of_an_item(data: Path, recipe: Recipe, part: str) -> str:
    folder = ModestFolder(data)
    split = split_items(folder, recipe.split)
    items: Sequence[int] = split.train if part == "train" else split.parts["seen"]
    return folder.name(items[-1])
