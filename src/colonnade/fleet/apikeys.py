"""API keys: made, shown once, limited, revoked. Every change is stored before it counts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from msgspec.structs import replace

from colonnade.fleet.allowance import AllowanceChange, changed, check_allowance, told
from colonnade.fleet.change import check_name
from colonnade.fleet.keys import digest, new_key
from colonnade.fleet.store import Store
from colonnade.wire.errors import Conflict, NotFound
from colonnade.wire.routes import Allowance, Happening, KeyRecord

Event = Callable[[str, str, str], Happening]
"""Kind, subject and reason to a line of the event log."""


class ApiKeys:
    """`publish`: called when gateways have something to hear. `clock`: Unix seconds."""

    def __init__(
        self, store: Store, pepper: str, event: Event, publish: Callable[[], None], clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._pepper = pepper
        self._event = event
        self._publish = publish
        self._clock = clock
        self._by_name: dict[str, KeyRecord] = {}
        self._changing = asyncio.Lock()

    async def read(self) -> None:
        self._by_name = {each.name: each for each in await self._store.keys()}

    def all(self) -> list[KeyRecord]:
        return [each for _, each in sorted(self._by_name.items())]

    async def create(self, name: str, tenant: str = "", allowance: Allowance | None = None) -> tuple[str, KeyRecord]:
        """The key, which nobody can show again, and what is kept of it."""
        check_name(name, "name")
        allowance = allowance or Allowance()
        check_allowance(allowance)
        async with self._changing:
            if name in self._by_name:
                raise Conflict(f"there is a key {name!r}", hint="revoke it, or choose another name", code="key_exists")
            key = new_key()
            record = KeyRecord(name, digest(self._pepper, key), tenant or name, int(self._clock()), allowance)
            await self._store.add_key(record, self._event("key created", name, f"tenant {record.tenant}"))
            self._by_name[name] = record
            self._publish()
        return key, record

    async def limit(self, name: str, change: AllowanceChange) -> KeyRecord:
        """What the key may ask for from now on; gateways hear of it at once."""
        async with self._changing:
            record = self._known(name)
            allowance = changed(record.allowance, change)
            check_allowance(allowance)
            if allowance != record.allowance:
                await self._store.limit_key(name, allowance, self._event("key limited", name, told(allowance)))
                record = self._by_name[name] = replace(record, allowance=allowance)
                self._publish()
        return record

    async def revoke(self, name: str) -> None:
        async with self._changing:
            self._known(name)
            await self._store.revoke_key(name, self._event("key revoked", name, "asked for"))
            del self._by_name[name]
            self._publish()

    def _known(self, name: str) -> KeyRecord:
        if name not in self._by_name:
            raise NotFound(f"no key {name!r}", hint="GET /v1/keys lists them", code="no_such_key")
        return self._by_name[name]
