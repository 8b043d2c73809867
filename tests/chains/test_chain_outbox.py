"""The outbox: calls take turns, long messages give pieces, each call keeps its order; and both ends of it together."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colonnade.chains import outbox
from colonnade.chains.frames import HEAD, SCRATCH, Frame, FrameReader, Kind, encode
from colonnade.chains.outbox import Outbox

PIECE = 100


@pytest.fixture(autouse=True)
def small_pieces() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outbox, "PIECE", PIECE)
        yield


def plain(frame: Frame) -> tuple:
    return (frame.kind, frame.stream, bytes(frame.meta), [bytes(part) for part in frame.parts])


part = st.one_of(st.binary(max_size=40), st.sampled_from([b"p" * PIECE, b"q" * 350, b"r" * SCRATCH]))
message = st.tuples(st.integers(1, 7), st.integers(0, 4), st.binary(max_size=150), st.lists(part, max_size=3))


@settings(deadline=None, max_examples=60)
@given(st.lists(message | st.none(), max_size=12), st.lists(st.integers(999, 2 * SCRATCH), min_size=1, max_size=9))
def test_whatever_order_it_takes_every_call_gets_its_messages_in_turn(made: list, cuts: list[int]) -> None:
    """None stands for a time when the socket takes something. The bytes are cut anywhere on their way."""
    waiting, wire = Outbox(), bytearray()

    def give() -> bool:
        piece = waiting.next()
        wire.extend(b"".join(piece or []))
        assert piece is None or sum(map(len, piece)) <= PIECE + 2 * HEAD.size
        return piece is not None

    for each in made:
        give() if each is None else waiting.put(each[1], encode(*each))
        assert waiting.weight >= 0
    while give():
        pass
    assert waiting.weight == 0
    reader = FrameReader()
    got: list[Frame] = []
    while wire:
        count = cuts[len(got) % len(cuts)]
        got += reader.feed(bytes(wire[:count]))
        del wire[:count]
    for stream in range(5):
        sent = [each for each in made if each is not None and each[1] == stream]
        assert [plain(frame) for frame in got if frame.stream == stream] == sent


def test_a_long_message_lets_others_pass_and_weighs_as_a_piece() -> None:
    waiting = Outbox()
    waiting.put(1, encode(Kind.CALL, 1, b"", [b"x" * 5 * PIECE]))
    assert waiting.weight == PIECE
    waiting.put(1, encode(Kind.CANCEL, 1))
    waiting.put(2, encode(Kind.CALL, 2, b"", [b"y"]))
    reader = FrameReader()
    came: list[tuple[int, int]] = []
    pieces = 0
    while piece := waiting.next():
        pieces += 1
        came += [(frame.kind, frame.stream) for frame in reader.feed(b"".join(piece))]
        assert pieces != 2 or came == [(Kind.CALL, 2)]
    assert came == [(Kind.CALL, 2), (Kind.CALL, 1), (Kind.CANCEL, 1)]
    assert pieces == 6 + 1 + 1


def test_what_is_begun_at_once_fits_into_the_readers_limit() -> None:
    limit = 500
    waiting, reader = Outbox(limit), FrameReader(limit)
    for stream in range(1, 5):
        waiting.put(stream, encode(Kind.CALL, stream, b"", [b"z" * 250]))
    came: list[int] = []
    while piece := waiting.next():
        came += [frame.stream for frame in reader.feed(b"".join(piece))]
    assert sorted(came) == [1, 2, 3, 4]


def test_nothing_is_copied_on_its_way_out() -> None:
    waiting, data = Outbox(), bytearray(3 * PIECE - 16)  # with what is before it, whole pieces
    waiting.put(1, encode(Kind.CALL, 1, b"", [memoryview(data)]))
    data[:] = b"n" * len(data)
    wire = b""
    while piece := waiting.next():
        wire += b"".join(piece)
    assert [bytes(part) for part in FrameReader().feed(wire)[0].parts] == [b"n" * len(data)]
