"""The engine's process: started, watched, ended, and its end put into words."""

from __future__ import annotations

import asyncio
import signal

from colonnade.replica.spare import Beside, Spares

TERM_GRACE = 5.0
"""Seconds between closing the engine's stdin and SIGKILL."""


class Child:
    """Its stdin is the life line: it ends when we do. Its stdout joins our stderr: ours is for data."""

    def __init__(self, process: Beside) -> None:
        self._process = process

    @classmethod
    async def start(cls, argv: list[str], spares: Spares) -> Child:
        return cls(await spares.begin(argv, answers=False))

    async def ended(self) -> str:
        """Wait for the end; in words, how it came."""
        return _words(await self._process.wait())

    async def stop(self) -> None:
        """Close the life line; kill what does not heed it."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), TERM_GRACE)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


def _words(code: int) -> str:
    if code >= 0:
        return f"engine exited with status {code}"
    try:
        name = f" ({signal.Signals(-code).name})"
    except ValueError:
        name = ""
    return f"engine killed by signal {-code}{name}"
