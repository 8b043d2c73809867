"""What may be used in a day or a month, and whether it is used up. Pure.

    budget of a key          tokens, of prompts and answers together
    budget of a deployment   tokens, or the cost of its replicas by the clusters' prices

A period is a calendar day or month in UTC. `fails` has no default: whoever sets a budget says what a gateway does that
has not heard of the control plane for a while, and so does not know what is left. "open" goes on, "closed" refuses.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from colonnade.wire.errors import InvalidRequest
from colonnade.wire.routes import Budget, Deployment, KeyRecord, Limit, Period

DAY_S = 86_400.0


@dataclass(frozen=True)
class Spent:
    """In one period so far, by name."""

    tokens_of_keys: Mapping[str, int]
    tokens: Mapping[str, int]
    cost: Mapping[str, float]
    """Of deployments, as `tokens`."""


NOTHING = Spent({}, {}, {})


def begun(per: Period, now: float) -> float:
    """When the period began; Unix seconds."""
    day = int(now // DAY_S)
    return DAY_S * (day if per == "day" else day - _day_of_month(day) + 1)


def renewed(per: Period, now: float) -> float:
    """When the next one begins."""
    first = begun(per, now)
    return first + DAY_S if per == "day" else begun(per, first + 31 * DAY_S)


def _day_of_month(day: int) -> int:
    """From 1; `day`: since 1970. By Hinnant's civil_from_days (howardhinnant.github.io/date_algorithms.html): years
    begin in March, so that the leap day is the last of one."""
    of_era = (day + 719_468) % 146_097
    year = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    month = (5 * of_year + 2) // 153
    return of_year - (153 * month + 2) // 5 + 1


def periods(keys: Iterable[KeyRecord], deployments: Iterable[Deployment]) -> set[Period]:
    """Those that are asked for."""
    found = [*(each.allowance.budget for each in keys), *(each.budget for each in deployments)]
    return {each.per for each in found if each is not None}


def limits(
    keys: Iterable[KeyRecord], deployments: Iterable[Deployment], spent: Mapping[Period, Spent], now: float
) -> tuple[Limit, ...]:
    """One for each budget."""
    found: list[Limit] = []
    for key in keys:
        if (budget := key.allowance.budget) is not None:
            used = spent.get(budget.per, NOTHING).tokens_of_keys.get(key.name, 0)
            found.append(_limit("key", key.name, budget, used, now))
    for deployment in deployments:
        if (budget := deployment.budget) is not None:
            used = _used(deployment.name, budget, spent.get(budget.per, NOTHING))
            found.append(_limit("deployment", deployment.name, budget, used, now))
    return tuple(found)


def _used(name: str, budget: Budget, spent: Spent) -> float:
    return spent.tokens.get(name, 0) if budget.cost is None else spent.cost.get(name, 0.0)


def _limit(of: str, name: str, budget: Budget, used: float, now: float) -> Limit:
    most = budget.tokens if budget.cost is None else budget.cost
    assert most is not None
    closed, until = budget.fails == "closed", renewed(budget.per, now)
    return Limit(of, name, closed, until, _said(budget, used, most) if used >= most else "", told(budget, used))


def told(budget: Budget, used: float) -> str:
    """What is left of it, in the words of `fleet cost`."""
    most = budget.tokens if budget.cost is None else budget.cost
    assert most is not None
    share = used / most if most else 1.0
    return f"{share:.0%} of {in_words(budget)}"


def in_words(budget: Budget) -> str:
    what = f"{budget.tokens} tokens" if budget.cost is None else f"{budget.cost:g}"
    return f"{what} a {budget.per}, fails {budget.fails}"


def _said(budget: Budget, used: float, most: float) -> str:
    when = "today" if budget.per == "day" else "this month"
    if budget.cost is None:
        return f"{used:.0f} of {most:.0f} tokens are used {when}"
    return f"{used:.2f} of {most:g} are spent {when}"


def check_budget(budget: Budget, of: str) -> None:
    """Raises InvalidRequest."""
    if (budget.tokens is None) == (budget.cost is None):
        raise InvalidRequest("a budget of tokens or of cost", hint="one of both", param="budget")
    if of == "key" and budget.cost is not None:
        hint = "tokens: replicas' time belongs to deployments, and a key has none"
        raise InvalidRequest("a key's budget cannot be a cost", hint=hint, param="budget")
    most = budget.tokens if budget.cost is None else budget.cost
    assert most is not None
    if not 0 <= most < float("inf"):
        raise InvalidRequest(f"a budget of {most:g}", hint="0 or more", param="budget")
