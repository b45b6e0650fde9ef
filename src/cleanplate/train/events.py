"""TensorBoard's log of a run.

Torch's own SummaryWriter writes in a thread, which answers a full disk with a traceback that nobody can catch.
"""

import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.summary.writer.record_writer import RecordWriter
from torch import Tensor, nn
from torch.utils.tensorboard._pytorch_graph import graph
from torch.utils.tensorboard.summary import image, scalar

from cleanplate.signals import postponed_signals

GRAPH_SIZE = 64


class _Network(nn.Module):
    """A network as TensorBoard's graph takes it: no None among the outputs."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, plate: Tensor, frame: Tensor) -> list[Tensor]:
        return [logits for logits in self.model(plate, frame) if logits is not None]


class Events:
    """A new file of TensorBoard's, beside those that a run has already; it is open only while something is written.

    Args:
        folder: where it goes.
        first_epoch: what earlier files say of this epoch and later ones is hidden.
    """

    def __init__(self, folder: Path, first_epoch: int) -> None:
        self.path = folder / f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{os.getpid()}"
        started = SessionLog(status=SessionLog.START)
        self._write(Event(file_version="brain.Event:2"), Event(step=first_epoch, session_log=started))

    def write_graph(self, model: nn.Module, device: torch.device) -> None:
        """Draw a network."""
        example = torch.zeros(1, 3, GRAPH_SIZE, GRAPH_SIZE, device=device)
        with postponed_signals():  # of what their handlers raise in torch's tracer, some is lost
            drawn, _ = graph(_Network(model), (example, example))
            self._write(Event(graph_def=drawn.SerializeToString()))

    def write_scalars(self, values: Mapping[str, float], epoch: int) -> None:
        """Write figures of an epoch by their names."""
        self._write(*(Event(step=epoch, summary=scalar(name, value)) for name, value in values.items()))

    def write_picture(self, name: str, picture: np.ndarray, epoch: int) -> None:
        """Write a picture, `(H, W, 3)` uint8 RGB."""
        self._write(Event(step=epoch, summary=image(name, picture, dataformats="HWC")))

    def _write(self, *events: Event) -> None:
        try:
            with self.path.open("ab") as file:
                for event in events:
                    event.wall_time = time.time()
                    RecordWriter(file).write(event.SerializeToString())
        except OSError as error:
            error.filename = str(self.path)  # a full disk comes without the name
            raise
