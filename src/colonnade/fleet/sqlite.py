"""The store in a SQLite file: write-ahead log, full synchronisation, one connection in a thread of its own."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import msgspec

from colonnade.fleet import ledger
from colonnade.fleet.clusters import price_version
from colonnade.fleet.ledger import Used
from colonnade.fleet.migrations import migrate
from colonnade.fleet.store import EVERY, Logged, Only
from colonnade.fleet.tokens import Token
from colonnade.fleet.versions import spec_of, version_of
from colonnade.wire.routes import Allowance, Deployment, Happening, KeyRecord, Observed, TokenSum, Version

P = ParamSpec("P")
T = TypeVar("T")
_BUSY_S = 10.0


class SqliteStore:
    """Only this object's thread touches the connection. Made by `open`."""

    def __init__(self, path: Path) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
        self._path = path

    @classmethod
    async def open(cls, path: Path) -> SqliteStore:
        """Raises SetupError (`migrations.migrate`)."""
        store = cls(path)
        try:
            store._connection = await store._in_thread(lambda: _connect(path))
        except BaseException:
            store._thread.shutdown()
            raise
        return store

    async def close(self) -> None:
        await self._in_thread(self._connection.close)
        self._thread.shutdown()

    async def begin(self) -> int:
        return await self._write(_begin)

    async def setting(self, name: str, default: str) -> str:
        return await self._write(_setting, name, default)

    async def keep_setting(self, name: str, value: str) -> None:
        await self._write(_keep_setting, name, value)

    async def deployments(self) -> tuple[Deployment, ...]:
        rows = await self._read("SELECT body FROM deployments ORDER BY name")
        return tuple(msgspec.json.decode(body, type=Deployment) for (body,) in rows)

    async def put_deployment(self, deployment: Deployment, event: Happening) -> None:
        await self._write(_put_deployment, deployment, event)

    async def remove_deployment(self, name: str, event: Happening) -> None:
        await self._write(_remove_deployment, name, event)

    async def versions(self, deployment: str) -> tuple[tuple[str, Version], ...]:
        rows = await self._read("SELECT name, body FROM versions WHERE deployment = ? ORDER BY id", deployment)
        return tuple((name, msgspec.json.decode(body, type=Version)) for name, body in rows)

    async def keys(self) -> tuple[KeyRecord, ...]:
        columns = "name, digest, tenant, created, allowance"
        rows = await self._read(f"SELECT {columns} FROM keys WHERE revoked IS NULL ORDER BY name")
        return tuple(
            KeyRecord(name, digest, tenant, created, msgspec.json.decode(allowance, type=Allowance))
            for name, digest, tenant, created, allowance in rows
        )

    async def add_key(self, key: KeyRecord, event: Happening) -> None:
        await self._write(_add_key, key, event)

    async def limit_key(self, name: str, allowance: Allowance, event: Happening) -> None:
        await self._write(_limit_key, name, allowance, event)

    async def revoke_key(self, name: str, event: Happening) -> None:
        await self._write(_revoke_key, name, event)

    async def observed(self) -> tuple[Observed, ...]:
        rows = await self._read("SELECT body FROM clusters ORDER BY name")
        return tuple(msgspec.json.decode(body, type=Observed) for (body,) in rows)

    async def keep_observed(self, observed: Observed) -> None:
        await self._write(_keep_observed, observed)

    async def tokens(self) -> tuple[Token, ...]:
        rows = await self._read("SELECT name, digest, role, cluster, created, used FROM access ORDER BY name")
        return tuple(Token(*row) for row in rows)

    async def put_token(self, token: Token | None, ends: str, event: Happening) -> None:
        await self._write(_put_token, token, ends, event)

    async def token_used(self, name: str, at: float) -> None:
        await self._write(_token_used, name, at)

    async def keep_placement(self, placement: str, events: tuple[Happening, ...]) -> None:
        await self._write(_keep_placement, placement, events)

    async def keep_tokens(self, gateway: str, sums: tuple[TokenSum, ...]) -> None:
        await self._write(ledger.add_tokens, gateway, sums)

    async def used(self, by: Sequence[str], since: float) -> list[Used]:
        return await self._in_thread(lambda: ledger.used(self._connection, by, since))

    async def forget_cluster(self, name: str, event: Happening) -> None:
        await self._write(_forget_cluster, name, event)

    async def tell(self, event: Happening) -> None:
        await self._write(_append, event)

    async def forget_before(self, time: float, most_events: int) -> None:
        await self._write(_forget_before, time, most_events)

    async def events(self, after: int, limit: int, only: Only = EVERY) -> tuple[Logged, ...]:
        order = "ASC" if after else "DESC"
        wanted = msgspec.structs.asdict(only)
        tests = {"since": "at >= ?", **{name: f"{name} = ?" for name in ("deployment", "cluster", "kind")}}
        asked = {name: value for name, value in wanted.items() if value}
        where = " AND ".join(("id > ?", *(tests[name] for name in asked)))
        query = f"SELECT id, body FROM events WHERE {where} ORDER BY id {order} LIMIT ?"
        rows = await self._read(query, after, *asked.values(), limit)
        return tuple(Logged(id, msgspec.json.decode(body, type=Happening)) for id, body in sorted(rows))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _read(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        return await self._in_thread(lambda: self._connection.execute(query, values).fetchall())

    async def _write(
        self, work: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        def whole() -> T:
            with self._connection:
                return work(self._connection, *args, **kwargs)

        return await self._in_thread(whole)

    _connection: sqlite3.Connection


def _connect(path: Path) -> sqlite3.Connection:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))  # it holds the pepper: nobody else reads it
    connection = sqlite3.connect(path, timeout=_BUSY_S, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    migrate(connection)
    return connection


def _begin(db: sqlite3.Connection) -> int:
    query = "INSERT INTO meta VALUES ('begins', '1') ON CONFLICT DO UPDATE SET value = value + 1 RETURNING value"
    return int(db.execute(query).fetchone()[0])


def _setting(db: sqlite3.Connection, name: str, default: str) -> str:
    db.execute("INSERT INTO meta VALUES (?, ?) ON CONFLICT DO NOTHING", (name, default))
    return str(db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()[0])


def _keep_setting(db: sqlite3.Connection, name: str, value: str) -> None:
    db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))


