"""The fingerprint follows the bytes of weights and config, the kernels and the device; digests are remembered."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from colonnade.engine.fingerprint import fingerprint


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"weights")
    return path


def test_equal_content_gives_an_equal_fingerprint(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "copy" / file.name
    other.parent.mkdir()
    other.write_bytes(file.read_bytes())
    assert fingerprint([file], "native-avx2/1", "cpu") == fingerprint([other], "native-avx2/1", "cpu")
    assert len(fingerprint([file], "native-avx2/1", "cpu")) == 32


def test_each_part_counts(file: Path) -> None:
    first = fingerprint([file], "native-avx2/1", "cpu")
    others = [fingerprint([file], "native-avx2/2", "cpu"), fingerprint([file], "native-avx2/1", "cuda")]
    file.write_bytes(b"Weights")
    others.append(fingerprint([file], "native-avx2/1", "cpu"))
    assert len({first, *others}) == 4


def test_digests_are_remembered_by_path_size_and_time(file: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = fingerprint([file], "k", "cpu", cache)
    times = file.stat()
    file.write_bytes(b"WEIGHTS")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert fingerprint([file], "k", "cpu", cache) == first
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns + 1))
    assert fingerprint([file], "k", "cpu", cache) == fingerprint([file], "k", "cpu") != first


@pytest.mark.parametrize("content", ["", "{", "[]", '{"key": "another", "digest": "0"}'])
def test_a_broken_memory_is_made_anew(file: Path, tmp_path: Path, content: str) -> None:
    cache = tmp_path / "cache"
    first = fingerprint([file], "k", "cpu", cache)
    (memory,) = (cache / "digests").iterdir()
    memory.write_text(content, encoding="utf-8")
    assert fingerprint([file], "k", "cpu", cache) == first
    assert "digest" in memory.read_text(encoding="utf-8")
