"""How long a request waits for the replica that has it. Pure: times come in, what is over comes out."""

from __future__ import annotations

from typing import Literal

from colonnade.wire.errors import DeadlineExceeded

Verdict = Literal["", "late", "stalled", "silent"]


class Patience:
    """Streams have keep-alives, so silence means something; other answers are silent until they are whole."""

    __slots__ = ("_answer", "_silence", "_stream", "deadline")

    def __init__(self, silence: float, answer: float, stream: bool, deadline: float) -> None:
        """Seconds, of a stream and of another answer; whether a `stream` is expected; the time by which the answer must
        have begun, as its client says."""
        self._silence = silence
        self._answer = answer
        self._stream = stream
        self.deadline = deadline

    def begins(self, *, streams: bool) -> None:
        """The answer's head is here."""
        self._stream = streams

    @property
    def seconds(self) -> float:
        return self._silence if self._stream else self._answer

    def late(self, now: float, *, begun: bool) -> bool:
        return now > self.deadline and not begun

    def verdict(self, now: float, heard_at: float, *, begun: bool, stalled: bool) -> Verdict:
        """`heard_at`: of the replica's last byte; `stalled`: it makes no progress, and another could take this."""
        if self.late(now, begun=begun):
            return "late"
        if stalled:
            return "stalled"
        return "silent" if now - heard_at > self.seconds else ""


def not_begun() -> DeadlineExceeded:
    return DeadlineExceeded("the answer has not begun in time", hint="Colonnade-Timeout said how long it may take")
