"""Serve the page on this machine until told to stop."""

import errno
import logging
import socket
from collections.abc import Callable
from pathlib import Path

from cleanplate.errors import UserError
from cleanplate.predict.predictor import Predictor
from cleanplate.progress import say

PORT = 8000
PATIENCE = 5
"""Seconds that answers on their way have left when the server stops."""


def serve(
    weights: Path | str,
    *,
    host: str = "127.0.0.1",
    port: int = PORT,
    size: int | None = None,
    tell: Callable[[str], None] = say,
) -> None:
    """Serve the page and the HTTP API until Ctrl-C or SIGTERM, which take effect once answers under way are sent.

    Args:
        weights: a run folder or a weights file.
        host: the address to listen on; by default only programs of this machine reach it.
        port: the port; 0 takes a free one.
        size: pixels of the longer side that the network sees; that of its training when None.
        tell: called with the page's address once it is there.

    Raises:
        UserError: weights, host or port are at fault, or what the page needs is not installed.
        KeyboardInterrupt: after Ctrl-C.
    """
    try:
        import python_multipart  # noqa: F401  (FastAPI wants it)
        import uvicorn

        from cleanplate.app.limits import Limits
        from cleanplate.app.server import create_app
        from cleanplate.app.service import Service
    except ModuleNotFoundError as error:
        raise UserError(f"the page needs {error.name}; pip install 'cleanplate[app]'") from None
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # who sends a faulty body is told, nobody else
    with _listen(host, port) as listener:
        limits = Limits()
        service = Service(Predictor.load(weights, size), Path(weights).resolve().name, limits)
        app = create_app(service, limits, hosts=[host])
        settings = uvicorn.Config(
            app, log_level="warning", access_log=False, ws="none", timeout_graceful_shutdown=PATIENCE
        )
        tell(_address(host, listener.getsockname()[1]))
        uvicorn.Server(settings).run(sockets=[listener])  # on a signal it ends, and sends it to itself again


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens, or tell the user why there can be none."""
    if not 0 <= port <= 65535:
        raise UserError(f"--port {port}: give 1 to 65535, or 0 for a free one")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (socket.gaierror, UnicodeError):
        raise UserError(f"--host {host}: no such address; 127.0.0.1 is this machine, 0.0.0.0 its network too") from None
    try:
        return socket.create_server(address[:2], family=family)
    except PermissionError:
        raise UserError(f"--port {port}: not allowed; give one above 1023, or 0 for a free one") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UserError(f"--port {port}: in use already; give another, or 0 for a free one") from None
        raise UserError(f"--host {host}: no address of this machine; 127.0.0.1 always is one") from None


def _address(host: str, port: int) -> str:
    """Return what to open in a browser of this machine."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{port}"
