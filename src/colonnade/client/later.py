"""A request that is answered later, as its status is told."""

from __future__ import annotations

from typing import Any

import msgspec

from colonnade.client.asking import decoded
from colonnade.wire.errors import ColonnadeError, Conflict, DeadlineExceeded, Internal, InvalidRequest, Overloaded

ENDED = ("SUCCEEDED", "FAILED", "EXPIRED", "CANCELED")
PAUSES = (0.05, 0.1, 0.2, 0.5, 1.0)
"""Seconds between two questions: the first few, and then always the last."""


class Problem(msgspec.Struct, frozen=True):
    code: str
    message: str


class Later(msgspec.Struct, frozen=True):
    request_id: str
    status: str
    attempts: int = 0
    data: msgspec.Raw = msgspec.Raw(b"null")
    errors: tuple[Problem, ...] = ()

    @property
    def over(self) -> bool:
        return self.status in ENDED

    def result(self, into: Any = Any) -> Any:
        """Raises what it ended with, where it did not succeed."""
        if self.status == "SUCCEEDED":
            return decoded(bytes(self.data), into)
        raise self._error()

    def _error(self) -> ColonnadeError:
        problem = self.errors[0] if self.errors else Problem("", f"it is {self.status}")
        kinds: dict[str, type[ColonnadeError]] = {
            "MODEL_INVALID_INPUT": InvalidRequest,
            "MODEL_NOT_READY": DeadlineExceeded,
            "MODEL_UNAVAILABLE": Overloaded,
            "CANCELED": Conflict,
        }
        return kinds.get(problem.code, Internal)(problem.message, code=problem.code or None)


def pause(asked: int) -> float:
    return PAUSES[min(asked, len(PAUSES) - 1)]
