"""Grammars tried before an engine sees them: in a process beside this one, which is killed when it takes too long."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from colonnade.engine.grammar_check import Verdict
from colonnade.replica.killable import Died, Killable
from colonnade.wire.errors import InvalidRequest
from colonnade.wire.messages import Grammar

LONGEST = 1 << 20
"""Characters of a grammar."""

KEPT = 1024
"""Verdicts kept."""

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
        self._process = Killable(argv, "tries grammars")
        self._timeout = timeout
        self._verdicts: dict[Grammar, _Refusal | None] = {}
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
        await self._process.stop()

    def _keep(self, grammar: Grammar, refusal: _Refusal | None) -> None:
        if len(self._verdicts) >= KEPT:
            del self._verdicts[next(iter(self._verdicts))]
        self._verdicts[grammar] = refusal

    async def _judge(self, grammar: Grammar) -> _Refusal | None:
        try:
            said = await self._process.ask(msgspec.msgpack.encode(grammar), self._timeout)
        except TimeoutError:
            return _Refusal(f"not compiled after {self._timeout:g} s", code="grammar_too_complex", hint=_SIMPLER)
        except Died:
            return _Refusal("compiling it takes more memory than it may", code="grammar_too_complex", hint=_SIMPLER)
        verdict = msgspec.msgpack.decode(said, type=Verdict)
        return _refusal(verdict) if verdict.message else None


def _refusal(verdict: Verdict) -> _Refusal:
    """It names the keyword and its path, where they are known."""
    where = f"{verdict.keyword} at {verdict.path or '/'}: " if verdict.keyword else ""
    return _Refusal(f"{where}cannot be enforced exactly: {verdict.message}", code="grammar_refused", hint=_PLAINER)
