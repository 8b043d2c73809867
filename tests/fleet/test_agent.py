"""The agent with a real driver, real processes and a control plane over HTTP."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import pytest
from msgspec.structs import replace
from rig import Rig

from colonnade.drivers import stop_all
from colonnade.drivers.process import start_ticks
from colonnade.drivers.records import RecordBook
from colonnade.fleet.change import Change
from colonnade.wire.errors import Conflict, InvalidRequest
from colonnade.wire.routes import Observed


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    rig = Rig(tmp_path)
    await rig.start_control()
    rig.start_agent()
    yield rig
    await rig.stop_agent()
    await stop_all(tmp_path, 0)
    await rig.stop_control()


async def test_one_to_three_to_one(rig: Rig) -> None:
    await rig.deploy(1)
    (first,) = await rig.until_ready("a-0")
    await rig.deploy(3)
    await rig.until_ready("a-0", "a-1", "a-2")
    await rig.deploy(1)
    (left,) = await rig.until_ready("a-0")
    assert (left.epoch, left.pid, left.restarts) == (first.epoch, first.pid, 0)
    assert left.ready_s is not None
    kinds = [(each.event.kind, each.event.reason) for each in await rig.plane.events(0, 100)]
    assert kinds.count(("stop", "scaled down to 1")) == 2
    assert kinds.count(("ended", "exit 0")) == 2


async def test_a_killed_replica_is_back_and_says_why_it_went(rig: Rig) -> None:
    await rig.deploy()
    (first,) = await rig.until_ready("a-0")
    assert first.pid
    os.kill(first.pid, signal.SIGKILL)
    await rig.until(lambda: rig.replicas()[0].epoch != first.epoch and rig.states() == {"a-0": "ready"})
    (second,) = rig.replicas()
    assert (second.reason, second.restarts) == ("killed by signal 9 (SIGKILL)", 1)
    assert second.pid != first.pid
    assert second.started_at - first.started_at < 5
    assert [route.epoch for route in (await rig.plane.routes(-1, 0)).routes] == [second.epoch]


@pytest.mark.parametrize(
    ("flags", "reason"),
    [("--crash-at-start", "exit 3: stand-in: told to crash"), ("--no-program", "cannot start a-0")],
)
async def test_what_cannot_start_fails_with_its_reason_and_backs_off(rig: Rig, flags: str, reason: str) -> None:
    await rig.deploy(1, flags)
    await rig.until(lambda: any(each.restarts >= 3 for each in rig.replicas()))
    assert all(each.reason.startswith(reason) for each in rig.replicas())
    await rig.deploy(1)
    (fixed,) = await rig.until_ready("a-0")
    assert fixed.reason.startswith(reason)


async def test_a_stalled_replica_is_started_anew(rig: Rig, tmp_path: Path) -> None:
    frozen = tmp_path / "frozen"
    await rig.deploy(1, f"--stall-on {frozen}")
    (first,) = await rig.until_ready("a-0")
    frozen.touch()
    await rig.until(lambda: rig.replicas()[0].epoch != first.epoch)
    frozen.unlink()
    (second,) = await rig.until_ready("a-0")
    assert second.reason == "stalled: no step for 30.5 s with work in flight"
    assert second.restarts == 1


async def test_the_ledger_has_every_life_whole_whoever_was_killed(rig: Rig) -> None:
    await rig.deploy(2)
    lives = {each.epoch: each.started_at for each in await rig.until_ready("a-0", "a-1")}
    await rig.kill_agent()
    rig.start_agent()
    await rig.until(lambda: rig.states() == dict.fromkeys(("a-0", "a-1"), "ready"))
    await rig.deploy(1)
    await rig.until(lambda: set(rig.states()) == {"a-0"})
    await rig.kill_agent()
    await rig.stop_control()
    await rig.start_control()
    rig.start_agent()
    await rig.until_ready("a-0")
    await rig.stop_agent()
    rows = sqlite3.connect(rig.home.database).execute("SELECT epoch, begun, ended FROM usage ORDER BY begun").fetchall()
    assert {epoch for epoch, _, _ in rows} == set(lives)
    for life, started in lives.items():
        mine = [(begun, ended) for epoch, begun, ended in rows if epoch == life]
        assert mine[0][0] == round(started * 1000)
        assert all(before[1] == after[0] for before, after in pairwise(mine))
        assert mine[-1][1] <= time.time() * 1000
    (line,) = await rig.plane.used(("deployment", "resource"), 0.0)
    assert line.group == {"deployment": "a", "resource": "cpu"}
    assert line.replica_seconds * 1000 == pytest.approx(sum(ended - begun for _, begun, ended in rows))
    with pytest.raises(InvalidRequest, match="not known by 'colour'"):
        await rig.plane.used(("colour",), 0.0)


async def test_a_killed_agent_leaves_the_replicas_to_the_next(rig: Rig) -> None:
    await rig.deploy(2)
    before = await rig.until_ready("a-0", "a-1")
    revision = (await rig.plane.routes(-1, 0)).revision
    await rig.kill_agent()
    gone = before[1].pid
    assert gone
    os.kill(gone, signal.SIGKILL)
    rig.start_agent()
    await rig.until(lambda: rig.replicas()[1].epoch != before[1].epoch)
    kept, new = await rig.until_ready("a-0", "a-1")
    assert (kept.epoch, kept.pid, kept.restarts, kept.ready_s) == (before[0].epoch, before[0].pid, 0, None)
    assert (new.restarts, new.reason) == (1, "ended while no agent watched")
    assert (await rig.plane.routes(-1, 0)).revision - revision <= 2  # a-0 never went: a-1 went and came


async def test_it_goes_on_without_the_control_plane(rig: Rig) -> None:
    await rig.deploy()
    (first,) = await rig.until_ready("a-0")
    await rig.stop_control()
    await rig.kill_agent()
    rig.start_agent()  # with what was wanted last, from disk
    assert first.pid
    os.kill(first.pid, signal.SIGKILL)
    await rig.start_control()
    assert [route.epoch for route in (await rig.plane.routes(-1, 0)).routes] == [first.epoch]  # as it knew
    await rig.until(lambda: rig.replicas()[0].epoch != first.epoch)
    await rig.until_ready("a-0")
    assert "failed" in [each.event.kind for each in await rig.plane.events(0, 100)]


async def test_a_new_generation_replaces_without_a_gap(rig: Rig, tmp_path: Path) -> None:
    await rig.deploy()
    (first,) = await rig.until_ready("a-0")
    gate = tmp_path / "gate"
    await rig.deploy(1, f"--ready-after {gate}")
    await rig.until(lambda: [each.state for each in rig.replicas()] == ["ready", "starting"])
    assert [route.epoch for route in (await rig.plane.routes(-1, 0)).routes] == [first.epoch]
    gate.touch()
    await rig.until(lambda: rig.replicas()[0].epoch != first.epoch)
    (second,) = await rig.until_ready("a-0")
    assert (second.generation, second.restarts) == (2, 0)
    assert first.pid
    assert start_ticks(first.pid) is None


async def test_asked_to_end_it_ends_all_and_says_so(rig: Rig) -> None:
    await rig.deploy(2)
    pids = [status.pid for status in await rig.until_ready("a-0", "a-1")]
    await rig.stop_agent()
    assert [start_ticks(pid) for pid in pids if pid] == [None, None]
    assert rig.replicas() == []
    assert (await rig.plane.routes(-1, 0)).routes == ()


async def test_an_agent_that_was_followed_gives_up(rig: Rig) -> None:
    await rig.plane.sync(Observed("local", -1, (), "zzz", 1), 0)
    error = await rig.agents_error()
    assert isinstance(error, BaseExceptionGroup)
    assert error.subgroup(Conflict) is not None


async def test_a_desired_state_of_another_version_is_asked_for_again(rig: Rig) -> None:
    await rig.deploy()
    (first,) = await rig.until_ready("a-0")
    await rig.kill_agent()
    rig.home.desired.write_text("{}")
    rig.start_agent()
    await rig.plane.deploy("a", Change("stand-in ", 2))
    kept, _ = await rig.until_ready("a-0", "a-1")
    assert kept.epoch == first.epoch


async def test_a_replica_of_another_release_is_replaced_by_one_of_ours(rig: Rig) -> None:
    await rig.deploy()
    (first,) = await rig.until_ready("a-0")
    await rig.kill_agent()
    book = RecordBook(rig.home.path / "replicas")
    (record,) = book.read()
    book.write(replace(record, life=replace(record.life, labels={})))
    rig.start_agent()
    await rig.until(lambda: rig.replicas()[0].epoch != first.epoch)
    (second,) = await rig.until_ready("a-0")
    assert second.restarts == 0
