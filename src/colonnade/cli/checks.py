"""What `doctor` looks at. A check that finds nothing wrong says what it saw; every other one has a fix."""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from colonnade.cli.address import check_free
from colonnade.cli.home import Home
from colonnade.cli.running import children, running_up
from colonnade.cli.session import Session
from colonnade.engine.kernels.choice import native_built
from colonnade.wire.errors import ColonnadeError, SetupError
from colonnade.wire.settings import Resolved

OLDEST_PYTHON = (3, 11)
MEMORY_WARN, MEMORY_FAIL = 2 << 30, 512 << 20
DISK_WARN, DISK_FAIL = 2 << 30, 200 << 20
FILES = 4096
BUILT = 1_750_000_000
"""Unix seconds, mid 2025: a clock that says less is wrong."""


class Finding(msgspec.Struct, frozen=True):
    check: str
    status: Literal["ok", "warn", "fail"]
    found: str
    fix: str = ""
    figures: dict[str, int] = {}


def examine(session: Session) -> list[Finding]:
    """All checks, in order; a setting that is wrong is a finding, and ends what needs settings."""
    found = [python(), compiler(), kernels(), cores(), memory(), open_files(), clock()]
    try:
        settings = session.settings()
    except ColonnadeError as error:
        return [*found, Finding("settings", "fail", error.message, error.hint or "`colonnade config show --origin`")]
    home = Home(settings.home)
    return [*found, Finding("settings", "ok", "all valid"), *folder(home), disk(home.path), *running(home, settings)]


def python() -> Finding:
    found = f"{platform.python_version()} at {sys.executable}"
    if sys.version_info < OLDEST_PYTHON:
        return Finding("python", "fail", found, "Python 3.11 or newer")
    return Finding("python", "ok", found)


def compiler() -> Finding:
    path = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if path is None:
        fix = "install g++ (Debian, Ubuntu: `apt install g++`), then install colonnade again"
        return Finding("compiler", "warn", "no C++ compiler: native kernels cannot be built here", fix)
    return Finding("compiler", "ok", path)


def kernels() -> Finding:
    if not native_built():
        fix = "with a C++ compiler, install colonnade again; until then models run on the slower torch reference"
        return Finding("kernels", "warn", "no native kernels were built", fix)
    native = importlib.import_module("colonnade.engine.kernels._native")
    return Finding("kernels", "ok", f"native, {'AVX2' if native.has_avx2() else 'portable'}")


def cores() -> Finding:
    usable = len(os.sched_getaffinity(0))
    busy = os.getloadavg()[0]
    found = f"{usable} usable, load {busy:.1f}"
    if busy > usable:
        return Finding("cores", "warn", found, "something else uses this machine: measurements will not repeat")
    return Finding("cores", "ok", found)


def memory() -> Finding:
    free = _available_memory()
    if free is None:
        return Finding("memory", "warn", "unknown: no /proc/meminfo", "check by hand that the model fits")
    return _amount("memory", free, "available", MEMORY_WARN, MEMORY_FAIL, "free some memory, or take a smaller model")


def disk(path: Path) -> Finding:
    free = shutil.disk_usage(_existing(path)).free
    fix = f"free some space on the disk of {path}, or name another folder with --home"
    return _amount("disk", free, f"free for {path}", DISK_WARN, DISK_FAIL, fix)


def open_files() -> Finding:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < FILES and soft != resource.RLIM_INFINITY:
        return Finding(
            "open files", "warn", f"at most {soft}", f"`ulimit -n {min(hard, 65536)}`: a connection is a file"
        )
    return Finding("open files", "ok", f"at most {soft}")


def clock() -> Finding:
    now = time.time()
    if now < BUILT:
        return Finding(
            "clock", "fail", f"says {time.ctime(now)}", "set it (`timedatectl set-ntp true`): answers carry it"
        )
    return Finding("clock", "ok", time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now)))


def folder(home: Home) -> Iterator[Finding]:
    """The state folder and what must be its owner's alone."""
    if not home.path.exists():
        writable = os.access(_existing(home.path), os.W_OK)
        fix = "" if writable else "name a folder that you may write with --home or COLONNADE_HOME"
        yield Finding("home", "ok" if writable else "fail", f"{home.path} does not exist yet", fix)
        return
    if not os.access(home.path, os.W_OK | os.X_OK):
        yield Finding("home", "fail", f"{home.path} cannot be written", "name another with --home or COLONNADE_HOME")
        return
    open_to_others = [
        path for path in (home.path, home.run, home.key_file, home.control_file) if _readable_by_others(path)
    ]
    if open_to_others:
        names = " ".join(map(str, open_to_others))
        yield Finding("home", "warn", f"others may read {names}", f"chmod go-rwx {names}")
    else:
        yield Finding("home", "ok", f"{home.path}, its owner's alone")


def running(home: Home, settings: Resolved) -> Iterator[Finding]:
    up = running_up(home)
    if up is not None:
        yield Finding("up", "ok", f"runs as pid {up.pid} at {up.url or 'no URL yet'}")
        yield _gateway(up.url)
        return
    left = children(home)
    if left:
        names = ", ".join(f"{each.name} (pid {each.pid})" for each in left)
        yield Finding("up", "warn", f"not running, but left behind: {names}", "`colonnade down` ends them")
    else:
        yield Finding("up", "ok", "not running")
    yield port(settings)


def port(settings: Resolved) -> Finding:
    where = f"{settings.gateway.host}:{settings.gateway.port}"
    try:
        check_free(settings)
    except SetupError as error:
        return Finding("port", "fail", error.message, error.hint)
    return Finding("port", "ok", f"{where} is free")


def _gateway(url: str) -> Finding:
    from colonnade.cli.waiting import status_of

    status = status_of(url, "/ready") if url else 0
    if status == 200:
        return Finding("gateway", "ok", f"{url} is ready")
    found = f"{url} answers {status}" if status else f"{url} does not answer"
    return Finding("gateway", "fail", found, "`colonnade ps` and `colonnade logs gateway` say why")


def _amount(check: str, value: int, what: str, warn: int, fail: int, fix: str) -> Finding:
    found = f"{value / (1 << 30):.1f} GiB {what}"
    if value < fail:
        return Finding(check, "fail", found, fix)
    return Finding(check, "warn", found, fix) if value < warn else Finding(check, "ok", found)


def _available_memory() -> int | None:
    """Bytes that can be had without swapping."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:")), None)


def _existing(path: Path) -> Path:
    """The path, or the nearest folder above it that exists."""
    return next(each for each in (path, *path.absolute().parents) if each.exists())


def _readable_by_others(path: Path) -> bool:
    return path.exists() and bool(stat.S_IMODE(path.stat().st_mode) & (stat.S_IRWXG | stat.S_IRWXO))
