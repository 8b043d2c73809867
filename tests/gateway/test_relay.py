"""Whole events only, however the bytes are cut."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.gateway.relay import EventSplitter, EventTooLarge
from colonnade.wire.stream import EventReader

streams = st.text(alphabet="ab:\r\n", max_size=60).map(str.encode)
lf_streams = st.lists(st.sampled_from([b"data: x\n", b": c\n", b"\n", b"id: 1\n", b"da"]), max_size=30).map(b"".join)
cuts = st.lists(st.integers(0, 60), max_size=12)


def pieces(stream: bytes, cuts: list[int]) -> list[bytes]:
    marks = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    return [stream[a:b] for a, b in pairwise(marks)]


def whole_part(stream: bytes) -> bytes:
    """Up to the last empty line, read line by line: the definition."""
    end = at = 0
    for line in re.findall(rb"[^\r\n]*(?:\r\n|\n|\r)", stream):
        at += len(line)
        if not line.strip(b"\r\n"):
            end = at
    return stream[:end]


@given(streams | lf_streams, cuts)
def test_any_split_gives_the_same_whole_events(stream: bytes, cuts: list[int]) -> None:
    splitter = EventSplitter(1000)
    out = b"".join(splitter.feed(piece) for piece in pieces(stream, cuts)) + splitter.close()
    assert out == whole_part(stream)


@given(streams | lf_streams, cuts)
def test_what_went_out_is_always_whole(stream: bytes, cuts: list[int]) -> None:
    splitter = EventSplitter(1000)
    for piece in pieces(stream, cuts):
        out = splitter.feed(piece)
        assert whole_part(out) == out
        assert splitter.held <= len(stream)
    events = EventReader().feed(whole_part(stream) + b"x")
    again = EventSplitter(1000)
    relayed = b"".join(again.feed(piece) for piece in pieces(stream, cuts)) + again.close()
    assert EventReader().feed(relayed + b"x") == events


def test_an_event_is_bounded() -> None:
    splitter = EventSplitter(10)
    assert splitter.feed(b"data: 12\n\ndata: 12") == b"data: 12\n\n"
    with pytest.raises(EventTooLarge):
        splitter.feed(b"345")


def test_a_long_event_in_small_pieces_is_not_read_again_and_again() -> None:
    splitter = EventSplitter(1 << 20)
    for _ in range(1000):
        assert splitter.feed(b": tokens 0 1 2 3\n") == b""
    assert splitter._seen == splitter.held - 3
    assert len(splitter.feed(b"data: x\n\n")) == 17 * 1000 + 9
