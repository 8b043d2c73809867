import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from colonnade.replica.chat import ChatShape
from colonnade.replica.choice import Piece, TokenLogprob
from colonnade.replica.completions import CompletionShape
from colonnade.replica.parts import Call, Text
from colonnade.replica.shape import Label, Shape, Usage
from colonnade.replica.writer import StreamWriter, WholeWriter, Written
from colonnade.wire.errors import ReplicaLost
from colonnade.wire.messages import Logprob
from colonnade.wire.stream import Event, EventId, EventReader

LABEL = Label("r1", 1700000000, "tiny", "print", lambda token: bytes([token]))


def usage(completion: int) -> Usage:
    return Usage(7, 3, completion)


def events(written: list[Written]) -> list[Event]:
    return EventReader().feed(b"".join(each.data for each in written))


def body(event: Event) -> dict[str, Any]:
    return json.loads(event.data)


def write(shape: Shape, pieces: list[tuple[int, Piece]], choices: int = 1) -> list[Event]:
    writer, out, count = StreamWriter(shape, "e1", choices), [], 0
    for index, piece in pieces:
        count += len(piece.tokens)
        out += writer.write(index, piece, usage(count))
    return events(out)


def test_a_chat_stream_block_by_block():
    pieces = [(0, Piece((5,))), (0, Piece((6,), (Text("Hé"),))), (0, Piece((2,), finish="stop"))]
    first, text, last, done = write(ChatShape(LABEL, False, None), pieces)
    assert first.comments == ["usage prompt=7 cached=3 completion=0"]
    assert first.id == "e1/0"
    assert body(first)["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert text.comments == ["tokens 0 5", "tokens 0 6"]
    assert text.id == "e1/2"
    assert body(text)["choices"][0]["delta"] == {"content": "Hé"}
    assert last.comments == ["tokens 0 2", "usage prompt=7 cached=3 completion=3"]
    assert last.id == "e1/3f"
    assert body(last)["choices"][0]["finish_reason"] == "stop"
    assert (done.data, done.id) == ("[DONE]", "")


def test_usage_stands_in_a_chunk_of_its_own_when_asked_for():
    for shape in (CompletionShape(LABEL, True, None), ChatShape(LABEL, True, None)):
        _check_usage(shape)


def _check_usage(shape: Shape) -> None:
    *before, finish, extra, done = write(shape, [(0, Piece((5,), (Text("a"),), finish="length"))])
    assert body(finish)["usage"] is None
    assert [*before, finish][0].comments[0] == "usage prompt=7 cached=3 completion=0"
    assert body(extra)["choices"] == []
    assert body(extra)["usage"]["total_tokens"] == 8
    assert extra.usage() == {"prompt": 7, "cached": 3, "completion": 1}
    assert done.data == "[DONE]"


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.booleans()), max_size=20))
def test_a_stream_keeps_the_contract(steps: list[tuple[int, int, bool]]):
    pieces = [(index, Piece(tuple(range(count)), (Text("x"),) if shown else ())) for index, count, shown in steps]
    pieces += [(index, Piece((9,), finish="stop")) for index in range(3)]
    shape = CompletionShape(LABEL, False, None)
    *blocks, done = write(shape, pieces, choices=3)
    consumed = [0, 0, 0]
    ids: list[str] = []
    for block in blocks:
        for index, tokens in block.tokens():
            consumed[index] += len(tokens)
        event_id = EventId.parse(block.id)
        assert event_id is not None
        assert list(event_id.positions) == consumed
        assert block.data
        ids.append(block.id)
    assert blocks[0].comments[0] == "usage prompt=7 cached=3 completion=0"
    assert blocks[-1].usage() == {"prompt": 7, "cached": 3, "completion": sum(consumed)}
    assert ids[-1] == "e1/" + ",".join(f"{count}f" for count in consumed)
    assert done.data == "[DONE]"


def test_an_error_is_an_event_without_an_id():
    writer = StreamWriter(ChatShape(LABEL, False, None), "e1", 1)
    written = writer.write(0, Piece((5,)), usage(1)) + writer.error(ReplicaLost("gone"), "r1")
    assert body(events(written)[-1])["error"]["code"] == "replica_lost"
    assert events(written)[-1].id == ""


def test_a_whole_chat_answer():
    writer = WholeWriter(ChatShape(LABEL, False, 1), 2)
    told = (TokenLogprob(0, Logprob(97, float("-inf"), [(98, -0.5)])),)
    assert writer.write(0, Piece((97,), (Text("a"),), logprobs=told), usage(1)) == []
    call = Call("f", "{}")
    assert writer.write(1, Piece((1, 2), parts=(call,), finish="tool_calls"), usage(3)) == []
    assert writer.error(ReplicaLost("gone"), "r1") == []
    (written,) = writer.write(0, Piece((98,), (Text("b"),), finish="stop"), usage(4))
    answer = json.loads(written.data)
    first, second = answer["choices"]
    assert first["message"]["content"] == "ab"
    token = {"token": "a", "logprob": -9999.0, "bytes": [97]}
    top = [{"token": "b", "logprob": -0.5, "bytes": [98]}]
    assert first["logprobs"]["content"] == [token | {"top_logprobs": top}]
    assert second["message"]["content"] is None
    (tool_call,) = second["message"]["tool_calls"]
    assert tool_call["function"] == {"name": "f", "arguments": "{}"}
    assert tool_call["id"].startswith("call_")
    assert answer["usage"] == {
        "prompt_tokens": 7,
        "completion_tokens": 4,
        "total_tokens": 11,
        "prompt_tokens_details": {"cached_tokens": 3},
    }


def test_tool_calls_in_a_chunk_have_the_ids_of_the_whole_answer():
    call = Call("f", "{}")
    shape = ChatShape(LABEL, False, None)
    chunk = shape.chunk(1, Piece((1,), parts=(call,)))
    whole = shape.whole([Piece((1,)), Piece((1,), parts=(call,))], usage(2))
    (streamed,) = chunk["choices"][0]["delta"]["tool_calls"]
    assert streamed.pop("index") == 0
    assert streamed == whole["choices"][1]["message"]["tool_calls"][0]


def test_completion_logprobs():
    told = (TokenLogprob(0, Logprob(97, -1.0, [(97, -1.0)])), TokenLogprob(1, Logprob(98, -2.0)))
    piece = Piece((97, 98), (Text("ab"),), logprobs=told, finish="length")
    whole = CompletionShape(LABEL, False, 1).whole([piece], usage(2))
    assert whole["choices"][0]["logprobs"] == {
        "tokens": ["a", "b"],
        "token_logprobs": [-1.0, -2.0],
        "top_logprobs": [{"a": -1.0}, {"b": -2.0}],
        "text_offset": [0, 1],
    }
    bare = CompletionShape(LABEL, False, 0).chunk(0, piece)
    assert bare["choices"][0]["logprobs"]["top_logprobs"] is None
