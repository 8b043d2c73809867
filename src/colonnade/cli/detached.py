"""`up --detach`: the same `up` in a session of its own, watched until it is ready."""

from __future__ import annotations

import os
import subprocess
import sys

from colonnade.cli.announcing import PhaseEnded, Ready, decode
from colonnade.cli.child import tail
from colonnade.cli.greeting import Greeting
from colonnade.cli.home import Home
from colonnade.cli.phases import line_ended
from colonnade.cli.session import Session
from colonnade.wire.errors import SetupError
from colonnade.wire.settings import Resolved


def detached(session: Session, settings: Resolved, arguments: list[str]) -> Greeting:
    """Raises SetupError, with what it said last, when it ends before it is ready."""
    home = Home(settings.home)
    home.prepare()
    log = home.logs / "up.log"
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as pipe:
        process = _start(home, arguments, writing, log)
        for line in pipe:
            event = decode(line)
            if isinstance(event, Ready):
                process.returncode = 0  # it runs on, and is nobody's child once we are gone
                return event.greeting
            if not session.quiet:
                _show(event)
        process.wait()
    words = [line for line in tail(log, 12) if line.startswith(("error:", " hint:", "      "))]
    said = words or tail(log, 5)
    message = said[0].removeprefix("error: ") if said else "`colonnade up` ended before it was ready"
    hints = [line.removeprefix(" hint: ").strip() for line in said[1:]]
    raise SetupError(message, hint="\n".join([*hints, f"its log is {log}"]))


def _show(event: PhaseEnded) -> None:
    line_ended(event.title, event.seconds)


def _start(home: Home, arguments: list[str], writing: int, log: os.PathLike[str]) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-m", "colonnade.cli", "up", *arguments, "--home", str(home.path)]
    argv += ["--announce-fd", str(writing)]
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        return subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, pass_fds=(writing,), start_new_session=True
        )
    finally:
        os.close(output)
        os.close(writing)
