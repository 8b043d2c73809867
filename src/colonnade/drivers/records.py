"""What the local driver must know of a life after its own end: one JSON file a life, replaced whole or not at all."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import msgspec

from colonnade.drivers.base import Life
from colonnade.drivers.grants import Grant
from colonnade.wire.errors import SetupError


class Record(msgspec.Struct, frozen=True):
    """`ticks` is None from before the process is started until it is known."""

    life: Life
    argv: tuple[str, ...]
    boot: str
    ticks: int | None = None
    grant: Grant = Grant()
    kill_at: float | None = None  # Unix seconds: it was told to stop, and is killed then


class RecordBook:
    """The records in a folder. The file's name is for people; what counts is inside."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def write(self, record: Record) -> None:
        write_atomically(self._path(record.life.id, record.life.epoch), msgspec.json.encode(record))

    def remove(self, id: str, epoch: str) -> None:
        self._path(id, epoch).unlink(missing_ok=True)

    def read(self) -> list[Record]:
        """Raises SetupError for what is no record: none is written by halves, so somebody else wrote it."""
        return [_decode(path) for path in sorted(self._folder.glob("*.json"))]

    def _path(self, id: str, epoch: str) -> Path:
        return self._folder / f"{id}.{epoch}.json"


def _decode(path: Path) -> Record:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Record)
    except msgspec.DecodeError as error:
        hint = "end the replica that it was for, if it still runs, and remove the file"
        raise SetupError(f"{path} is no record of a replica: {error}", hint=hint) from error


def write_atomically(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Readers see the old content or the new, also after a crash of the machine."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    file = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        os.write(file, content)
        os.fsync(file)
    finally:
        os.close(file)
    beside.replace(path)


class Lock:
    """Held as long as its process lives: the kernel lets go of it, however the process ends."""

    def __init__(self, path: Path, holder: str) -> None:
        """Raises SetupError when another process holds it."""
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._fd)
            hint = "`colonnade ps` shows what runs; --home DIR names another folder"
            raise SetupError(f"{holder} runs in this home already ({path} is locked)", hint=hint) from error

    def release(self) -> None:
        os.close(self._fd)
