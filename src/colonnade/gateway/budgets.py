"""What is used up, as the control plane says it, and what holds while it says nothing. Pure.

A budget that is used up refuses until it is renewed, at a time that is known: for that nobody needs to be asked. One
that fails closed also refuses while the control plane has not been heard for DOUBT seconds: what is left is not known.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil

from colonnade.wire.errors import BudgetExceeded, Overloaded
from colonnade.wire.routes import Limit

DOUBT = 60.0
"""Seconds; three times as long as the control plane holds a poll by default."""


class Budgets:
    def __init__(self) -> None:
        self._limits: dict[tuple[str, str], Limit] = {}

    def update(self, limits: Iterable[Limit]) -> None:
        self._limits = {(each.of, each.name): each for each in limits}

    def check(self, key: str, deployment: str, now: float, silence: float) -> None:
        """`now`: Unix seconds; `silence`: seconds since the control plane was heard. Raises BudgetExceeded, and
        Overloaded where it cannot be known."""
        if not self._limits:
            return
        for of, name in (("key", key), ("deployment", deployment)):
            limit = self._limits.get((of, name))
            if limit is not None:
                _check(limit, now, silence)


def _check(limit: Limit, now: float, silence: float) -> None:
    what = f"the budget of the {limit.of} {limit.name}"
    if limit.over and now < limit.renewed:
        left = ceil(limit.renewed - now)
        hint = f"it begins anew in {left} s; {_knob(limit)}"
        raise BudgetExceeded(f"{what} is used up: {limit.over}", hint=hint, after=left)
    if limit.closed and silence > DOUBT:
        said = f"{what} cannot be known: the control plane was not heard for {silence:.0f} s"
        raise Overloaded(said, hint="it fails closed; one that fails open goes on", code="budget_unknown")


def _knob(limit: Limit) -> str:
    if limit.of == "key":
        return f"`colonnade keys limit {limit.name} --budget` changes it"
    return "`budget` in its deployment's file changes it"
