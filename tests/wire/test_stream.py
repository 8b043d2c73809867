"""The stream's words: ids, lines, blocks, and a reader that no split and no garbage disturbs."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.wire import stream
from colonnade.wire.stream import Event, EventId, EventReader

EPOCHS = st.text("abcxyz0189", min_size=1, max_size=32)
IDS = st.lists(st.tuples(st.integers(0, 10**9 - 1), st.booleans()), min_size=1, max_size=4).flatmap(
    lambda marks: EPOCHS.map(lambda epoch: EventId(epoch, tuple(m[0] for m in marks), tuple(m[1] for m in marks)))
)
LINES = st.one_of(
    st.builds(stream.tokens_line, st.integers(0, 9), st.lists(st.integers(0, 10**6), min_size=1, max_size=4)),
    st.builds(stream.usage_line, *[st.integers(0, 10**6)] * 3),
    st.just(stream.KEEP_ALIVE),
)
DATA = st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]), min_size=1).map(str.encode)
BLOCKS = st.tuples(
    st.lists(LINES, max_size=4).map(b"".join),
    st.builds(stream.event, DATA, st.none() | IDS, st.sampled_from(["", "message_start"])),
).map(b"".join)
STREAMS = st.lists(BLOCKS, max_size=6).map(lambda blocks: b"".join([*blocks, stream.DONE]))
GARBAGE = st.lists(
    st.one_of(
        st.binary(max_size=6),
        st.sampled_from(
            [
                b"\n",
                b"\r",
                b"\r\n",
                b"\n\n",
                b"data:",
                b"id: x/1",
                b": tokens ",
                b": usage prompt=",
                b":",
                b"\xef\xbb\xbf",
            ]
        ),
    ),
    max_size=20,
).map(b"".join)


def read(chunks: list[bytes]) -> list[Event]:
    reader = EventReader()
    return [event for chunk in chunks for event in reader.feed(chunk)]


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]  # some of them empty


@given(IDS)
def test_an_id_is_read_back(event_id: EventId) -> None:
    assert EventId.parse(str(event_id)) == event_id


def test_an_id_as_written() -> None:
    assert str(EventId("7k3f9a", (3, 12), (False, True))) == "7k3f9a/3,12f"


@pytest.mark.parametrize(
    "text", ["", "7k", "7k/", "7k/x", "7K/1", "7k/1,", "7k/-1", "7k/1f2", "7k/1 2", "7k/٣", "7k/1\n2"]
)
def test_what_is_no_id_is_none(text: str) -> None:
    assert EventId.parse(text) is None


@given(st.text(max_size=50))
def test_any_text_is_an_id_or_none(text: str) -> None:
    parsed = EventId.parse(text)
    assert parsed is None or EventId.parse(str(parsed)) == parsed


@given(STREAMS, st.lists(st.integers(0), max_size=12))
def test_any_split_gives_the_same_events(data: bytes, cuts: list[int]) -> None:
    assert read(split(data, cuts)) == read([data]) == read([data[i : i + 1] for i in range(len(data))])


@given(GARBAGE, st.lists(st.integers(0), max_size=12))
def test_garbage_never_raises_and_splits_alike(data: bytes, cuts: list[int]) -> None:
    whole = read([data])
    assert read(split(data, cuts)) == whole
    for event in whole:
        list(event.tokens())
        event.usage()


@given(STREAMS)
def test_line_ends_do_not_matter(data: bytes) -> None:
    assert read([data]) == read([data.replace(b"\n", b"\r\n")]) == read([data.replace(b"\n", b"\r")])


@given(STREAMS)
def test_what_is_written_has_no_block_without_data_and_no_id_without_data(data: bytes) -> None:
    *blocks, rest = data.split(b"\n\n")
    assert rest == b""
    for block in blocks:
        lines = block.split(b"\n")
        assert lines[-1].startswith(b"data: ")
        assert sum(line.startswith(b"data:") for line in lines) == 1
        assert all(line.startswith((b":", b"id: ", b"event: ")) for line in lines[:-1])


def test_what_a_block_carries() -> None:
    block = stream.usage_line(31, 12, 0) + stream.tokens_line(0, [512]) + stream.KEEP_ALIVE
    block += stream.tokens_line(1, [88, 91]) + stream.event(b'{"a":1}', EventId("e", (1, 2), (False, True)), "delta")
    (event,) = read([block])
    assert (event.data, event.id, event.name) == ('{"a":1}', "e/1,2f", "delta")
    assert list(event.tokens()) == [(0, [512]), (1, [88, 91])]
    assert event.usage() == {"prompt": 31, "cached": 12, "completion": 0}


def test_the_last_usage_counts_and_there_may_be_none() -> None:
    first, last = stream.usage_line(3, 0, 0), stream.usage_line(3, 0, 9)
    (event,) = read([first + last + stream.event(b"x")])
    assert event.usage() == {"prompt": 3, "cached": 0, "completion": 9}
    assert Event().usage() is None


@pytest.mark.parametrize("comment", ["tokens", "tokens x", "tokens 0", "tokens 0 1 x", "tokens  0 1", "tokensy 0 1"])
def test_a_comment_that_is_not_quite_a_tokens_line_is_a_comment(comment: str) -> None:
    assert list(Event(comments=[comment]).tokens()) == []


@pytest.mark.parametrize("comment", ["usage", "usage prompt", "usage prompt=x", "usage prompt=1 ", "usages prompt=1"])
def test_a_comment_that_is_not_quite_a_usage_line_is_a_comment(comment: str) -> None:
    assert Event(comments=[comment]).usage() is None


def test_several_data_lines_are_one_text_and_unknown_fields_are_ignored() -> None:
    (event,) = read([b"retry: 5\ndata: a\ndata:b\nnonsense\n\n"])
    assert event.data == "a\nb"


def test_a_block_without_data_is_seen_by_us_and_an_empty_one_is_not() -> None:
    assert [event.comments for event in read([b": only\n\n\n\nid: e/1\n\n"])] == [["only"], []]


def test_bytes_that_are_not_text_are_replaced() -> None:
    assert [event.data for event in read([b"data: \xff\n\n"])] == ["\ufffd"]
