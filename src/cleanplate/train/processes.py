"""Training in several processes: on this machine, started here; or wherever torchrun or SLURM has started them."""

import multiprocessing
import os
import signal
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any, NamedTuple, TypeVar

import torch
import torch.distributed as dist
from lightning_fabric.plugins.environments import ClusterEnvironment, SLURMEnvironment, TorchElasticEnvironment

from cleanplate.errors import UserError
from cleanplate.signals import end_with_parent, postponed_signals
from cleanplate.train.keeper import SIGNALS, Stopped

T = TypeVar("T")

GRACE = 10.0
"""Seconds that the other processes have to end by themselves when one has."""
TIMEOUT = timedelta(hours=2)
"""How long processes wait for each other, as while the first one prepares a run."""


class OtherProcessError(UserError):
    """This process cannot go on because another has ended; what ended that one is what counts."""


class Place(NamedTuple):
    """Where a process stands among the others."""

    rank: int = 0
    processes: int = 1
    """Of all machines."""
    on_machine: int = 1
    """Of this one."""


def find_cluster() -> ClusterEnvironment | None:
    """Return what torchrun says of the processes it has started, be it one, or SLURM of its several; else None.

    Raises:
        UserError: SLURM was told the number of processes in a way that leaves their places open.
    """
    if TorchElasticEnvironment.detect():
        return TorchElasticEnvironment()
    if SLURMEnvironment.detect() and int(os.environ["SLURM_NTASKS"]) > 1:
        if "SLURM_NTASKS_PER_NODE" not in os.environ:
            raise UserError("SLURM: give --ntasks-per-node, not --ntasks, so that every node has as many processes")
        return SLURMEnvironment(auto_requeue=False)
    return None


def is_first() -> bool:
    """Tell whether this process speaks for all that torchrun or SLURM has started."""
    cluster = find_cluster()
    return cluster is None or cluster.global_rank() == 0


def require_alone(what: str) -> None:
    """Refuse to do in each process of a cluster what wants but one.

    Raises:
        UserError: torchrun or SLURM has started several.
    """
    cluster = find_cluster()
    if cluster and cluster.world_size() > 1:
        raise UserError(f"{what} trains one run after the other, in one process; start it without torchrun or SLURM")


@contextmanager
def joined(cluster: ClusterEnvironment | None) -> Iterator[Place]:
    """Join the processes of a cluster, if there is one, and part from them again."""
    if cluster is None:
        yield Place()
        return
    rank, processes = cluster.global_rank(), cluster.world_size()
    os.environ |= {"MASTER_ADDR": cluster.main_address, "MASTER_PORT": str(cluster.main_port)}
    on_machine = int(os.environ.get("LOCAL_WORLD_SIZE") or os.environ["SLURM_NTASKS_PER_NODE"])
    with _group("env://", rank, processes):
        yield Place(rank, processes, on_machine)


@contextmanager
def _group(init_method: str, rank: int, processes: int) -> Iterator[None]:
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, init_method=init_method, rank=rank, world_size=processes, timeout=TIMEOUT)
    try:
        yield
    finally:
        dist.destroy_process_group()


def by_the_first(place: Place, function: Callable[[], T]) -> T:
    """Let the first process do something, and return its result, or raise its fault, in all of them."""
    if place.processes == 1:
        return function()
    answer: list[Any] = [None, None]
    if place.rank == 0:
        try:
            answer[0] = function()
        except (UserError, OSError) as error:
            answer[1] = str(error)
    dist.broadcast_object_list(answer)
    if answer[1] is not None:
        raise UserError(answer[1])
    return answer[0]


