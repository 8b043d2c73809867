"""The state folder: what lies where, and who may read it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from colonnade.drivers.records import write_atomically
from colonnade.wire.errors import SetupError

T = TypeVar("T")


class UpRecord(msgspec.Struct, frozen=True):
    """A running `up`. `ticks` is the process's start time, so that a pid given out again is not taken for it."""

    pid: int
    ticks: int
    boot: str
    url: str = ""
    model: str = ""
    ready: bool = False
    children: dict[str, tuple[int, int]] = {}
    """By name: pid and start time."""


class ControlFile(msgspec.Struct, frozen=True):
    """Where the control plane listens, written by it."""

    url: str
    token: str
    pid: int = 0


@dataclass(frozen=True, slots=True)
class Home:
    path: Path

    @property
    def run(self) -> Path:
        return self.path / "run"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def trace_file(self) -> Path:
        return self.logs / "requests.jsonl"

    @property
    def key_file(self) -> Path:
        """The key of the machine's owner: shown by every `up`, used by `chat` and `bench`."""
        return self.run / "key"

    @property
    def control_file(self) -> Path:
        return self.run / "control.json"

    @property
    def up_file(self) -> Path:
        return self.run / "up.json"

    @property
    def lock_file(self) -> Path:
        return self.run / "up.lock"

    def prepare(self) -> None:
        """Make the folders, for their owner alone. Raises SetupError where that cannot be."""
        try:
            for folder in (self.path, self.run, self.logs):
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as cause:
            raise SetupError(
                f"cannot make the state folder {self.path}: {cause}", hint="--home DIR names another"
            ) from cause
        if not os.access(self.path, os.W_OK):
            raise SetupError(f"cannot write to the state folder {self.path}", hint="--home DIR names another")

    def key(self) -> str:
        """The local key; empty where there is none."""
        return _read(self.key_file).decode().strip()

    def keep_key(self, key: str) -> None:
        write_atomically(self.key_file, key.encode() + b"\n")

    def control(self) -> ControlFile | None:
        return _decoded(self.control_file, ControlFile)

    def up(self) -> UpRecord | None:
        return _decoded(self.up_file, UpRecord)

    def keep_up(self, record: UpRecord) -> None:
        write_atomically(self.up_file, msgspec.json.encode(record))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def _decoded(path: Path, kind: type[T]) -> T | None:
    """None where there is no such file; one of another version counts as none."""
    data = _read(path)
    try:
        return msgspec.json.decode(data, type=kind) if data else None
    except msgspec.DecodeError:
        return None
