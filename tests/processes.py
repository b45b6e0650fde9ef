"""Work done in two processes at once, as training on two devices does it."""

import multiprocessing
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch

PATIENCE = timedelta(minutes=5)
"""How long a process waits for the other before it fails."""


def in_two_processes(work: Callable[[int], Any], folder: Path) -> list[Any]:
    """Return what `work(rank)`, a function that can be imported, returns in each of two processes, which form a group.

    What it returns is passed on by `torch.save`, in an empty folder.
    """
    multiprocessing.set_forkserver_preload(["torchmetrics"])  # imports that take seconds are made once
    torch.multiprocessing.start_processes(_run, (work, folder), nprocs=2, start_method="forkserver")
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


def _run(rank: int, work: Callable[[int], Any], folder: Path) -> None:
    torch.set_num_threads(1)
    store = torch.distributed.FileStore(f"{folder}/meet", 2)
    torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=2, timeout=PATIENCE)
    torch.save(work(rank), folder / f"{rank}.pt")
    store.set(f"{rank} is done", "")
    # Who left first would close a connection that the other may still use.
    store.wait(["0 is done", "1 is done"], PATIENCE)
    torch.distributed.destroy_process_group()
