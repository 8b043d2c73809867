"""Budgets against the ledger: asked every other second, and only where there are budgets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from colonnade.fleet.budgets import Spent, begun, limits, periods
from colonnade.fleet.store import Store
from colonnade.wire.routes import Deployment, KeyRecord, Limit, Period

EVERY_S = 2.0


@dataclass(frozen=True)
class Turn:
    """A budget that is used up, or is there again."""

    limit: Limit

    @property
    def kind(self) -> str:
        return "over budget" if self.limit.over else "within budget"

    @property
    def reason(self) -> str:
        return self.limit.over or self.limit.told


class Budgeting:
    """`limits`: as they are known."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.limits: tuple[Limit, ...] = ()
        self._at = float("-inf")

    async def look(self, keys: Iterable[KeyRecord], deployments: Iterable[Deployment], now: float) -> list[Turn]:
        """What has turned since the last look."""
        known, wanted = list(keys), list(deployments)
        asked = periods(known, wanted)
        if not (asked or self.limits) or now - self._at < EVERY_S:
            return []
        self._at = now
        spent: dict[Period, Spent] = {per: await self._spent(begun(per, now)) for per in asked}
        before = {(each.of, each.name): bool(each.over) for each in self.limits}
        self.limits = limits(known, wanted, spent, now)
        return [Turn(each) for each in self.limits if bool(each.over) != before.get((each.of, each.name), False)]

    async def _spent(self, since: float) -> Spent:
        by_key = await self._store.used(("key",), since)
        by_deployment = await self._store.used(("deployment",), since)
        return Spent(
            {each.group["key"]: each.prompt_tokens + each.completion_tokens for each in by_key},
            {each.group["deployment"]: each.prompt_tokens + each.completion_tokens for each in by_deployment},
            {each.group["deployment"]: each.cost for each in by_deployment},
        )


def named(found: Iterable[Limit], of: str) -> dict[str, str]:
    """How far the budgets of keys, or of deployments, are used; by name."""
    return {each.name: each.told for each in found if each.of == of}
