"""The local driver: replicas as processes of this machine, each the leader of a session and group of its own.

Nothing of a replica hangs on the driver's process: its output goes to a file, its standard input is a pipe that only it
holds, and a record on disk says who it is. So replicas outlive a driver that was killed, and the next one finds them:

    home/replicas/ID.EPOCH.json      the record of a life, from before it starts until it is known to be over
    home/logs/ID.EPOCH.log, ID.log   its output; a link to the newest life's

A replica is told from a later process with its pid by boot, pid and start time, and by its environment
(_COLONNADE_LIFE=ID/EPOCH) when the driver was killed between starting it and writing down its pid.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

from msgspec.structs import replace

from colonnade.drivers.base import ADDRESS, Announced, Capabilities, DriverEvent, Exited, Life, ReplicaSpec, Started
from colonnade.drivers.grants import Grant, Grants
from colonnade.drivers.memory import too_much
from colonnade.drivers.output import LogFolder, announcement, last_line, turn_over
from colonnade.drivers.process import (
    Process,
    boot_id,
    end_group,
    exists,
    find_by_environment,
    reap_orphans,
    start_ticks,
)
from colonnade.drivers.records import Record, RecordBook
from colonnade.drivers.zygotes import Chick, Zygotes
from colonnade.wire.errors import SetupError

LIFE_VARIABLE = "_COLONNADE_LIFE"
"""Not a setting, hence the underscore: unknown variables that begin like settings are refused by every process."""

LOG_LIMIT = 10 << 20
_SAYS_IT_ALL = ("exit 0", "killed by signal 9 (SIGKILL)", "killed by signal 15 (SIGTERM)")
"""Ends that came from outside, or on request: the last line of the log has nothing to do with them."""
_FIRST_LOOK_S = 0.01
_SLOWEST_LOOK_S = 0.2
_TURN_OVER_S = 5.0


class LocalDriver:
    """`home`: the state folder. `log_limit`: bytes at which a life's log is turned over. `linger`: seconds that a warm
    process stays without a life of its own; 0: there is none. `address`: of this machine, as replicas are reached at.

    A driver is the only one of its home: the caller sees to that (`fleet.agent` holds a lock).
    """

    def __init__(
        self, home: Path, *, log_limit: int = LOG_LIMIT, linger: float = 0.0, address: str = "127.0.0.1"
    ) -> None:
        self._address = address
        self._records = RecordBook(home / "replicas")
        self._logs = LogFolder(home / "logs")
        self._zygotes = Zygotes(home / "logs", linger, LIFE_VARIABLE)
        self._starting: set[tuple[str, str]] = set()
        self._grants = Grants(sorted(os.sched_getaffinity(0)), _gpus())
        self._log_limit = log_limit
        self._boot = boot_id()
        self._running: dict[tuple[str, str], _Running] = {}
        self._events: asyncio.Queue[DriverEvent | None] = asyncio.Queue()

    async def open(self) -> None:
        for record in self._records.read():
            self._adopt(record)

    async def close(self) -> None:
        running = list(self._running.values())
        for each in running:
            each.abandon()
        await asyncio.gather(*(each.task for each in running), return_exceptions=True)
        self._running.clear()
        await self._zygotes.close()
        self._events.put_nowait(None)

    async def capabilities(self) -> Capabilities:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return Capabilities(
            driver="local", machines=1, cores=len(os.sched_getaffinity(0)), memory=memory, gpus=self._grants.gpus
        )

    async def start(self, spec: ReplicaSpec) -> None:
        key = (spec.id, spec.epoch)
        if key in self._running or key in self._starting:
            return
        spec = replace(spec, argv=tuple(self._address if word == ADDRESS else word for word in spec.argv))
        grant = self._grants.take(key, spec.cores, spec.gpus, spec.memory)
        self._starting.add(key)
        try:
            await self._start(spec, grant)
        except BaseException:
            self._grants.release(key)
            raise
        finally:
            self._starting.discard(key)

    async def _start(self, spec: ReplicaSpec, grant: Grant) -> None:
        log = self._logs.begin(spec.id, spec.epoch)
        life = Life(id=spec.id, epoch=spec.epoch, started_at=time.time(), log=str(log), labels=spec.labels)
        record = Record(life=life, argv=spec.argv, boot=self._boot, grant=grant)
        self._records.write(record)
        env = {**os.environ, **spec.env, **_told(grant)}
        try:
            chick = await self._fork(spec, env, log)
            pid = _spawn(spec, env, log) if chick is None else chick.pid
        except OSError as error:
            self._records.remove(spec.id, spec.epoch)
            hint = "the first word of the command must be a program that this user may run"
            raise SetupError(f"cannot start {spec.id}: {error}", hint=hint) from error
        if grant.cores:
            with suppress(ProcessLookupError):
                os.sched_setaffinity(pid, grant.cores)
        record = replace(record, life=replace(life, pid=pid), ticks=start_ticks(pid))
        self._records.write(record)
        running = self._begin(record, Process(pid))
        if chick is not None:
            chick.go()
            running.task.add_done_callback(lambda _: chick.over())

    async def _fork(self, spec: ReplicaSpec, env: dict[str, str], log: Path) -> Chick | None:
        stdin = _endless_stdin()
        try:
            with log.open("ab") as output:
                mark = _mark(spec.id, spec.epoch)
                return await self._zygotes.fork(spec, env, mark, stdin, output.fileno())
        finally:
            os.close(stdin)

    async def stop(self, id: str, epoch: str, grace: float) -> None:
        running = self._running.get((id, epoch))
        if running is not None:
            running.stop(grace)
            await asyncio.wait([running.task])

    async def list(self) -> tuple[Life, ...]:
        return tuple(each.record.life for each in self._running.values() if each.alive)

    async def logs(self, id: str, tail: int) -> str:
        return self._logs.tail(id, tail)

    def log_tails(self, id: str, tail: int) -> dict[str, str]:
        """The same, life by life."""
        return self._logs.tails(id, tail)

    async def watch(self) -> AsyncIterator[DriverEvent]:
        while (event := await self._events.get()) is not None:
            yield event

    def _over(self, key: tuple[str, str]) -> None:
        self._running.pop(key, None)
        self._grants.release(key)

    def zygotes(self) -> list[int]:
        """The pids of the warm processes."""
        return self._zygotes.pids()

    def _adopt(self, record: Record) -> None:
        self._grants.hold((record.life.id, record.life.epoch), record.grant)
        pid = record.life.pid
        if pid is None and record.boot == self._boot:
            pid = find_by_environment(_mark(record.life.id, record.life.epoch))
            record = replace(record, life=replace(record.life, pid=pid), ticks=pid and start_ticks(pid))
        process = None if pid is None or record.boot != self._boot else _hold(pid, record.ticks)
        if process is not None:
            self._records.write(record)
        self._begin(record, process)

    def _begin(self, record: Record, process: Process | None) -> _Running:
        running = _Running(record, process, self._records, self._events.put_nowait, self._log_limit)
        key = (record.life.id, record.life.epoch)
        self._running[key] = running
        running.task.add_done_callback(lambda _: self._over(key))
        return running


class _Running:
    """One life being watched. `process` is None when it was over before anyone looked."""

    def __init__(
        self,
        record: Record,
        process: Process | None,
        records: RecordBook,
        tell: Callable[[DriverEvent], None],
        log_limit: int,
    ) -> None:
        self.record = record
        self._process = process
        self._records = records
        self._tell = tell
        self._log_limit = log_limit
        self._kill: asyncio.TimerHandle | None = None
        self._killed = ""
        """Why we ended it."""
        tell(Started(record.life))
        if record.life.url:
            tell(Announced(record.life))
        if record.kill_at is not None:
            self._kill_after(record.kill_at - time.time())
        self.task = asyncio.create_task(self._attend(), name=f"life {record.life.id}/{record.life.epoch}")

    @property
    def alive(self) -> bool:
        return self._process is not None

    def stop(self, grace: float) -> None:
        """Ask it to end, and see to it after `grace` seconds. Later calls can only shorten the grace."""
        kill_at = time.time() + grace
        if self.record.kill_at is not None and self.record.kill_at <= kill_at:
            return
        if self.record.kill_at is None and self._process is not None:
            self._process.send(signal.SIGTERM)
        self._note(replace(self.record, kill_at=kill_at, life=replace(self.record.life, stopping=True)))
        self._kill_after(grace)

    def abandon(self) -> None:
        self.task.cancel()

    def _kill_after(self, seconds: float) -> None:
        if self._kill is not None:
            self._kill.cancel()
        if self._process is not None:
            loop = asyncio.get_running_loop()
            self._kill = loop.call_later(max(0.0, seconds), self._process.send, signal.SIGKILL)

    def _note(self, record: Record) -> None:
        self.record = record
        self._records.write(record)

    async def _attend(self) -> None:
        minding = [asyncio.create_task(self._mind_output()), asyncio.create_task(self._mind_memory())]
        try:
            how = await self._end()
        finally:
            for each in minding:
                each.cancel()
            self._forget_process()
        how = self._killed or how
        self._look()
        life = self.record.life
        said = "" if self._killed or how in _SAYS_IT_ALL else last_line(Path(life.log))
        self._records.remove(life.id, life.epoch)
        self._tell(Exited(life, f"{how}: {said}" if said else how))

    async def _end(self) -> str:
        """Wait for the leader's end, then make an end of its group, and only then let go of its pid."""
        life = self.record.life
        if self._process is None:
            if life.pid is not None and self.record.boot == boot_id() and not exists(life.pid):
                await end_group(life.pid, _mark(life.id, life.epoch))
            return "ended while no agent watched"
        await self._process.ended()
        whole = await end_group(self._process.pid)
        how = await self._process.reap()
        reap_orphans(self._process.pid)
        return how if whole else f"{how}, and left processes that SIGKILL does not end"

    async def _mind_output(self) -> None:
        wait = _FIRST_LOOK_S
        while not self.record.life.url:
            self._look()
            await asyncio.sleep(wait)
            wait = min(wait * 1.5, _SLOWEST_LOOK_S)
        while True:
            turn_over(Path(self.record.life.log), self._log_limit)
            await asyncio.sleep(_TURN_OVER_S)

    async def _mind_memory(self) -> None:
        limit = self.record.grant.memory
        if limit and self._process is not None:
            self._killed = await too_much(self._process.pid, limit)
            self._process.send(signal.SIGKILL)

    def _look(self) -> None:
        life = self.record.life
        if life.url or not Path(life.log).exists():
            return
        found = announcement(Path(life.log), life.epoch)
        if found is not None:
            self._note(replace(self.record, life=replace(life, url=found.url, events=found.events)))
            self._tell(Announced(self.record.life))

    def _forget_process(self) -> None:
        if self._kill is not None:
            self._kill.cancel()
        if self._process is not None:
            self._process.close()


