"""`colonnade logs`: what replicas and the processes of `up` said, from their files, running or not."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import click

from colonnade.cli.command import Command
from colonnade.cli.session import Session

LOOK_S = 0.2
"""Seconds between two looks at a file that is followed."""


def _complete(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    from colonnade.cli.session import session_of

    return [name for name in sources(session_of(context).home / "logs") if name.startswith(incomplete)]


@click.command(
    cls=Command,
    examples=(
        "colonnade logs  # whose logs there are",
        "colonnade logs colonnade-tiny-0 --follow",
        "colonnade logs gateway --lines 50",
    ),
)
@click.argument("source", metavar="[REPLICA]", required=False, shell_complete=_complete)
@click.option("--follow", "-f", is_flag=True, help="Go on as more is said, over restarts too.")
@click.option(
    "--lines", "-n", type=click.IntRange(0), default=100, show_default=True, help="Start with the last N lines."
)
@click.pass_obj
def logs(session: Session, source: str | None, follow: bool, lines: int) -> None:
    """Show what a replica or a process of `up` said.

    REPLICA is an id from `colonnade ps`, or control, agent, gateway, up. With --json one object a line.
    """
    from colonnade.wire.errors import NotFound

    folder = session.home / "logs"
    known = sources(folder)
    if source is None:
        session.listing(("source", "file"), [{"source": name, "file": str(folder / f"{name}.log")} for name in known])
        return
    if source not in known:
        raise NotFound(f"no log of {source!r} in {folder}", hint=f"there are: {', '.join(known) or 'none'}")
    path = folder / f"{source}.log"
    for line in last_lines(path, lines):
        _tell(session, source, line)
    if follow:
        for line in followed(path):
            _tell(session, source, line)


def sources(folder: Path) -> list[str]:
    """Everything that has a log; a replica once, by the link to its newest life."""
    logs = (path for path in folder.glob("*.log") if path.is_symlink() or path.name.count(".") == 1)
    return sorted(path.name.removesuffix(".log") for path in logs)


def last_lines(path: Path, count: int) -> list[str]:
    """Read from the end in blocks, so that a long log costs no more than a short one."""
    if count == 0:
        return []
    with path.open("rb") as file:
        position, tail = file.seek(0, os.SEEK_END), b""
        while position and tail.count(b"\n") <= count:
            step = min(position, 65536)
            position -= step
            file.seek(position)
            tail = file.read(step) + tail
    return [line.decode("utf-8", "replace") for line in tail.splitlines()[-count:]]


def followed(path: Path) -> Iterator[str]:
    """Whole lines from now on. A file that is replaced or cut is read from its start: a new life, or an old log put
    aside."""
    file, pending = path.open("rb"), b""
    try:
        file.seek(0, os.SEEK_END)
        while True:
            pending += file.read()
            *whole, pending = pending.split(b"\n")
            yield from (line.decode("utf-8", "replace") for line in whole)
            if not whole:
                time.sleep(LOOK_S)
            if _moved(path, file):
                file.close()
                file, pending = path.open("rb"), b""
    finally:
        file.close()


def _moved(path: Path, file: BinaryIO) -> bool:
    try:
        now, held = path.stat(), os.fstat(file.fileno())
    except FileNotFoundError:
        return False
    return now.st_ino != held.st_ino or now.st_size < file.tell()


def _tell(session: Session, source: str, line: str) -> None:
    if session.as_json:
        session.json({"source": source, "line": line})
    else:
        session.data(line)
