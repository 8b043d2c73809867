"""The hub's own cache (HF_HOME), as huggingface_hub lays it out, so that other programs share it.

    models--org--name/blobs/ETAG              a file's content; ETAG.partial while it comes
                      snapshots/COMMIT/NAME   a link to it
                      refs/REVISION           the commit

Beside it, in the state folder, a note for each reference that was fetched whole: with it a start needs no network, and
no digest is taken twice.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
from huggingface_hub import constants
from huggingface_hub.file_download import repo_folder_name

from colonnade.engine.hub.faults import full
from colonnade.engine.hub.listing import RemoteFile
from colonnade.engine.hub.reference import Reference

_BLOCK = 4 << 20
MARGIN = 64 << 20
"""Bytes left free, for all else that lives on the disk."""


class Note(msgspec.Struct, frozen=True):
    """What lies in `folder`, and was compared with the hub's digests: sizes by name."""

    commit: str
    folder: str
    files: dict[str, int]


class Store:
    def __init__(self, reference: Reference, state: Path) -> None:
        """`state`: the folder for notes."""
        self.root = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=reference.repo, repo_type="model")
        self._reference = reference
        self._note = state / f"{reference.slug}.json"

    def recall(self) -> Path | None:
        """The folder that was fetched whole, where it still is so."""
        try:
            note = msgspec.json.decode(self._note.read_bytes(), type=Note)
        except (OSError, msgspec.DecodeError):
            return None
        folder = Path(note.folder)
        here = folder == self.snapshot(note.commit)
        return folder if here and all(_size(folder / name) == size for name, size in note.files.items()) else None

    def remember(self, commit: str, files: Iterable[RemoteFile]) -> Path:
        """Raises OSError."""
        folder = self.snapshot(commit)
        _write(self.root / "refs" / self._reference.revision, commit.encode())
        note = Note(commit, str(folder), {file.name: file.size for file in files})
        _write(self._note, msgspec.json.encode(note))
        return folder

    def kept(self) -> Path | None:
        """What another program fetched for this reference, whole or not."""
        ref = self.root / "refs" / self._reference.revision
        commit = ref.read_text(encoding="ascii").strip() if ref.is_file() else self._reference.revision
        folder = self.snapshot(commit)
        return folder if folder.is_dir() else None

    def snapshot(self, commit: str) -> Path:
        return self.root / "snapshots" / commit

    def blob(self, etag: str) -> Path:
        return self.root / "blobs" / etag

    def lock(self, etag: str) -> Path:
        """The one that huggingface_hub takes for this content."""
        path = self.root.parent / ".locks" / self.root.name / f"{etag}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def link(self, commit: str, name: str, etag: str) -> Path:
        """Give the content its name. Again, or from two processes at once: nothing happens."""
        pointer, blob = self.snapshot(commit) / name, self.blob(etag)
        pointer.parent.mkdir(parents=True, exist_ok=True)
        fresh = pointer.with_name(f".{pointer.name}.{os.getpid()}")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(os.path.relpath(blob, pointer.parent))
        fresh.replace(pointer)
        return pointer

    def make_room(self, commit: str, files: Iterable[RemoteFile]) -> None:
        """Raises SetupError where what is still to come does not fit on the disk."""
        self.root.mkdir(parents=True, exist_ok=True)
        missing = [file for file in files if _size(self.snapshot(commit) / file.name) != file.size]
        needed = sum(file.size - (_size(partial(self.blob(file.digest))) or 0) for file in missing)
        free = shutil.disk_usage(self.root).free
        if needed and needed + MARGIN > free:
            raise full(needed + MARGIN, free, str(self.root))


def partial(blob: Path) -> Path:
    return blob.with_name(f"{blob.name}.partial")


def digest_of(path: Path, like: str, told: Callable[[int], None]) -> str:
    """In the kind of `like`: SHA-256, or git's SHA-1 of a blob. `told` hears how many bytes were read."""
    content = hashlib.sha256() if len(like) == 64 else hashlib.sha1(f"blob {path.stat().st_size}\0".encode())
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            content.update(block)
            told(len(block))
    return content.hexdigest()


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_bytes(content)
    fresh.replace(path)
