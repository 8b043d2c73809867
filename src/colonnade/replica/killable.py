"""A process beside this one that answers frames, and is killed when it takes too long.

Each frame on its stdin and stdout is four bytes of length (big endian) and what it says. An answer to nothing goes
first, when everything is loaded. It is started when it is first asked, and again after it was killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Sequence

from colonnade.replica.spare import Beside, Spares
from colonnade.wire.errors import Internal

LENGTH = struct.Struct(">I")
START_TIMEOUT = 60.0


class Died(Exception):
    """It ended before it had answered: most likely it took more memory than it may."""


class Killable:
    """One question at a time. `what` it does, in words."""

    def __init__(self, argv: Sequence[str], what: str, spares: Spares | None = None) -> None:
        self._argv = argv
        self._what = what
        self._spares = spares or Spares()
        self._process: Beside | None = None
        self._turn = asyncio.Lock()

    async def start(self) -> None:
        """So that the first question need not wait for it. Raises Internal."""
        async with self._turn:
            await self._running()

    async def ask(self, question: bytes, bound: float) -> bytes:
        """`bound` in seconds. Raises TimeoutError or Died, and has killed it then; Internal when it does not start."""
        return (await self.answers(question, bound, 1))[0]

    async def answers(self, question: bytes, bound: float, count: int) -> list[bytes]:
        """To a question that is answered in `count` frames; `bound` and errors as of `ask`, but only the first must
        come: where it ends after that, or takes too long, those that came are all."""
        came: list[bytes] = []
        async with self._turn:
            process = await self._running()
            try:
                async with asyncio.timeout(bound):
                    await _ask(process, question)
                    while len(came) < count:
                        came.append(await _answer(process))
            except (EOFError, ConnectionError) as error:
                await self._kill()
                if not came:
                    raise Died from error
            except TimeoutError:  # an answer is under way that nobody would read
                await self._kill()
                if not came:
                    raise
            except asyncio.CancelledError:
                await self._kill()
                raise
        return came

    async def stop(self) -> None:
        async with self._turn:
            await self._kill()

    async def _running(self) -> Beside:
        if self._process is not None and self._process.returncode is None:
            return self._process
        self._process = await self._spares.begin(self._argv, answers=True)
        try:
            await asyncio.wait_for(_answer(self._process), START_TIMEOUT)
        except (EOFError, TimeoutError) as error:
            await self._kill()
            raise Internal(f"the process that {self._what} did not start", hint="the log says why") from error
        except asyncio.CancelledError:
            await self._kill()
            raise
        return self._process

    async def _kill(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
            self._process = None


async def _ask(process: Beside, question: bytes) -> None:
    assert process.stdin is not None
    process.stdin.write(LENGTH.pack(len(question)) + question)
    await process.stdin.drain()


async def _answer(process: Beside) -> bytes:
    """Raises EOFError when it has ended."""
    assert process.stdout is not None
    (length,) = LENGTH.unpack(await process.stdout.readexactly(LENGTH.size))
    return await process.stdout.readexactly(length)
