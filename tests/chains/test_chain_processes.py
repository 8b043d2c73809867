"""`colonnade chain run` with real processes: killed, stopped, orphaned. The others go on, and errors are typed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from colonnade import chains
from colonnade.chains.client import Client
from colonnade.drivers.process import start_ticks
from colonnade.wire.errors import ColonnadeError, DeadlineExceeded, ReplicaLost

FRAIL = Path(__file__).with_name("frail.py")


class Running:
    def __init__(self, process: subprocess.Popen[bytes], said: dict[str, Any]) -> None:
        self.process = process
        self.said = said

    def pids(self) -> list[int]:
        return [each["pid"] for each in self.said["steps"]]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Running]]:
    started: list[subprocess.Popen[bytes]] = []

    def begin(*flags: str) -> Running:
        folder = tmp_path_factory.mktemp("run")
        command = [sys.executable, "-m", "colonnade.cli", "chain", "run", str(FRAIL), "--port", "0", "--json"]
        with (folder / "stderr").open("wb") as said:
            process = subprocess.Popen(
                [*command, "--stop-on-eof", *flags],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                env={**os.environ, "COLONNADE_HOME": str(folder / "home")},
            )
        started.append(process)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, (folder / "stderr").read_text()
        return Running(process, json.loads(line))

    yield begin
    for process in started:
        process.communicate(timeout=60)


@pytest.fixture(scope="module")
def running(start: Callable[..., Running]) -> Running:
    return start()


def module() -> Any:
    from colonnade.packages.importing import import_module

    return import_module(FRAIL)


def connect(running: Running) -> Any:
    return chains.connect(running.said["address"], module().Front)


class Pipe:
    """Held open here, so that neither end waits for the other to be opened."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        self._text = b""

    async def line(self) -> str:
        came = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(self.fd, came.set)
        try:
            while b"\n" not in self._text:
                await asyncio.wait_for(came.wait(), 60)
                came.clear()
                with contextlib.suppress(BlockingIOError):
                    self._text += os.read(self.fd, 4096)
        finally:
            loop.remove_reader(self.fd)
        line, _, self._text = self._text.partition(b"\n")
        return line.decode()


class Marks:
    def __init__(self, folder: Path) -> None:
        self._names = [folder / "worker", folder / "safe"]
        self.worker, self.safe = map(Pipe, self._names)
        self._go = [Pipe(Path(f"{each}.go")) for each in self._names]

    async def pids(self) -> tuple[int, int]:
        """Once both work."""
        return int(await self.worker.line()), int(await self.safe.line())

    def go(self) -> None:
        for each in self._go:
            os.write(each.fd, b"!")

    def close(self) -> None:
        for each in (self.worker, self.safe, *self._go):
            os.close(each.fd)

    def call(self, client: Client, within: float = 120.0) -> asyncio.Task[Any]:
        return asyncio.create_task(client.call(*map(str, self._names), within=within))


@pytest.fixture
def marks(tmp_path: Path) -> Iterator[Marks]:
    made = Marks(tmp_path)
    yield made
    made.close()


async def gone(pid: int) -> None:
    """Returns when that process has ended, also one that is not our child."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(fd, ended.set)
    try:
        await asyncio.wait_for(ended.wait(), 60)
    finally:
        asyncio.get_running_loop().remove_reader(fd)
        os.close(fd)


async def test_a_killed_step_is_a_typed_error_and_its_siblings_are_cancelled(running: Running, marks: Marks) -> None:
    async with connect(running) as client:
        task = marks.call(client)
        worker, _ = await marks.pids()
        os.kill(worker, signal.SIGKILL)
        with pytest.raises(ReplicaLost) as lost:
            await task
        assert [hop.step for hop in lost.value.report.hops] == ["Front"]  # pyright: ignore
        assert await marks.safe.line() == "cancelled"
        marks.go()
        answer = await marks.call(client)
        assert answer.value[0] != worker


async def test_an_idempotent_call_is_made_again_where_its_step_was_killed(running: Running, marks: Marks) -> None:
    async with connect(running) as client:
        task = marks.call(client)
        worker, safe = await marks.pids()
        os.kill(safe, signal.SIGKILL)
        marks.go()
        value = (await task).value
        assert value[0] == worker
        assert value[1] != safe


async def test_a_frozen_step_costs_the_deadline_and_no_more(running: Running, marks: Marks) -> None:
    async with connect(running) as client:
        task = marks.call(client, within=1.5)
        worker, _ = await marks.pids()
        os.kill(worker, signal.SIGSTOP)
        try:
            began = time.monotonic()
            with pytest.raises(DeadlineExceeded):
                await task
            assert time.monotonic() - began < 30
            assert await marks.safe.line() == "cancelled"
        finally:
            os.kill(worker, signal.SIGCONT)
        assert await marks.worker.line() == "cancelled"  # it hears of it when it goes on
        marks.go()
        assert (await marks.call(client)).value[0] == worker


async def test_a_killed_caller_cancels_what_it_called(running: Running, marks: Marks) -> None:
    async with connect(running) as client:
        task = marks.call(client)
        await marks.pids()
        front = next(each["pid"] for each in running.said["steps"] if each["step"] == "Front")
        os.kill(front, signal.SIGKILL)
        with pytest.raises(ColonnadeError):
            await task
    for each in (marks.worker, marks.safe):
        assert await each.line() == "cancelled"


@pytest.mark.parametrize("flags", [(), ("--tcp",), ("--inline",)], ids=["unix", "tcp", "inline"])
async def test_no_process_outlives_a_killed_parent(start: Callable[..., Running], flags: tuple[str, ...]) -> None:
    running = start(*flags)
    lives = {pid: start_ticks(pid) for pid in running.pids()}
    assert all(lives.values())
    assert len(lives) == (1 if "--inline" in flags else 3)
    folder = Path(running.said["address"].removeprefix("unix://")).parent
    running.process.kill()
    running.process.wait(timeout=30)
    for pid in lives:
        await gone(pid)
    assert flags or not folder.exists()
