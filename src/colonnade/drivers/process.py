"""One process of this machine, and the group it leads: who it is, when it ends, how it ended. Linux: pidfd and /proc.

A pid says little: the kernel gives it out again. (boot, pid, start time in clock ticks) names one process for good.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import struct
from contextlib import suppress
from pathlib import Path

_PIDFD_GET_INFO = 0xC040FF0B  # _IOWR(0xFF, 11, struct pidfd_info), linux/pidfd.h
_INFO_BYTES = 64
_INFO_EXIT = 1 << 3  # since Linux 6.15: the exit status, kept after somebody else reaped the process
_REAPED_LOOKS = 10
_REAPED_LOOK_S = 0.02


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def start_ticks(pid: int) -> int | None:
    """Clock ticks from boot to the process's start; None when it is gone, or dead and not reaped yet."""
    fields = _stat(pid)
    return None if fields is None or fields[0] in {"Z", "X"} else int(fields[19])


def exists(pid: int) -> bool:
    """Whether the number is taken. The kernel gives it to nobody while a group or session still goes by it."""
    return _stat(pid) is not None


def _stat(pid: int) -> list[str] | None:
    """/proc/PID/stat from the third field on: the second, the name in parentheses, may hold anything."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(")")[2].split()


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def members(leader: int, entry: str = "") -> list[int]:
    """Who is left, alive, of the process group and session that `leader` made for itself; with `entry`, only those
    that have this `NAME=value` in their environment."""
    found: list[int] = []
    for pid in _pids():
        fields = _stat(pid)
        alive = fields and fields[0] not in {"Z", "X"}
        if fields and alive and int(fields[2]) == int(fields[3]) == leader:
            found.append(pid)
    return [pid for pid in found if not entry or entry.encode() in _environment(pid)]


def find_by_environment(entry: str) -> int | None:
    """The session leader that was started with this `NAME=value` in its environment."""
    wanted = entry.encode()
    for pid in _pids():
        fields = _stat(pid)
        if fields and int(fields[3]) == pid and wanted in _environment(pid):
            return pid
    return None


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return []


def describe_status(status: int) -> str:
    """A wait status in words: `killed by signal 9 (SIGKILL)`, `exit 1`."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return f"killed by signal {number} ({_signal_name(number)})"
    return f"exit {os.waitstatus_to_exitcode(status)}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unnamed"


class Process:
    """A process held by a pidfd: what is asked of it goes to that one, never to a later holder of its pid."""

    def __init__(self, pid: int) -> None:
        """Raises ProcessLookupError when there is none."""
        self.pid = pid
        self._fd = os.pidfd_open(pid)
        self._ended: asyncio.Future[None] | None = None

    def send(self, number: signal.Signals) -> None:
        """A process that has ended already hears nothing, and that is no error."""
        if self._fd >= 0:
            try:
                signal.pidfd_send_signal(self._fd, number)
            except ProcessLookupError:
                return

    async def ended(self) -> None:
        """Returns when the process has ended, reaped or not. For one waiter at a time."""
        loop = asyncio.get_running_loop()
        self._ended = loop.create_future()
        loop.add_reader(self._fd, self._readable)
        try:
            await self._ended
        finally:
            loop.remove_reader(self._fd)

    def _readable(self) -> None:
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

    async def reap(self) -> str:
        """How it ended, after `ended`. Of another's child newer kernels tell, once its parent has reaped it."""
        status = self._status_of_own()
        if status is None:
            status = await self._status_of_another()
        return "ended, exit status unknown" if status is None else describe_status(status)

    def _status_of_own(self) -> int | None:
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            return None
        return status if pid else None

    async def _status_of_another(self) -> int | None:
        for _ in range(_REAPED_LOOKS):
            status = self._status_kept_by_kernel()
            if status is not None:
                return status
            await asyncio.sleep(_REAPED_LOOK_S)
        return None

    def _status_kept_by_kernel(self) -> int | None:
        info = bytearray(_INFO_BYTES)
        struct.pack_into("Q", info, 0, _INFO_EXIT)
        try:
            fcntl.ioctl(self._fd, _PIDFD_GET_INFO, info)
        except OSError:  # an older kernel
            return None
        known = struct.unpack_from("Q", info, 0)[0] & _INFO_EXIT
        return struct.unpack_from("i", info, _INFO_BYTES - 4)[0] if known else None

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


async def end_group(leader: int, entry: str = "", within: float = 5.0) -> bool:
    """Kill what is left (`members`) of the group that `leader`, itself ended, had made; True when all of it is gone."""
    try:
        async with asyncio.timeout(within):
            while left := members(leader, entry):
                await asyncio.gather(*(_kill(pid) for pid in left))
    except TimeoutError:
        return False
    return True


def reap_orphans(group: int) -> None:
    """Those of an ended group that became our children when their own parent ended: of a subreaper, see `zygotes`."""
    with suppress(ChildProcessError):
        while os.waitpid(-group, os.WNOHANG)[0]:
            continue


async def _kill(pid: int) -> None:
    try:
        process = Process(pid)
    except ProcessLookupError:
        return
    try:
        process.send(signal.SIGKILL)
        await process.ended()
    finally:
        process.close()
