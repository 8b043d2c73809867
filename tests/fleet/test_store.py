"""The store: what was written is there after a restart, whole; the shape moves forward only."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from colonnade.fleet.change import Change
from colonnade.fleet.control import ControlPlane
from colonnade.fleet.keys import digest
from colonnade.fleet.migrations import STEPS, migrate
from colonnade.fleet.retention import LEAST_S, check_keep, forget
from colonnade.fleet.sqlite import SqliteStore
from colonnade.fleet.store import Only
from colonnade.wire.errors import BadSetting, SetupError
from colonnade.wire.routes import Allowance, Deployment, Happening, KeyRecord, Observed, ReplicaStatus


def happening(number: int, source: str = "control-1") -> Happening:
    return Happening(source, number, 12.5, "deployed", "tiny", f"reason {number}")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = await SqliteStore.open(tmp_path / "state.db")
    yield opened
    await opened.close()


async def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "state.db")
    deployment = Deployment("tiny", "tiny-model", 2, 3, {"threads": "2"})
    key = KeyRecord("crm", "ab" * 32, "acme", 77, Allowance(60, None, 0.5, 3))
    status = ReplicaStatus("tiny-0", "tiny", "e1", "ready", url="http://x", facts={"log": "l", "n": 1})
    observed = Observed("local", 4, (status,), "agent1", 9, (happening(1, "local/agent1"),))
    assert await store.begin() == 1
    await store.put_deployment(deployment, happening(1))
    await store.add_key(key, happening(2))
    await store.keep_observed(observed)
    assert await store.setting("pepper", "first") == "first"
    await store.close()
    store = await SqliteStore.open(tmp_path / "state.db")
    assert await store.begin() == 2
    assert await store.deployments() == (deployment,)
    assert await store.keys() == (key,)
    (kept,) = await store.observed()
    assert (kept.replicas, kept.agent, kept.events) == ((status,), "agent1", ())
    assert await store.setting("pepper", "second") == "first"
    assert [each.event.source for each in await store.events(0, 10)] == ["control-1", "control-1", "local/agent1"]
    await store.close()
    assert (tmp_path / "state.db").stat().st_mode & 0o077 == 0


async def test_changes_and_their_events(store: SqliteStore) -> None:
    await store.put_deployment(Deployment("tiny", "m"), happening(1))
    await store.put_deployment(Deployment("tiny", "m", 5, 2), happening(2))
    assert [each.replicas for each in await store.deployments()] == [5]
    await store.remove_deployment("tiny", happening(3))
    assert await store.deployments() == ()
    assert [(each.id, each.event.reason) for each in await store.events(0, 2)] == [(2, "reason 2"), (3, "reason 3")]
    assert [each.id for each in await store.events(1, 1)] == [2]
    await store.keep_setting("port", "1")
    assert await store.setting("port", "0") == "1"


async def test_an_event_told_twice_is_written_once(store: SqliteStore) -> None:
    observed = Observed("local", 0, (), "a", 1, (happening(1, "local/a"), happening(2, "local/a")))
    await store.keep_observed(observed)
    await store.keep_observed(observed)
    assert len(await store.events(0, 10)) == 2
    await store.forget_cluster("local", happening(9))
    assert await store.observed() == ()


async def test_a_revoked_keys_name_is_free_again(store: SqliteStore) -> None:
    await store.add_key(KeyRecord("crm", "d1", "crm"), happening(1))
    with pytest.raises(sqlite3.IntegrityError):
        await store.add_key(KeyRecord("crm", "d2", "crm"), happening(2))
    await store.limit_key("crm", Allowance(tokens_per_minute=8), happening(2))
    assert [key.allowance.tokens_per_minute for key in await store.keys()] == [8]
    await store.revoke_key("crm", happening(3))
    await store.add_key(KeyRecord("crm", "d2", "crm"), happening(4))
    assert [key.digest for key in await store.keys()] == ["d2"]
    assert [each.event.number for each in await store.events(0, 10)] == [1, 2, 3, 4]  # of the one refused, none


async def test_events_are_asked_for_by_what_they_are_about(store: SqliteStore) -> None:
    await store.put_deployment(Deployment("a", "m"), Happening("c", 1, 10.0, "deployed", "a", "r", deployment="a"))
    told = tuple(
        Happening("east/1", number, 10.0 + number, kind, "a-0", "r", "east", "e", "a")
        for number, kind in enumerate(("start", "failed"), 1)
    )
    await store.keep_observed(Observed("east", 0, (), "1", 1, told))
    await store.put_deployment(Deployment("b", "m"), Happening("c", 2, 13.0, "deployed", "b", "r", deployment="b"))

    async def found(**only: Any) -> list[tuple[str, str]]:
        return [(each.event.kind, each.event.subject) for each in await store.events(0, 10, Only(**only))]

    assert await found(deployment="a") == [("deployed", "a"), ("start", "a-0"), ("failed", "a-0")]
    assert await found(cluster="east", since=12.0) == [("failed", "a-0")]
    assert await found(kind="deployed") == [("deployed", "a"), ("deployed", "b")]
    assert await found(since=13.0) == [("deployed", "b")]


async def test_events_of_the_first_version_say_what_they_are_about(tmp_path: Path) -> None:
    old = sqlite3.connect(tmp_path / "state.db")
    migrate(old, STEPS[:2])
    body = msgspec.json.encode(Happening("local/1", 1, 1.0, "failed", "desk-2-10", "r", "local"))
    columns = "source, number, at, kind, subject, body"
    old.execute(f"INSERT INTO events ({columns}) VALUES ('local/1', 1, 1.0, 'failed', 'desk-2-10', ?)", (body,))
    old.commit()
    old.close()
    store = await SqliteStore.open(tmp_path / "state.db")
    assert len(await store.events(0, 10, Only(deployment="desk-2", cluster="local"))) == 1
    await store.close()


async def test_what_is_old_is_forgotten(store: SqliteStore) -> None:
    for number in range(1, 7):
        await store.put_deployment(Deployment("a", "m"), Happening("c", number, 10.0 * number, "deployed", "a", "r"))
    await store.forget_before(25.0, 3)
    assert [each.event.at for each in await store.events(0, 10)] == [40.0, 50.0, 60.0]
    await store.forget_before(55.0, 3)
    assert [each.event.at for each in await store.events(0, 10)] == [60.0]


async def test_it_forgets_as_long_as_it_runs_and_no_month_that_is_not_billed(store: SqliteStore) -> None:
    await store.put_deployment(Deployment("a", "m"), Happening("c", 1, 10.0, "deployed", "a", "r"))
    forgetting = asyncio.create_task(forget(store, check_keep(LEAST_S), lambda: LEAST_S + 11.0))
    async with asyncio.timeout(30):
        while await store.events(0, 10):  # each look waits for the store's own thread
            pass
    forgetting.cancel()
    with pytest.raises(BadSetting, match="the least is 62"):
        check_keep(LEAST_S - 1)


async def test_a_store_that_the_first_version_wrote_serves_the_control_plane_of_today(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    old = sqlite3.connect(path)
    migrate(old, STEPS[:1])
    body = b'{"name":"desk-2","model":"m","replicas":2,"generation":3,"settings":{"threads":"1"}}'
    old.execute("INSERT INTO deployments VALUES ('desk-2', 3, ?)", (body,))
    pepper = "ab" * 32
    old.execute("INSERT INTO meta VALUES ('pepper', ?), ('begins', '4')", (pepper,))
    old.execute("INSERT INTO keys VALUES (?, 'crm', 'acme', 7, NULL)", (digest(pepper, "cln_x"),))
    old.execute("INSERT INTO keys VALUES ('gone', 'web', 'acme', 7, 9.0)")
    told = msgspec.json.encode(
        {"source": "c", "number": 1, "at": 1.0, "kind": "deployed", "subject": "desk-2", "reason": "r"}
    )
    old.execute("INSERT INTO events VALUES (1, 'c', 1, 1.0, 'deployed', 'desk-2', ?)", (told,))
    old.commit()
    old.close()
    store = await SqliteStore.open(path)
    plane = await ControlPlane.open(store)
    assert plane.deployments() == [Deployment("desk-2", "m", 2, 3, {"threads": "1"})]
    assert [(key.name, key.tenant, key.allowance) for key in plane.keys.all()] == [("crm", "acme", Allowance())]
    assert [each.event.reason for each in await plane.events(0, 10, Only(deployment="desk-2"))] == ["r"]
    await plane.deploy("desk-2", Change("m2", 2))
    assert len(await plane.versions("desk-2")) == 1
    assert await plane.used(("deployment",), 0.0) == []
    await store.close()


@pytest.mark.parametrize("version", range(1, len(STEPS)))
async def test_a_database_of_each_former_version_moves_forward(tmp_path: Path, version: int) -> None:
    path = tmp_path / "state.db"
    old = sqlite3.connect(path)
    migrate(old, STEPS[:version])
    old.execute("INSERT INTO deployments VALUES ('tiny', 1, ?)", (b'{"name":"tiny","model":"m"}',))
    old.execute("INSERT INTO meta VALUES ('pepper', 'ab')")
    old.commit()
    old.close()
    store = await SqliteStore.open(path)
    assert await store.deployments() == (Deployment("tiny", "m"),)
    assert await store.setting("pepper", "new") == "ab"
    await store.keep_observed(Observed("local", 0, ()))
    assert len(await store.observed()) == 1
    await store.close()


async def test_a_later_releases_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    later = sqlite3.connect(path)
    later.execute(f"PRAGMA user_version = {len(STEPS) + 1}")
    later.close()
    with pytest.raises(SetupError, match="version") as refused:
        await SqliteStore.open(path)
    assert "--home" in refused.value.hint


def test_a_step_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    connection = sqlite3.connect(path)
    with pytest.raises(sqlite3.OperationalError):
        migrate(connection, (STEPS[0], "CREATE TABLE half (x TEXT); CREATE TABEL typo;"))
    connection.close()
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    assert connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'half'").fetchone() == (0,)
    connection.close()
