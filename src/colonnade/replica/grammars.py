"""Grammars tried before an engine sees them: in a process beside this one, which is killed when it takes too long."""

from __future__ import annotations

import asyncio
import contextlib
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from colonnade.engine.grammar_check import LENGTH, Verdict
from colonnade.wire.errors import Internal, InvalidRequest
from colonnade.wire.messages import Grammar

LONGEST = 1 << 20
"""Characters of a grammar."""

KEPT = 1024
"""Verdicts kept."""

START_TIMEOUT = 60.0

_PLAINER = "leave it out, or say the same in another way; nothing is dropped silently"
_SIMPLER = "use a simpler grammar, or raise grammar_timeout or grammar_memory"


@dataclass(frozen=True, slots=True)
class _Refusal:
    """Kept for the next request with the same grammar."""

    reason: str
    code: str
    hint: str

    def error(self, param: str) -> InvalidRequest:
        return InvalidRequest(f"{param}: {self.reason}", param=param, code=self.code, hint=self.hint)


class Grammars:
    """`argv` starts the process; it is started when the first grammar comes, and again after it was killed."""

    def __init__(self, argv: Sequence[str], timeout: float) -> None:
        self._argv = argv
        self._timeout = timeout
        self._verdicts: dict[Grammar, _Refusal | None] = {}
        self._process: Process | None = None
        self._turn = asyncio.Lock()

    async def check(self, grammar: Grammar, param: str) -> None:
        """Raises InvalidRequest for what is no grammar, cannot be enforced exactly, or takes too much to compile;
        Internal when none can be tried."""
        if len(grammar.text) > LONGEST:
            raise InvalidRequest(f"{param}: longer than {LONGEST} characters", param=param, code="grammar_too_complex")
        async with self._turn:
            if grammar not in self._verdicts:
                self._keep(grammar, await self._judge(grammar))
            refusal = self._verdicts[grammar]
        if refusal is not None:
            raise refusal.error(param)

    async def stop(self) -> None:
        async with self._turn:
            await self._kill()

    def _keep(self, grammar: Grammar, refusal: _Refusal | None) -> None:
        if len(self._verdicts) >= KEPT:
            del self._verdicts[next(iter(self._verdicts))]
        self._verdicts[grammar] = refusal

    async def _judge(self, grammar: Grammar) -> _Refusal | None:
        process = self._process
        if process is None or process.returncode is not None:
            process = await self._start()
        try:
            verdict = await asyncio.wait_for(_ask(process, grammar), self._timeout)
        except TimeoutError:
            await self._kill()
            return _Refusal(f"not compiled after {self._timeout:g} s", code="grammar_too_complex", hint=_SIMPLER)
        except (EOFError, ConnectionError):
            await self._kill()
            return _Refusal("compiling it takes more memory than it may", code="grammar_too_complex", hint=_SIMPLER)
        except asyncio.CancelledError:  # an answer is under way that nobody would read
            await self._kill()
            raise
        return _refusal(verdict) if verdict.message else None

    async def _start(self) -> Process:
        self._process = await asyncio.create_subprocess_exec(*self._argv, stdin=PIPE, stdout=PIPE)
        try:
            await asyncio.wait_for(_answer(self._process), START_TIMEOUT)
        except (EOFError, TimeoutError) as error:
            await self._kill()
            raise Internal("the process that tries grammars did not start", hint="the log says why") from error
        return self._process

    async def _kill(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
            self._process = None


async def _ask(process: Process, grammar: Grammar) -> Verdict:
    assert process.stdin is not None
    frame = msgspec.msgpack.encode(grammar)
    process.stdin.write(LENGTH.pack(len(frame)) + frame)
    await process.stdin.drain()
    return await _answer(process)


async def _answer(process: Process) -> Verdict:
    """Raises EOFError when it has ended."""
    assert process.stdout is not None
    (length,) = LENGTH.unpack(await process.stdout.readexactly(LENGTH.size))
    return msgspec.msgpack.decode(await process.stdout.readexactly(length), type=Verdict)


def _refusal(verdict: Verdict) -> _Refusal:
    """It names the keyword and its path, where they are known."""
    where = f"{verdict.keyword} at {verdict.path or '/'}: " if verdict.keyword else ""
    return _Refusal(f"{where}cannot be enforced exactly: {verdict.message}", code="grammar_refused", hint=_PLAINER)
