"""Matrices of 8-bit integers as the kernels read them, kept in a file between two starts and mapped at the next.

The file: 8 bytes, the header's length as a little-endian integer; the header, JSON, `{key, check, matrices: [{rows,
columns, codes: [begin, end], scales: [begin, end]}]}`; the data, each part aligned to 64 bytes, offsets counted from
the file's start. `key` is a digest of the model and of this form, `check` one of the data: a file that is cut off,
changed or of another model counts as absent, and is written anew.
"""

from __future__ import annotations

import json
import logging
import os
import zlib
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

FORM = 1
"""Raised when the same model gives other bytes."""
_ALIGNED = 64
_log = logging.getLogger("colonnade.engine")

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]


class Kept(Protocol):
    @property
    def rows(self) -> int: ...
    @property
    def columns(self) -> int: ...
    @property
    def codes(self) -> Bytes: ...
    @property
    def scales(self) -> Floats: ...


class Repacked:
    """The matrices of one model, in the order in which the model asks for them. Without a file: none."""

    def __init__(self, file: Path | None = None, key: str = "") -> None:
        self._file = file
        self._key = f"{key} {FORM}"
        self._made: list[Kept] = []
        self._mapped, self._entries = _read(file, self._key) if file else (None, [])
        self.found = self._mapped is not None
        """Whether the file was there and whole."""

    def take(self, rows: int, columns: int) -> tuple[Bytes, Floats] | None:
        """Codes and scales of the next matrix, mapped; None where they must be made."""
        if self._mapped is None:
            return None
        entry = self._entries[len(self._made)]
        assert (entry["rows"], entry["columns"]) == (rows, columns), "one key is one model"
        codes, scales = (self._mapped[slice(*entry[name])] for name in ("codes", "scales"))
        return codes, scales.view(np.float32)

    def note(self, matrix: Kept) -> None:
        self._made.append(matrix)

    def save(self) -> None:
        """Writes what was made, if it was not found. A folder that cannot be written costs the next start time only."""
        if self._file is None or self.found or not self._made:
            return
        fresh = self._file.with_suffix(f".{os.getpid()}")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            _write(fresh, self._key, self._made)
            fresh.replace(self._file)
        except OSError as error:
            _log.warning("the 8-bit copy of the weights could not be kept: %s", error)
            _remove(fresh)
        self._made.clear()


def _parts(matrices: list[Kept]) -> Iterator[Bytes]:
    return chain.from_iterable((each.codes, each.scales.view(np.uint8)) for each in matrices)


def _write(file: Path, key: str, matrices: list[Kept]) -> None:
    header = _header(key, matrices)
    with file.open("wb") as stream:
        stream.write(len(header).to_bytes(8, "little") + header)
        for part in _parts(matrices):
            stream.write(bytes(-stream.tell() % _ALIGNED))
            part.tofile(stream)


def _header(key: str, matrices: list[Kept]) -> bytes:
    """Offsets need the header's length: it is padded to one that does not depend on them."""
    check = 0
    for part in _parts(matrices):
        check = _check(part, check)
    room = 256 + len(key) + 200 * len(matrices)
    at, entries = 8 + room, list[dict[str, Any]]()
    for each in matrices:
        entry: dict[str, Any] = {"rows": each.rows, "columns": each.columns}
        for name, part in (("codes", each.codes), ("scales", each.scales.view(np.uint8))):
            at += -at % _ALIGNED
            entry[name] = [at, at + part.nbytes]
            at += part.nbytes
        entries.append(entry)
    return json.dumps({"key": key, "check": check, "matrices": entries}).encode().ljust(room)


def _remove(file: Path) -> None:
    with suppress(OSError):
        file.unlink()


def _check(part: Bytes, before: int) -> int:
    return zlib.crc32(part.data, before)


def _read(file: Path, key: str) -> tuple[Bytes | None, list[dict[str, Any]]]:
    """The mapped file and its matrices; none for a file that is absent, not whole, or of another key."""
    try:
        mapped = np.memmap(file, np.uint8, "r")
        header = json.loads(bytes(mapped[8 : 8 + int.from_bytes(bytes(mapped[:8]), "little")]))
        if header["key"] != key:
            return None, []
        check = 0
        for begin, end in chain.from_iterable((each["codes"], each["scales"]) for each in header["matrices"]):
            check = _check(mapped[begin:end], check)
        if check != header["check"]:
            raise ValueError("its check fails")
        return np.asarray(mapped), header["matrices"]
    except FileNotFoundError:
        return None, []
    except (OSError, ValueError, KeyError, TypeError) as error:
        _log.warning("%s is not whole and is made anew: %s", file, error)
        return None, []
