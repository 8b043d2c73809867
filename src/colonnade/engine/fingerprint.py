"""The numerics fingerprint: outputs are promised equal within one.

It digests the weights and config.json byte for byte, the quantisation, the kernels with their version, and the device.
Digests of large files are remembered in `cache` by path, size and time of change.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

_BLOCK = 4 << 20


def fingerprint(
    files: Sequence[Path], kernels: str, device: str, cache: Path | None = None, quantisation: str = "none"
) -> str:
    """32 hexadecimal digits. `files`: the weights and the config; their names and order count too."""
    whole = hashlib.blake2b(digest_size=16)
    for file in files:
        whole.update(f"{file.name} {_digest(file, cache)}\n".encode())
    whole.update(f"{quantisation} {kernels} {device}".encode())
    return whole.hexdigest()


def _digest(file: Path, cache: Path | None) -> str:
    if cache is None:
        return _read(file)
    about = file.stat()
    key = f"{file.resolve()} {about.st_size} {about.st_mtime_ns}"
    memory = cache / "digests" / (hashlib.blake2b(key.encode(), digest_size=16).hexdigest() + ".json")
    known = _recall(memory, key)
    if known is None:
        known = _read(file)
        _remember(memory, key, known)
    return known


def _read(file: Path) -> str:
    content = hashlib.blake2b(digest_size=32)
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK):
            content.update(block)
    return content.hexdigest()


def _recall(memory: Path, key: str) -> str | None:
    """None for what is absent, half written or of another file."""
    try:
        entry = json.loads(memory.read_text(encoding="utf-8"))
        return str(entry["digest"]) if entry["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _remember(memory: Path, key: str, digest: str) -> None:
    memory.parent.mkdir(parents=True, exist_ok=True)
    fresh = memory.with_suffix(f".{os.getpid()}")
    fresh.write_text(json.dumps({"key": key, "digest": digest}), encoding="utf-8")
    fresh.replace(memory)
