"""What a key may ask for: how it is changed, what is refused, how the event log tells of it. Pure."""

from __future__ import annotations

from math import isfinite

import msgspec
from msgspec import UNSET, UnsetType

from colonnade.fleet.budgets import check_budget, in_words
from colonnade.wire.errors import InvalidRequest
from colonnade.wire.routes import Allowance, Budget

HIGHEST = 100
MOST_WEIGHT = 1000.0


class AllowanceChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is left out stays as it is; null takes a limit away."""

    requests_per_minute: int | UnsetType | None = UNSET
    tokens_per_minute: int | UnsetType | None = UNSET
    weight: float | UnsetType = UNSET
    priority: int | UnsetType = UNSET
    budget: Budget | UnsetType | None = UNSET


def changed(before: Allowance, change: AllowanceChange) -> Allowance:
    given = {name: value for name, value in msgspec.structs.asdict(change).items() if value is not UNSET}
    return msgspec.structs.replace(before, **given)


def check_allowance(allowance: Allowance) -> None:
    """Raises InvalidRequest."""
    for name in ("requests_per_minute", "tokens_per_minute"):
        limit = getattr(allowance, name)
        if limit is not None and limit < 0:
            raise InvalidRequest(f"{limit} a minute", hint="0 or more; null: no limit", param=name)
    if not (isfinite(allowance.weight) and 1 / MOST_WEIGHT <= allowance.weight <= MOST_WEIGHT):
        raise InvalidRequest(f"a weight of {allowance.weight:g}", hint="from 0.001 to 1000; 1 is usual", param="weight")
    if not 0 <= allowance.priority <= HIGHEST:
        raise InvalidRequest(f"a priority of {allowance.priority}", hint=f"from 0 to {HIGHEST}", param="priority")
    if allowance.budget is not None:
        check_budget(allowance.budget, "key")


def told(allowance: Allowance) -> str:
    """In the words of the event log."""
    requests, tokens = allowance.requests_per_minute, allowance.tokens_per_minute
    limits = [
        "any number of requests" if requests is None else f"{requests} requests a minute",
        "any number of tokens" if tokens is None else f"{tokens} tokens a minute",
    ]
    budget = "" if allowance.budget is None else f", budget {in_words(allowance.budget)}"
    return f"{', '.join(limits)}, weight {allowance.weight:g}, priority {allowance.priority}{budget}"
