"""The checker of streams: a good one passes, each broken rule is named."""

import msgspec
import pytest

from colonnade.wire.contract import violations
from colonnade.wire.errors import ReplicaLost
from colonnade.wire.stream import DONE, KEEP_ALIVE, EventId, event, tokens_line, usage_line


def at(*positions: int, finished: tuple[int, ...] = (), epoch: str = "e1") -> EventId:
    return EventId(epoch, positions, tuple(choice in finished for choice in range(len(positions))))


FIRST = usage_line(5, 2, 0) + event(b'{"role":1}', at(0, 0))
SECOND = tokens_line(0, [7]) + KEEP_ALIVE + tokens_line(0, [8, 9]) + tokens_line(1, [4]) + event(b'"ab"', at(3, 1))
LAST = tokens_line(1, [2]) + usage_line(5, 2, 5) + event(b'"c"', at(3, 2, finished=(0, 1)), "delta")
GOOD = FIRST + SECOND + LAST + DONE
ERROR = event(b'{"error":{"code":"replica_lost"}}')


@pytest.mark.parametrize("stream", [GOOD, FIRST + SECOND + ERROR, ERROR, DONE])
def test_a_stream_that_keeps_the_contract(stream: bytes) -> None:
    assert violations(stream) == []


def test_the_rest_of_a_stream_goes_on_from_its_event() -> None:
    assert violations(SECOND + LAST + DONE, after=at(0, 0)) == []
    assert violations(LAST + DONE, after=at(3, 1)) == []
    assert violations(LAST + DONE, after=at(2, 1)) != []


@pytest.mark.parametrize(
    ("stream", "wrong"),
    [
        (b"", "ends"),
        (GOOD[:-1], "inside a block"),
        (FIRST + SECOND + LAST, "neither"),
        (GOOD + DONE, "follows the end"),
        (FIRST + b":\n\n" + SECOND + LAST + DONE, "block 1: no data"),
        (FIRST + b"\n\n" + SECOND + LAST + DONE, "no data"),
        (FIRST + b"id: e1/0,0\n\n" + DONE, "block 1: no data"),
        (b"data: 1\nid: e1/0\n\n" + DONE, "fields are data, id"),
        (b"data: 1\n: late\n\n" + DONE, "a comment after a field"),
        (event(b"1") + DONE, "'' is not an id"),
        (FIRST + tokens_line(0, [7]) + event(b"1", at(2, 0)) + DONE, "id says e1/2,0"),
        (FIRST + event(b"1", at(0)) + DONE, "does not go on"),
        (FIRST + usage_line(5, 2, 9) + event(b"1", at(0, 0)) + DONE, "usage says"),
        (FIRST + event(b"1", at(0, 0, finished=(0,))) + event(b"1", at(0, 0)) + DONE, "goes on after its end"),
        (event(b"1", at(0)) + DONE, "no usage in the first block"),
        (FIRST + event(b"1", at(0, 0)) + DONE, "no usage in the last block"),
        (FIRST + event(b'{"error":{}}', at(0, 0)), "an end with an id"),
    ],
)
def test_each_broken_rule_is_named(stream: bytes, wrong: str) -> None:
    assert wrong in " ".join(violations(stream))


def test_a_stream_of_an_engine_that_tells_no_tokens() -> None:
    """Positions count events; usage may come at the end alone, and counts what it will."""
    first, last = event(b"1", at(1, 0)), usage_line(5, 0, 9) + event(b"2", at(2, 1, finished=(0, 1)))
    assert violations(first + last + DONE, told=False) == []
    assert "no usage in the last" in " ".join(violations(first + DONE, told=False))
    assert "falls behind" in " ".join(violations(last + first + last + DONE, told=False))
    told = tokens_line(0, [7]) + usage_line(5, 0, 9) + event(b"2", at(2, 1))
    assert "a tokens line" in " ".join(violations(first + told + DONE, told=False))


def test_data_need_not_be_json() -> None:
    assert violations(usage_line(1, 0, 0) + event(b"plain", at(0)) + DONE) == []


def test_an_error_of_the_tree_ends_a_stream() -> None:
    data = msgspec.json.encode(ReplicaLost("gone").envelope("req_1"))
    assert violations(FIRST + event(data)) == []
