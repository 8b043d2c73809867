"""One request that is answered later: what it asks for, what becomes of it after each attempt. Pure.

QUEUED -> IN_PROGRESS -> SUCCEEDED | FAILED
   |  ^        |
   |  +--------+  a failed attempt, where attempts are left
   +-> EXPIRED | CANCELED
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from typing import Annotated, Any, Literal

import msgspec

State = Literal["QUEUED", "IN_PROGRESS", "SUCCEEDED", "FAILED", "EXPIRED", "CANCELED"]
ENDED: tuple[State, ...] = ("SUCCEEDED", "FAILED", "EXPIRED", "CANCELED")
WEBHOOK_ATTEMPTS = 8
"""From a second to a minute apart: two minutes in all."""


class Retries(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    max_attempts: Annotated[int, msgspec.Meta(ge=1, le=10)] = 3
    initial_delay_ms: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 1000
    max_delay_ms: Annotated[int, msgspec.Meta(ge=0, le=60_000)] = 5000


class Ask(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `:async_predict`."""

    model_input: Any
    webhook_endpoint: str | None = None
    priority: Annotated[int, msgspec.Meta(ge=0, le=2)] = 0
    """0 is the most urgent."""
    max_time_in_queue_seconds: Annotated[int, msgspec.Meta(ge=10, le=259_200)] = 600
    inference_retry_config: Retries = Retries()
    keep_seconds: Annotated[int, msgspec.Meta(ge=1, le=604_800)] = 86_400
    """How long the result stays after the end."""


class Job(msgspec.Struct, frozen=True):
    """Times in Unix seconds. `not_before`: of the next attempt. `status`, `result`: of the last one."""

    id: str
    ask: Ask
    created: float
    state: State = "QUEUED"
    attempts: int = 0
    not_before: float = 0.0
    ended: float = 0.0
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: str = ""
    code: str = ""

    @property
    def expires(self) -> float:
        """When it stops to wait."""
        return self.created + self.ask.max_time_in_queue_seconds

    @property
    def forgotten(self) -> float:
        return self.ended + self.ask.keep_seconds

    def page(self) -> dict[str, Any]:
        """As its status is told, and as the webhook gets it."""
        errors = [{"code": self.code, "message": self.error}] if self.code else []
        return {
            "request_id": self.id,
            "status": self.state,
            "attempts": self.attempts,
            "created": self.created,
            "ended": self.ended or None,
            "data": self.result,
            "errors": errors,
        }


class Outcome(msgspec.Struct, frozen=True):
    """Of one attempt. An attempt without an `error` succeeded."""

    result: bytes = b"null"
    error: str = ""
    code: str = ""
    final: bool = False
    """Another attempt would end the same."""


def begun(job: Job) -> Job:
    return msgspec.structs.replace(job, state="IN_PROGRESS", attempts=job.attempts + 1)


def after(job: Job, outcome: Outcome, now: float) -> Job:
    """Succeeded, failed, or queued for its next attempt."""
    if not outcome.error:
        return _end(job, "SUCCEEDED", now, result=msgspec.Raw(outcome.result))
    retries = job.ask.inference_retry_config
    if outcome.final or job.attempts >= retries.max_attempts:
        return _end(job, "FAILED", now, error=outcome.error, code=outcome.code)
    pause = min(retries.max_delay_ms, retries.initial_delay_ms * 2 ** (job.attempts - 1)) / 1000
    return msgspec.structs.replace(job, state="QUEUED", not_before=now + pause, error=outcome.error, code=outcome.code)


def abandoned(job: Job, now: float) -> Job:
    """Its replica is gone in the middle of it."""
    return after(job, Outcome(error="the replica was lost while it worked", code="MODEL_UNAVAILABLE"), now)


def expired(job: Job, now: float) -> Job:
    said = f"it waited for {job.ask.max_time_in_queue_seconds} s"
    return _end(job, "EXPIRED", now, error=said, code="MODEL_NOT_READY")


def canceled(job: Job, now: float) -> Job:
    return _end(job, "CANCELED", now, error="it was canceled", code="CANCELED")


def _end(job: Job, state: State, now: float, **more: Any) -> Job:
    cleared = {"error": "", "code": ""} | more
    return msgspec.structs.replace(job, state=state, ended=now, **cleared)


def webhook_pause(attempts: int) -> float:
    """Seconds after this many that failed."""
    return float(min(120, 2 ** (attempts - 1)))


def signatures(body: bytes, secrets: Iterable[str]) -> str:
    """`v1=HEX`, HMAC-SHA256 of the body; one for each secret, so that they can be changed without a gap."""
    return ",".join(f"v1={hmac.new(each.encode(), body, hashlib.sha256).hexdigest()}" for each in secrets)
