"""What a package is, as one number: its files and nothing of when or where they were written."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

PASSED_OVER = frozenset({"__pycache__", ".git", ".venv", ".mypy_cache", ".ruff_cache", ".DS_Store"})
_BLOCK = 1 << 20
LENGTH = 16
"""Characters of a digest in names: 64 bits."""


def files_of(root: Path) -> Iterator[Path]:
    """Of a folder, in one order, or the one file itself. Links count as what they lead to."""
    if root.is_file():
        yield root
        return
    for place, folders, names in os.walk(root, followlinks=True):
        folders[:] = sorted(each for each in folders if each not in PASSED_OVER)
        yield from (Path(place) / name for name in sorted(names) if name not in PASSED_OVER)


def digest_of(root: Path) -> str:
    """Names, contents, and which of them may be executed."""
    whole = hashlib.sha256()
    for file in files_of(root):
        name = file.name if root.is_file() else file.relative_to(root).as_posix()
        runs = b"x" if os.access(file, os.X_OK) else b"-"
        whole.update(name.encode() + b"\0" + runs + file_digest(file).encode() + b"\n")
    return whole.hexdigest()[:LENGTH]


def file_digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def text_digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:LENGTH]
