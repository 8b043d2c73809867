"""From an answer to the error that it stands for. Pure."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from colonnade.wire import errors
from colonnade.wire.errors import ColonnadeError

_BY_STATUS: dict[int, type[ColonnadeError]] = {
    kind.status: kind
    for kind in (
        errors.Unauthenticated,
        errors.BudgetExceeded,
        errors.NotFound,
        errors.MethodNotAllowed,
        errors.RequestTimeout,
        errors.Conflict,
        errors.BodyTooLarge,
        errors.RateLimited,
        errors.Overloaded,
        errors.ReplicaLost,
        errors.DeadlineExceeded,
    )
}


def error_of(status: int, body: bytes) -> ColonnadeError:
    """Of an answer from 400 on: in the one envelope, in a package's, or in any other words."""
    kind = _BY_STATUS.get(status, errors.InvalidRequest if status < 500 else errors.Internal)
    try:
        told = msgspec.json.decode(body)["error"]
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError):
        return kind(f"the server answered {status}: {body[:200].decode('utf-8', 'replace')}")
    if not isinstance(told, dict):
        return kind(str(told), code="package_failed") if status == 500 else kind(str(told))
    return of_envelope(cast(dict[str, Any], told), kind)


def of_envelope(told: Any, kind: type[ColonnadeError] = errors.Internal) -> ColonnadeError:
    """Of the object under `error`; one inside a stream has no status, so its code tells what it is."""
    if not isinstance(told, dict):
        return kind(str(told))
    fields = cast(dict[str, Any], told)
    code = str(fields.get("code") or "") or None
    kind = next((each for each in _BY_STATUS.values() if each.code == code), kind)
    hint = str(fields.get("hint") or "")
    return kind(str(fields.get("message")), hint=hint, param=fields.get("param"), code=code)
