"""The local driver: the conformance suite, and what only real processes of this machine can show."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from conformance import DriverConformance, Watcher, get, spec
from test_zygotes import WARM

from colonnade.drivers import Announced, Driver, Exited, Life, LocalDriver, stop_all
from colonnade.drivers.memory import held
from colonnade.drivers.output import KEPT_LIVES, LogFolder, announcement, last_line, turn_over, turned
from colonnade.drivers.process import Process, boot_id, describe_status, find_by_environment, members, start_ticks
from colonnade.drivers.records import Record, RecordBook
from colonnade.wire.errors import SetupError


@pytest.fixture
def make(tmp_path: Path) -> Callable[[], Driver]:
    return lambda: LocalDriver(tmp_path)


async def opened(home: Path) -> Watcher:
    driver = LocalDriver(home)
    await driver.open()
    return Watcher(driver)


async def started(watcher: Watcher, *flags: str, id: str = "a-0", epoch: str = "e1") -> Life:
    await watcher.driver.start(spec(id, epoch, *flags))
    return (await watcher.wait(Announced, epoch)).life


class TestConformance(DriverConformance):
    pass


async def test_a_killed_leader_takes_its_group_along(tmp_path: Path) -> None:
    watcher = await opened(tmp_path)
    life = await started(watcher, "--child")
    assert life.pid
    _, child = await get(life, "/child")
    assert set(members(life.pid)) == {life.pid, child}
    os.kill(life.pid, signal.SIGKILL)
    assert (await watcher.wait(Exited, "e1")).reason == "killed by signal 9 (SIGKILL)"
    assert members(life.pid) == []
    assert list((tmp_path / "replicas").iterdir()) == []
    await watcher.close()


async def test_an_adopted_one_says_how_it_ended(tmp_path: Path) -> None:
    """A process that starts the replica and is gone: the next driver is not the parent."""
    script = (
        "import asyncio, sys, pathlib; sys.path[:0] = sys.argv[1:2]; import test_local as t\n"
        "async def go():\n"
        "    w = await t.opened(pathlib.Path(sys.argv[2])); await t.started(w, '--child')\n"
        "    import os, signal; os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(go())"
    )
    first = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "ignore", "-c", script, str(Path(__file__).parent), str(tmp_path)
    )
    assert await first.wait() == -signal.SIGKILL
    watcher = await opened(tmp_path)
    life = (await watcher.wait(Announced, "e1")).life
    assert life.pid
    assert (await get(life, "/ready"))[0] == 200
    os.kill(life.pid, signal.SIGKILL)
    exited = await watcher.wait(Exited, "e1")
    assert exited.reason in {"killed by signal 9 (SIGKILL)", "ended, exit status unknown"}
    assert members(life.pid) == []
    await watcher.close()


async def test_what_ended_while_nobody_watched_is_told_with_its_last_words(tmp_path: Path) -> None:
    watcher = await opened(tmp_path)
    life = await started(watcher, "--child")
    assert life.pid
    await watcher.close()
    with Path(life.log).open("a") as log:
        log.write("the last words\n")
    os.kill(life.pid, signal.SIGKILL)
    await _reaped(life.pid)
    assert members(life.pid) != []  # its child is left
    watcher = await opened(tmp_path)
    assert (await watcher.wait(Exited, "e1")).reason == "ended while no agent watched: the last words"
    assert members(life.pid) == []
    assert await watcher.driver.list() == ()
    await watcher.close()


async def _reaped(pid: int) -> None:
    """The test stands in for the agent that was the parent."""
    process = Process(pid)
    await process.ended()
    await process.reap()
    process.close()


async def test_a_record_without_a_pid_finds_its_process_by_its_environment(tmp_path: Path) -> None:
    watcher = await opened(tmp_path)
    life = await started(watcher)
    await watcher.close()
    book = RecordBook(tmp_path / "replicas")
    (record,) = book.read()
    book.write(msgspec.structs.replace(record, ticks=None, life=msgspec.structs.replace(record.life, pid=None, url="")))
    watcher = await opened(tmp_path)
    assert (await watcher.wait(Announced, "e1")).life == life
    await watcher.driver.stop("a-0", "e1", 5)
    await watcher.close()


async def test_another_process_with_the_pid_is_left_alone(tmp_path: Path) -> None:
    stranger = subprocess.Popen(["sleep", "600"], start_new_session=True)
    try:
        ticks = start_ticks(stranger.pid)
        assert ticks is not None
        book = RecordBook(tmp_path / "replicas")
        for id, boot, recorded in (("a-0", boot_id(), ticks + 1), ("b-0", "another boot", ticks)):
            life = Life(id=id, epoch="e1", pid=stranger.pid, log=str(tmp_path / "none.log"))
            book.write(Record(life=life, argv=("sleep",), boot=boot, ticks=recorded))
        assert await stop_all(tmp_path, 0) == ()
        watcher = await opened(tmp_path)
        await watcher.close()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


async def test_a_stop_goes_on_under_the_next_driver(tmp_path: Path) -> None:
    watcher = await opened(tmp_path)
    await started(watcher, "--deaf")
    stopping = asyncio.create_task(watcher.driver.stop("a-0", "e1", 0.3))
    await asyncio.sleep(0)
    await watcher.close()
    await stopping
    watcher = await opened(tmp_path)
    assert (await watcher.driver.list())[0].stopping
    assert (await watcher.wait(Exited, "e1")).reason.startswith("killed by signal 9")
    await watcher.close()


async def test_stop_all_ends_what_a_dead_agent_left(tmp_path: Path) -> None:
    watcher = await opened(tmp_path)
    for number in range(2):
        await started(watcher, id=f"a-{number}", epoch=f"e{number}")
    await watcher.close()
    assert {life.id for life in await stop_all(tmp_path, 5)} == {"a-0", "a-1"}
    assert list((tmp_path / "replicas").iterdir()) == []
    assert await stop_all(tmp_path, 5) == ()


async def test_a_frozen_one_can_be_stopped(tmp_path: Path) -> None:
    watcher = await opened(tmp_path)
    life = await started(watcher)
    assert life.pid
    os.kill(life.pid, signal.SIGSTOP)
    await watcher.driver.stop("a-0", "e1", 0.1)
    assert (await watcher.wait(Exited, "e1")).reason.startswith("killed by signal 9")
    await watcher.close()


def test_logs_of_former_lives_are_few_and_the_link_is_the_newest(tmp_path: Path) -> None:
    folder = LogFolder(tmp_path)
    for number in range(KEPT_LIVES + 2):
        folder.begin("a-0", f"e{number}").write_text(f"life {number}")
    other = folder.begin("a-0.b-1", "e9")
    assert len(folder.lives("a-0")) == KEPT_LIVES
    assert (tmp_path / "a-0.log").read_text() == f"life {KEPT_LIVES + 1}"
    assert folder.lives("a-0.b-1") == [other]


def test_a_long_log_is_turned_over(tmp_path: Path) -> None:
    log = LogFolder(tmp_path).begin("a-0", "e1")
    log.write_text("old\n" * 30)
    turn_over(log, 1000)
    assert not turned(log).exists()
    turn_over(log, 100)
    with log.open("a") as writer:
        writer.write("new\n")
    assert LogFolder(tmp_path).tail("a-0", 2) == "old\nnew\n"
    turn_over(tmp_path / "gone.log", 1)


def test_the_announcement_is_found_among_other_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b'a warning\n{"not": 1}\n{broken\n{"url":"http://x","epoch":"old"}\n{"url":"http://y","epoch":"e1"')
    assert announcement(log, "e1") is None
    with log.open("ab") as writer:
        writer.write(b"}\n\n")
    found = announcement(log, "e1")
    assert found is not None
    assert found.url == "http://y"
    log.write_bytes(b'the reason\n{"url":"http://y","epoch":"e1"}\n\n')
    assert last_line(log) == "the reason"
    assert not last_line(tmp_path / "none")


def test_what_is_no_record_is_named(tmp_path: Path) -> None:
    book = RecordBook(tmp_path)
    (tmp_path / "a-0.e1.json").write_text("{}")
    with pytest.raises(SetupError, match=r"a-0\.e1\.json"):
        book.read()


def test_statuses_in_words() -> None:
    assert describe_status(9) == "killed by signal 9 (SIGKILL)"
    assert describe_status(1 << 8) == "exit 1"
    assert describe_status(60) == "killed by signal 60 (unnamed)"
    assert find_by_environment("_COLONNADE_LIFE=nobody/none") is None


@pytest.mark.parametrize("warm", [(), WARM])
async def test_cores_and_gpus_are_granted_kept_and_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warm: tuple[str, ...]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    driver = LocalDriver(tmp_path, linger=600.0)
    await driver.open()
    watcher = Watcher(driver)
    assert (await driver.capabilities()).gpus == 2
    greedy = msgspec.structs.replace(spec("a-0", "e1"), cores=1, gpus=1, warm=warm)
    await driver.start(greedy)
    life = (await watcher.wait(Announced, "e1")).life
    assert life.pid
    assert len(os.sched_getaffinity(life.pid)) == 1
    assert (await get(life, "/cuda"))[1] == ["PCI_BUS_ID", "4"]
    await watcher.close()
    driver = LocalDriver(tmp_path, linger=600.0)
    await driver.open()
    watcher = Watcher(driver)
    with pytest.raises(SetupError, match="2 GPUs are asked for, and 1 of 2"):
        await driver.start(msgspec.structs.replace(greedy, epoch="e2", gpus=2))
    await driver.stop("a-0", "e1", 5)
    await driver.start(msgspec.structs.replace(spec("a-0", "e2"), gpus=2, warm=warm))
    assert (await get((await watcher.wait(Announced, "e2")).life, "/cuda"))[1] == ["PCI_BUS_ID", "4,5"]
    await driver.stop("a-0", "e2", 5)
    await watcher.close()


@pytest.mark.parametrize("warm", [(), WARM])
async def test_a_replica_that_has_more_memory_than_it_may_is_ended_with_the_reason(
    tmp_path: Path, warm: tuple[str, ...]
) -> None:
    bounded = msgspec.structs.replace(spec("a-0", "e1", "--child"), memory=60_000_000, warm=warm)
    driver = LocalDriver(tmp_path, linger=600.0)
    await driver.open()
    watcher = Watcher(driver)
    await driver.start(bounded)
    life = (await watcher.wait(Announced, "e1")).life
    assert life.pid
    assert 0 < held(life.pid) < bounded.memory
    await watcher.close()
    driver = LocalDriver(tmp_path, linger=600.0)  # the next agent's knows of the bound
    await driver.open()
    watcher = Watcher(driver)
    await get(life, "/hold")
    reason = (await watcher.wait(Exited, "e1")).reason
    assert reason.startswith("killed: more than 60 MB (")
    assert members(life.pid) == []
    assert held(life.pid) == 0
    await watcher.close()
