"""Frames: any split of the bytes gives the same ones; garbage is told from them."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colonnade.chains import frames
from colonnade.chains.frames import CUT, HEAD, MARK, SCRATCH, Frame, FrameReader, Kind, encode
from colonnade.wire.errors import InvalidRequest, ReplicaLost

some = st.binary(max_size=40)
one = st.tuples(st.integers(1, 7), st.integers(0, 2**32 - 1), some, st.lists(some, max_size=4))
long = st.tuples(st.just(3), st.just(5), some, st.lists(st.sampled_from([b"", b"x" * SCRATCH, b"y" * 7]), max_size=3))


def plain(frame: Frame) -> tuple:
    return (frame.kind, frame.stream, bytes(frame.meta), [bytes(part) for part in frame.parts])


@settings(deadline=None)
@given(st.lists(one | long, max_size=6), st.lists(st.integers(0, 2 * SCRATCH), max_size=12))
def test_any_split_gives_the_same_frames(made: list, cuts: list[int]) -> None:
    wire = b"".join(part for each in made for part in encode(*each))
    reader = FrameReader()
    got: list[Frame] = []
    at = 0
    for cut in [*sorted(cut % (len(wire) + 1) for cut in cuts), len(wire)]:
        got += reader.feed(wire[at:cut])
        at = cut
    assert [plain(frame) for frame in got] == [(k, s, m, p) for k, s, m, p in made]


@settings(deadline=None)
@given(st.lists(one, min_size=1, max_size=3))
def test_byte_by_byte_too_and_parts_are_aligned(made: list) -> None:
    wire = b"".join(part for each in made for part in encode(*each))
    reader = FrameReader()
    got = [frame for index in range(len(wire)) for frame in reader.feed(wire[index : index + 1])]
    assert [plain(frame) for frame in got] == [(k, s, m, p) for k, s, m, p in made]
    whole = b"".join(encode(3, 1, b"meta", [b"abc", b"defg"]))
    assert (whole.index(b"abc") - HEAD.size) % 16 == (whole.index(b"defg") - HEAD.size) % 16 == 0


@pytest.mark.parametrize(
    "wire",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        HEAD.pack(0, 0, MARK, 0, 0, 0),
        HEAD.pack(0, 9, MARK, 0, 0, 0),
        HEAD.pack(0, 3, 0xC6, 0, 0, 0),
        HEAD.pack(0, 3, CUT, 0, 0, 0),
        HEAD.pack(4, Kind.MORE, MARK, 0, 5, 0),
        HEAD.pack(8, 3, CUT, 0, 5, 0) + HEAD.pack(4, Kind.MORE, MARK, 0, 6, 0),
        HEAD.pack(8, 3, CUT, 0, 5, 0) + HEAD.pack(0, Kind.MORE, MARK, 0, 5, 0),
        HEAD.pack(8, 3, CUT, 0, 5, 0) + HEAD.pack(9, Kind.MORE, MARK, 0, 5, 0),
        HEAD.pack(8, 3, CUT, 0, 5, 0) + HEAD.pack(4, Kind.MORE, CUT, 0, 5, 0),
        HEAD.pack(8, 3, CUT, 0, 5, 0) + HEAD.pack(0, 7, MARK, 0, 5, 0),
        HEAD.pack(8, 3, CUT, 0, 5, 0) + HEAD.pack((1 << 30) - 7, 3, CUT, 0, 6, 0),
        HEAD.pack(0, 1, MARK, 0, 0, 1),
        HEAD.pack(4, 1, MARK, 1, 0, 0) + struct.pack("<I", 5),
        HEAD.pack(20, 1, MARK, 1, 0, 0) + struct.pack("<I", 1) + bytes(16),
        HEAD.pack((1 << 30) + 1, 1, MARK, 0, 0, 0),
    ],
)
def test_garbage_is_told_from_frames(wire: bytes) -> None:
    with pytest.raises(ReplicaLost) as lost:
        FrameReader().feed(wire)
    assert lost.value.reason == "garbled"


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_do_no_harm(wire: bytes) -> None:
    """They are frames, or the connection is given up as garbled; nothing else comes of them."""
    reader, told, found = FrameReader(limit=1000), "", 0
    try:
        found = len(reader.feed(wire))
    except ReplicaLost as lost:
        told = lost.reason
    assert told in ("", "garbled")
    assert found * HEAD.size <= len(wire)


def test_what_is_too_large_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "LIMIT", 20)
    assert encode(3, 1, b"", [b"abc"])
    with pytest.raises(InvalidRequest):
        encode(3, 1, b"", [b"abcdefghijk"])
