"""What the gateway fixes once for a request, and every replica that works on it gets in headers.

Without a gateway, the replica draws it here: `os.urandom` and the clock are the shell's, so they come in as arguments.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from colonnade.wire.errors import InvalidRequest
from colonnade.wire.stream import EventId

_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TENANT = re.compile(r"[\x21-\x7e]{1,128}")
SEED_LIMIT = 2**63


@dataclass(frozen=True, slots=True)
class Identity:
    """`resume`: seconds that the stream outlives its connection, 0 for not at all."""

    request_id: str
    created: int
    seed: int
    tenant: str = ""
    priority: int | None = None
    resume: float = 0.0
    last_event: EventId | None = None
    goes_on: bool = False
    """Whether Last-Event-ID was sent, even one that is no id of ours."""


def identify(headers: Mapping[str, str], drawn: bytes, now: float, resume_limit: float) -> Identity:
    """`drawn`: 24 random bytes. Raises InvalidRequest, naming the header in `param`."""
    last = headers.get("last-event-id")
    return Identity(
        request_id=_text(headers, "Colonnade-Request-Id", _REQUEST_ID) or drawn[:16].hex(),
        created=_number(headers, "Colonnade-Created", 2**33, int(now)),
        seed=_number(headers, "Colonnade-Seed", SEED_LIMIT, int.from_bytes(drawn[16:24]) % SEED_LIMIT),
        tenant=_text(headers, "Colonnade-Tenant", _TENANT),
        priority=_number(headers, "Colonnade-Priority", 101, 0) if headers.get("colonnade-priority") else None,
        resume=min(float(_number(headers, "Colonnade-Resume", 601, 0)), resume_limit),
        last_event=EventId.parse(last) if last else None,
        goes_on=bool(last),
    )


def _text(headers: Mapping[str, str], name: str, form: re.Pattern[str]) -> str:
    value = headers.get(name.lower(), "")
    if value and form.fullmatch(value) is None:
        raise InvalidRequest(f"the header {name} must match {form.pattern}", param=name)
    return value


def _number(headers: Mapping[str, str], name: str, below: int, default: int) -> int:
    value = headers.get(name.lower(), "").strip()
    if not value:
        return default
    if re.fullmatch(r"[0-9]{1,19}", value) is None or int(value) >= below:
        raise InvalidRequest(f"the header {name} must be a whole number below {below}", param=name)
    return int(value)
