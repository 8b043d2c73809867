"""An environment of its own for each peer: `uv` where there is one, else `venv` and `pip`. Made once, and kept."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from colonnade.wire.errors import SetupError

_MADE = "packages.txt"
"""In the environment, once it is whole: what is in it."""


class Unavailable(SetupError):
    """A peer cannot be had here; `message` says why. Never ends a run: it becomes the peer's row."""


def python(folder: Path, packages: tuple[str, ...], timeout: float) -> Path:
    """The interpreter of the environment in `folder`, made if it is not there. Raises Unavailable."""
    made, wanted = folder / _MADE, "\n".join(packages) + "\n"
    interpreter = folder / "bin/python"
    if made.is_file() and made.read_text() == wanted:
        return interpreter
    shutil.rmtree(folder, ignore_errors=True)
    for command in _commands(folder, interpreter, packages):
        _run(command, timeout)
    made.write_text(wanted)
    return interpreter


def _commands(folder: Path, interpreter: Path, packages: tuple[str, ...]) -> list[list[str]]:
    if uv := shutil.which("uv"):
        make = [uv, "venv", "--quiet", "--python", sys.executable, str(folder)]
        return [make, [uv, "pip", "install", "--quiet", "--python", str(interpreter), *packages]]
    make = [sys.executable, "-m", "venv", str(folder)]
    return [make, [str(interpreter), "-m", "pip", "install", "--quiet", *packages]]


def _run(command: list[str], timeout: float) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired as cause:
        raise Unavailable(f"its packages took longer than {timeout:g} s", hint="raise --timeout") from cause
    if done.returncode:
        raise Unavailable(f"its packages cannot be installed: {last_line(done.stderr)}")


def last_line(text: str) -> str:
    """What a program said last, shortened."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return (lines[-1] if lines else "it said nothing")[:300]
