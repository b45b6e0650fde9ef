"""What stands before the API: who may ask, how much a request may send, and the headers of every answer."""

import asyncio
import ipaddress
import socket
import time
from collections.abc import Collection
from urllib.parse import urlsplit

from fastapi import HTTPException
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cleanplate.app.limits import RETRY_AFTER, Limits

_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob:; media-src 'self' blob:; "
    "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=(), display-capture=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_READING = ("GET", "HEAD", "OPTIONS")


class Guard:
    """Middleware that refuses what no page or program of the user's would send.

    - A `Host` that is neither an address nor one of `hosts`: a page elsewhere whose name was made to lead here
      (DNS rebinding) would otherwise pass for ours. 421.
    - A request that changes or computes something and whose `Origin` is another site. 403.
    - A body that is too large or too slow, and more requests at once than fit. 413, 408, 429.

    Args:
        app: what it stands before.
        limits: how much and how many.
        hosts: names that this server may be called by, beside its addresses and `localhost`.
    """

    def __init__(self, app: ASGIApp, limits: Limits, hosts: Collection[str] = ()) -> None:
        self._app, self._limits = app, limits
        own = socket.gethostname().lower()
        self._hosts = {"localhost", own, f"{own}.local", *map(str.lower, hosts)} - {""}
        self._requests = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what may be, with its body bounded, and put the headers on every answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                headers["Cache-Control"] = "no-store" if scope["path"].startswith("/api/") else "no-cache"
            await send(message)

        reads = scope["method"] in _READING
        refusal = self._refuse(Headers(scope=scope), reads)
        if refusal:
            await JSONResponse({"detail": refusal.detail}, refusal.status_code, refusal.headers)(
                scope, receive, send_with_headers
            )
            return
        self._requests += not reads
        try:
            await self._app(scope, self._bounded(receive), send_with_headers)
        finally:
            self._requests -= not reads

    def _refuse(self, headers: Headers, reads: bool) -> HTTPException | None:
        host = headers.get("host", "")
        if not self._is_ours(host):
            return HTTPException(421, "this server is not called that; open the address that it printed")
        if not reads and not _is_same_site(headers, host):
            return HTTPException(403, "sent by a page of another site")
        length = headers.get("content-length", "0")  # uvicorn lets nothing but digits pass
        if len(length) > 18 or int(length) > self._limits.max_bytes:
            return self._too_large()
        if not reads and self._requests >= self._limits.requests:
            return HTTPException(429, "too many requests at once; try again in a second", RETRY_AFTER)
        return None

    def _is_ours(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name in self._hosts
        return True  # nobody's name leads here

    def _bounded(self, receive: Receive) -> Receive:
        """Return `receive` that raises once the body is too large or too slow."""
        taken, whole, end = 0, False, time.monotonic() + self._limits.upload_seconds

        async def bounded() -> Message:
            nonlocal taken, whole
            if whole:  # what comes now is that the client has gone
                return await receive()
            try:
                async with asyncio.timeout(end - time.monotonic()):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, "the body did not come in time; send it again") from None
            taken += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if taken > self._limits.max_bytes:
                raise self._too_large()
            return message

        return bounded

    def _too_large(self) -> HTTPException:
        return HTTPException(413, f"takes more than {self._limits.max_bytes:,} bytes; send smaller pictures")


def _is_same_site(headers: Headers, host: str) -> bool:
    """Tell whether a request comes from our own page, or from no page at all."""
    origin = headers.get("origin")
    if origin is None:
        return headers.get("sec-fetch-site", "none") in ("same-origin", "none")
    return origin.partition("://")[2].lower() == host.lower()
