"""Replicas forked from a warm process: the same conformance, and what is peculiar to forks."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from conformance import DriverConformance, Watcher, get, spec
from msgspec.structs import replace

from colonnade.drivers import Announced, Driver, Exited, Life, LocalDriver, ReplicaSpec
from colonnade.drivers.process import Process, exists, members, start_ticks
from colonnade.drivers.zygotes import Chick

WARM = (sys.executable, str(Path(__file__).with_name("warm_stand_in.py")))


class Warmed(LocalDriver):
    """Every replica may be forked."""

    def __init__(self, home: Path, *flags: str, linger: float = 600.0) -> None:
        super().__init__(home, linger=linger)
        self.flags = flags

    async def start(self, spec: ReplicaSpec) -> None:
        await super().start(replace(spec, warm=(*WARM, *self.flags)) if spec.argv[0] == sys.executable else spec)


@pytest.fixture
def make(tmp_path: Path) -> Callable[[], Driver]:
    return lambda: Warmed(tmp_path)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[Callable[..., object]]:
    watchers: list[Watcher] = []

    async def opened(*flags: str, linger: float = 600.0) -> Watcher:
        driver = Warmed(tmp_path, *flags, linger=linger)
        await driver.open()
        watchers.append(Watcher(driver))
        return watchers[-1]

    yield opened
    for watcher in watchers:
        lives = await watcher.driver.list()
        await asyncio.gather(*(watcher.driver.stop(life.id, life.epoch, 0) for life in lives))
        await watcher.close()


Open = Callable[..., "asyncio.Future[Watcher]"]


async def started(watcher: Watcher, *flags: str, epoch: str = "e1") -> Life:
    await watcher.driver.start(spec("a-0", epoch, *flags))
    return (await watcher.wait(Announced, epoch)).life


def zygotes(watcher: Watcher) -> list[int]:
    assert isinstance(watcher.driver, LocalDriver)
    return watcher.driver.zygotes()


def forked(life: Life) -> bool:
    """Then there is room left behind its mark."""
    return b"\0\0\0" in Path(f"/proc/{life.pid}/environ").read_bytes()


class TestConformance(DriverConformance):
    pass


async def test_lives_are_forked_from_one_process_and_lead_groups_of_their_own(house: Open) -> None:
    watcher = await house()
    lives = [await started(watcher, "--child", epoch=epoch) for epoch in ("e1", "e2")]
    (zygote,) = zygotes(watcher)
    for life in lives:
        assert life.pid
        assert forked(life)
        words = Path(f"/proc/{life.pid}/cmdline").read_text().rstrip("\0").split("\0")
        assert words == list(spec("a-0", life.epoch, "--child").argv)
        _, child = await get(life, "/child")
        assert set(members(life.pid)) == {life.pid, child}
        assert members(life.pid, f"_COLONNADE_LIFE=a-0/{life.epoch}") == members(life.pid)
    assert len(os.listdir(f"/proc/{zygote}/task")) == 1


async def test_how_it_ended_is_told_as_of_any_child_and_nothing_is_left(house: Open) -> None:
    watcher = await house()
    life = await started(watcher, "--child")
    assert life.pid
    _, child = await get(life, "/child")
    os.kill(life.pid, signal.SIGKILL)
    assert (await watcher.wait(Exited, "e1")).reason == "killed by signal 9 (SIGKILL)"
    assert not exists(life.pid)
    assert not exists(int(str(child)))


async def test_a_zygote_that_dies_takes_nothing_along_and_the_next_life_starts_plainly(
    house: Open, caplog: pytest.LogCaptureFixture
) -> None:
    watcher = await house()
    life = await started(watcher)
    (zygote,) = zygotes(watcher)
    os.kill(zygote, signal.SIGKILL)
    second = await started(watcher, epoch="e2")
    assert not forked(second)
    assert "a-0 is started plainly: its zygote" in caplog.text
    assert (await get(life, "/live"))[0] == 200
    third = await started(watcher, epoch="e3")
    assert forked(third)
    assert zygotes(watcher) not in ([], [zygote])


@pytest.mark.parametrize(
    ("flags", "why"),
    [(("--broken",), "ended: told to break"), (("--threads=1",), "refuses: it has 2 threads, and one that forks must")],
)
async def test_where_it_cannot_fork_lives_start_plainly(
    house: Open, caplog: pytest.LogCaptureFixture, flags: tuple[str, ...], why: str
) -> None:
    watcher = await house(*flags)
    for epoch in ("e1", "e2"):
        life = await started(watcher, epoch=epoch)
        assert not forked(life)
    assert caplog.text.count(why) == 1  # it is not tried again at once
    assert zygotes(watcher) == []


async def test_what_has_changed_on_the_disk_is_read_anew(house: Open, tmp_path: Path) -> None:
    changed = tmp_path / "changed"
    watcher = await house(f"--stale-on={changed}")
    await started(watcher)
    first = zygotes(watcher)
    changed.touch()
    second = await started(watcher, epoch="e2")
    assert forked(second)
    assert zygotes(watcher) not in ([], first)


async def test_it_goes_when_nothing_is_left_of_what_it_forked(house: Open) -> None:
    watcher = await house(linger=0.05)
    await started(watcher)
    zygote = Process(*zygotes(watcher))
    await watcher.driver.stop("a-0", "e1", 5)
    async with asyncio.timeout(20):
        await zygote.ended()
    zygote.close()
    assert zygotes(watcher) == []


async def test_lives_of_an_older_one_do_not_count_for_the_one_that_followed(house: Open, tmp_path: Path) -> None:
    changed = tmp_path / "changed"
    watcher = await house(f"--stale-on={changed}", linger=0.05)
    await started(watcher)
    changed.touch()
    await started(watcher, epoch="e2")
    (second,) = zygotes(watcher)
    await watcher.driver.stop("a-0", "e1", 5)
    await started(watcher, epoch="e3")
    assert zygotes(watcher) == [second]
    zygote = Process(second)
    for epoch in ("e2", "e3"):
        await watcher.driver.stop("a-0", epoch, 5)
    async with asyncio.timeout(20):
        await zygote.ended()
    zygote.close()


async def test_changed_files_that_cannot_be_read_are_for_the_replica_to_tell_of(
    house: Open, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    changed = tmp_path / "changed"
    watcher = await house(f"--stale-on={changed}", f"--broken-on={changed}")
    await started(watcher)
    changed.touch()
    lives = await asyncio.gather(*(started(watcher, epoch=epoch) for epoch in ("e2", "e3")))
    assert not any(forked(life) for life in lives)
    assert "ended: told to break" in caplog.text
    assert zygotes(watcher) == []


async def test_one_that_is_killed_while_it_waits_ends_like_any_other(
    house: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The point between the record and the word that lets it go on."""

    def killed(chick: Chick) -> None:
        pidfd = os.pidfd_open(chick.pid)
        os.kill(chick.pid, signal.SIGKILL)
        select.select([pidfd], [], [])
        os.close(pidfd)
        go(chick)

    go = Chick.go
    monkeypatch.setattr(Chick, "go", killed)
    watcher = await house()
    await watcher.driver.start(spec("a-0", "e1"))
    assert (await watcher.wait(Exited, "e1")).reason == "killed by signal 9 (SIGKILL)"


