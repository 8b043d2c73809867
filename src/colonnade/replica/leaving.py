"""What is in flight in a serving process, and its end, which waits for that. On one event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Generator


def _nothing(_: str) -> None:
    """There is nothing to be cut off but connections, which end with the process."""


class Leaving:
    """`gone` resolves to why the process must end: "" when it was asked to."""

    def __init__(self, cut: Callable[[str], None] = _nothing) -> None:
        """`cut` ends what is still in flight, and is told why."""
        self.gone: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.held = 0
        self._cut = cut
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._ending: asyncio.Task[None] | None = None

    def hold(self) -> None:
        """One more is in flight."""
        self.held += 1
        self._quiet.clear()

    def let(self) -> None:
        self.held -= 1
        if not self.held:
            self._quiet.set()

    @contextlib.contextmanager
    def exchange(self) -> Generator[None]:
        """Around each HTTP exchange that the end of the process waits for."""
        self.hold()
        try:
            yield
        finally:
            self.let()

    async def until_quiet(self, bound: float, why: str) -> None:
        """Until nothing is in flight; what still is after `bound` seconds is cut off."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(bound):
                await self._quiet.wait()
        self._cut(why)

    def end(self, reason: str, bound: float, least: float = 0.0) -> None:
        """When it is quiet, after `bound` seconds at most and `least` at least. The last call counts."""
        if self._ending is not None:
            self._ending.cancel()
        self._ending = asyncio.get_running_loop().create_task(self._end(reason, bound, least))

    async def _end(self, reason: str, bound: float, least: float) -> None:
        farewell = asyncio.create_task(asyncio.sleep(min(bound, least)))
        try:
            await self.until_quiet(bound, "the replica is leaving")
            await farewell
        finally:
            farewell.cancel()
        if not self.gone.done():
            self.gone.set_result(reason)