def _mark(id: str, epoch: str) -> str:
    return f"{LIFE_VARIABLE}={id}/{epoch}"


def _hold(pid: int, ticks: int | None) -> Process | None:
    """The process, if it still is the one that was recorded. Held first and then compared, so none can slip in."""
    try:
        process = Process(pid)
    except ProcessLookupError:
        return None
    if ticks is not None and start_ticks(pid) == ticks:
        return process
    process.close()
    return None


def _spawn(spec: ReplicaSpec, env: dict[str, str], log: Path) -> int:
    """Start it and give its pid; it is reaped by `Process.reap`. Raises OSError."""
    name, _, value = _mark(spec.id, spec.epoch).partition("=")
    stdin = _endless_stdin()
    with log.open("ab") as output:
        try:
            popen = subprocess.Popen(
                spec.argv,
                stdin=stdin,
                stdout=output,
                stderr=output,
                env={**env, name: value},
                cwd=spec.cwd or None,
                start_new_session=True,
            )
        finally:
            os.close(stdin)
    popen.returncode = 0  # it must not reap: the status is wanted, and the pid kept, until the group is gone
    return popen.pid


def _gpus() -> list[str]:
    """As CUDA_VISIBLE_DEVICES names them: those that this process may see, or all that the driver of NVIDIA knows."""
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [name for each in visible.split(",") if (name := each.strip())]
    known = Path("/proc/driver/nvidia/gpus")
    return [str(number) for number, _ in enumerate(known.iterdir())] if known.is_dir() else []


def _told(grant: Grant) -> dict[str, str]:
    """The variables by which a replica learns of its GPUs; numbers are those of the bus, as `nvidia-smi` counts."""
    if not grant.gpus:
        return {}
    return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": ",".join(grant.gpus)}


def _endless_stdin() -> int:
    """A pipe opened for reading and writing at once: who holds it alone never reads an end of file from it. Our other
    processes take that end for their parent's, and a replica may outlive its agent."""
    reading, writing = os.pipe()
    try:
        return os.open(f"/proc/self/fd/{reading}", os.O_RDWR)
    finally:
        os.close(reading)
        os.close(writing)


async def stop_all(home: Path, grace: float) -> tuple[Life, ...]:
    """End every replica that records of this home tell of, for `colonnade down` when no agent is there to do it.
    Returns the lives that were still running."""
    driver = LocalDriver(home)
    await driver.open()
    try:
        lives = await driver.list()
        await asyncio.gather(*(driver.stop(life.id, life.epoch, grace) for life in lives))
    finally:
        await driver.close()
    return lives