async def test_what_is_forked_holds_nothing_of_its_zygote_however_much_the_driver_has_open(house: Open) -> None:
    files = [os.open(os.devnull, os.O_RDONLY) for _ in range(100)]
    watcher = await house()
    life = await started(watcher)
    (zygote,) = zygotes(watcher)
    for each in files:
        os.close(each)
    theirs, its = ({os.readlink(each) for each in Path(f"/proc/{pid}/fd").iterdir()} for pid in (zygote, life.pid))
    assert len([name for name in theirs if name.startswith("socket:")]) == 1
    assert {name for name in theirs & its if name.startswith("socket:")} == set()


async def test_a_driver_that_is_killed_before_it_knows_the_pid_leaves_nothing_that_runs(tmp_path: Path) -> None:
    """The point between the fork and the record: the fork waits for a word that does not come."""
    script = (
        "import asyncio, os, pathlib, signal, sys; sys.path[:0] = [sys.argv[1]]; import test_zygotes as t\n"
        "from colonnade.drivers.zygotes import Chick\n"
        "def told(chick): print(chick.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)\n"
        "Chick.go = told\n"
        "async def go():\n"
        "    driver = t.Warmed(pathlib.Path(sys.argv[2])); await driver.open()\n"
        "    await driver.start(t.spec('a-0', 'e1'))\n"
        "asyncio.run(go())"
    )
    killed = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "ignore", "-c", script, str(Path(__file__).parent), str(tmp_path)),
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await killed.communicate()
    watcher = Watcher(driver := LocalDriver(tmp_path))
    await driver.open()
    assert (await watcher.wait(Exited, "e1")).reason.startswith(("exit 0", "ended"))
    assert watcher.find(Announced, "e1") is None
    assert start_ticks(int(said)) is None
    await watcher.close()