def _put_deployment(db: sqlite3.Connection, deployment: Deployment, event: Happening) -> None:
    row = (deployment.name, deployment.generation, msgspec.json.encode(deployment))
    db.execute("INSERT OR REPLACE INTO deployments VALUES (?, ?, ?)", row)
    version = (deployment.name, version_of(deployment), event.at, msgspec.json.encode(spec_of(deployment)))
    columns = "deployment, name, at, body"
    db.execute(f"INSERT INTO versions ({columns}) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", version)
    _append(db, event)


def _remove_deployment(db: sqlite3.Connection, name: str, event: Happening) -> None:
    db.execute("DELETE FROM deployments WHERE name = ?", (name,))
    db.execute("DELETE FROM versions WHERE deployment = ?", (name,))
    _append(db, event)


def _add_key(db: sqlite3.Connection, key: KeyRecord, event: Happening) -> None:
    row = (key.digest, key.name, key.tenant, key.created, msgspec.json.encode(key.allowance).decode())
    db.execute("INSERT INTO keys (digest, name, tenant, created, allowance) VALUES (?, ?, ?, ?, ?)", row)
    _append(db, event)


def _limit_key(db: sqlite3.Connection, name: str, allowance: Allowance, event: Happening) -> None:
    row = (msgspec.json.encode(allowance).decode(), name)
    db.execute("UPDATE keys SET allowance = ? WHERE name = ? AND revoked IS NULL", row)
    _append(db, event)


def _revoke_key(db: sqlite3.Connection, name: str, event: Happening) -> None:
    db.execute("UPDATE keys SET revoked = ? WHERE name = ? AND revoked IS NULL", (event.at, name))
    _append(db, event)


def _keep_observed(db: sqlite3.Connection, observed: Observed) -> None:
    for event in observed.events:
        _append(db, event)
    ledger.add_stretches(db, observed.cluster, observed.usage)
    if observed.spec is not None:
        ledger.add_prices(db, observed.cluster, observed.spec, price_version(observed.spec))
    kept = msgspec.structs.replace(observed, events=(), usage=())
    row = (observed.cluster, observed.agent, msgspec.json.encode(kept))
    db.execute("INSERT OR REPLACE INTO clusters VALUES (?, ?, unixepoch(), ?)", row)


def _put_token(db: sqlite3.Connection, token: Token | None, ends: str, event: Happening) -> None:
    db.execute("DELETE FROM access WHERE name = ?", (ends,))
    if token is not None:
        db.execute("INSERT OR REPLACE INTO access VALUES (?, ?, ?, ?, ?, ?)", msgspec.structs.astuple(token))
    _append(db, event)


def _token_used(db: sqlite3.Connection, name: str, at: float) -> None:
    db.execute("UPDATE access SET used = ? WHERE name = ?", (at, name))


def _keep_placement(db: sqlite3.Connection, placement: str, events: tuple[Happening, ...]) -> None:
    _keep_setting(db, "placement", placement)
    for event in events:
        _append(db, event)


def _forget_cluster(db: sqlite3.Connection, name: str, event: Happening) -> None:
    db.execute("DELETE FROM clusters WHERE name = ?", (name,))
    _append(db, event)


def _forget_before(db: sqlite3.Connection, time: float, most_events: int) -> None:
    db.execute("DELETE FROM events WHERE at < ? OR id <= (SELECT max(id) FROM events) - ?", (time, most_events))
    ledger.forget(db, time)


def _append(db: sqlite3.Connection, event: Happening) -> None:
    told = (event.source, event.number, event.at, event.kind, event.subject, msgspec.json.encode(event))
    columns = "source, number, at, kind, subject, body, deployment, cluster"
    row = (*told, event.deployment, event.cluster)
    db.execute(f"INSERT INTO events ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", row)