def run_in_processes(count: int, function: Callable[..., None], arguments: Sequence[Any]) -> None:
    """Call `function(place, *arguments)` in so many new processes that are joined, and wait for all of them.

    Signals are passed on to them. When one fails or is killed, the others are ended.

    Raises:
        UserError: one of them was at fault, or was killed.
        Stopped: they were told to stop.
    """
    context = _start_server(["pytorch_lightning", function.__module__])
    with tempfile.TemporaryDirectory() as folder:
        ends: list[Connection] = []
        children: list[BaseProcess] = []
        try:
            with postponed_signals():  # one whose start is broken off would be known to nobody
                for rank in range(count):
                    end, child_end = context.Pipe(duplex=False)
                    target = (child_end, f"file://{folder}/meeting", Place(rank, count, count), function, arguments)
                    child = context.Process(target=_work, args=target, name=f"process {rank + 1} of {count}")
                    child.start()
                    child_end.close()
                    ends.append(end)
                    children.append(child)
        except BaseException:  # Ctrl-C too: nobody else would end those that have started
            _end(children, 0)
            raise
        with _passing_on_signals(children):
            first = _wait_for(children)
        outcomes = [_outcome(child, end) for child, end in zip(children, ends, strict=True)]
    for failed in first:
        if failed.exitcode and failed.exitcode < 0:
            name = signal.Signals(-failed.exitcode).name
            raise UserError(f"{failed.name} was ended by {name}, and the others with it")
    causes = [outcome for outcome in outcomes if outcome and not isinstance(outcome, OtherProcessError)]
    for outcome in causes or outcomes:
        if outcome:
            raise outcome


def _start_server(modules: list[str]) -> ForkServerContext:
    """Start the process that all others are forked of, unless it runs, and have it import modules, which takes seconds.

    Ctrl-C at the terminal, which reaches it too, would break its imports off: it ignores that.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(modules)
    if threading.current_thread() is threading.main_thread():
        before, unsafe = signal.signal(signal.SIGINT, signal.SIG_IGN), "PYTHONSAFEPATH" not in os.environ
        if unsafe:
            os.environ["PYTHONSAFEPATH"] = "1"  # a random.py in the folder one works in is none of ours
        try:
            forkserver.ensure_running()
        finally:
            signal.signal(signal.SIGINT, before)
            if unsafe:
                del os.environ["PYTHONSAFEPATH"]
    return context


def _wait_for(children: Sequence[BaseProcess]) -> list[BaseProcess]:
    """Wait until all have ended, and return those that ended of themselves without being done.

    Once there is one, the others have a while for it, and are ended then. One that is killed may be gone later than
    those that miss it, since its connections close first.
    """
    running = list(children)
    while running:
        ended = wait([child.sentinel for child in running])
        over = [child for child in running if child.sentinel in ended]
        for child in over:
            child.join()  # its sentinel closes before it has an exit code
        running = [child for child in running if child not in over]
        failed = [child for child in over if child.exitcode]
        if failed:
            by_signal = any(child.exitcode and child.exitcode < 0 for child in failed)
            return failed + _end(running, 0 if by_signal else GRACE)
    return []


def _end(children: Sequence[BaseProcess], seconds: float) -> list[BaseProcess]:
    """Give processes some seconds to end, return those that do, and end the others."""
    deadline = time.monotonic() + seconds
    for child in children:
        child.join(max(0, deadline - time.monotonic()))
    ended = [child for child in children if child.exitcode is not None]
    for child in children:
        child.kill()
        child.join()
    return ended


@contextmanager
def _passing_on_signals(children: Sequence[BaseProcess]) -> Iterator[None]:
    """Hand signals to the children, which are out of reach of the terminal's Ctrl-C, so that each comes once."""

    def pass_on(number: int, frame: FrameType | None) -> None:
        for child in children:
            if child.exitcode is None and child.pid:
                os.kill(child.pid, number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, pass_on) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _outcome(child: BaseProcess, end: Connection) -> Exception | None:
    try:
        return end.recv()
    except EOFError:
        return RuntimeError(f"{child.name} ended with exit code {child.exitcode}") if child.exitcode else None


def _work(end: Connection, meeting: str, place: Place, function: Callable[..., None], arguments: Sequence[Any]) -> None:
    """Be one of the processes, and send what came of it: None, a fault or a stop."""
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the server that it is forked of ignores it
    end_with_parent()
    os.environ |= {"LOCAL_RANK": str(place.rank), "NODE_RANK": "0"}
    outcome: Exception | None = None
    try:
        with _group(meeting, place.rank, place.processes):
            function(place, *arguments)
    except (Stopped, UserError) as error:
        outcome = error
    except OSError as error:
        outcome = UserError(f"{error.filename or 'writing'}: {error.strerror}")
    except BaseException:  # whatever it is, the first process tells of it
        outcome = RuntimeError(traceback.format_exc())
    end.send(outcome)
    os._exit(1 if outcome else 0)  # not by way of threads that may wait for a process that is gone
