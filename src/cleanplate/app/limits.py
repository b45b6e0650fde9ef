"""What a request may take, so that no request can take everything."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from fastapi import HTTPException

RETRY_AFTER = {"Retry-After": "1"}
"""Seconds after which a client that was sent away may come again."""


class Limits(NamedTuple):
    """The bounds of the HTTP API."""

    max_bytes: int = 32 * 2**20
    """Of a request's body."""
    max_pixels: int = 25_000_000
    """Of a picture."""
    max_side: int = 16_384
    """Pixels of a picture's longer side."""
    upload_seconds: float = 30
    """Until all of a body has come."""
    requests: int = 32
    """With a body, in the house at once."""
    at_once: int = 2
    """Requests computed at once: while one waits for the network the other decodes."""
    wait_seconds: float = 10
    """Until a request's turn comes."""
    plates: int = 16
    """Kept at once, and no more than `plate_pixels` together."""
    plate_pixels: int = 100_000_000
    plate_seconds: float = 1800
    """That a plate is kept after it was used last."""


class Turns:
    """Let requests compute a few at once; the others wait, but not for ever."""

    def __init__(self, limits: Limits) -> None:
        self._turns = asyncio.Semaphore(limits.at_once)
        self._wait_seconds = limits.wait_seconds

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Hold a turn within the block.

        Raises:
            HTTPException: 429, when none came in time.
        """
        try:
            async with asyncio.timeout(self._wait_seconds):
                await self._turns.acquire()
        except TimeoutError:
            raise HTTPException(429, "too many requests at once; try again in a second", RETRY_AFTER) from None
        try:
            yield
        finally:
            self._turns.release()
