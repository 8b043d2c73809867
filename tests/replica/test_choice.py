from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from colonnade.replica.choice import Choice, Piece
from colonnade.replica.families import HERMES
from colonnade.replica.parts import Call
from colonnade.replica.speech import Listening
from colonnade.wire.messages import Logprob

END = 0


def decode(tokens: Sequence[int]) -> str:
    return bytes(tokens).replace(b"\0", b"").decode("utf-8", "replace")


def tokens_of(text: str) -> list[int]:
    return list(text.encode())


def run(choice: Choice, tokens: list[int], size: int, finish: str | None = "length") -> list[Piece]:
    """In deltas of `size` tokens, with a log-probability each."""
    pieces: list[Piece] = []
    for start in range(0, len(tokens), size):
        some = tokens[start : start + size]
        ends = finish if start + size >= len(tokens) else None
        pieces.append(choice.feed(some, [Logprob(token, -1.0) for token in some], ends))
        if choice.finish is not None:
            break
    return pieces


def text_of(pieces: list[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


def test_text_and_finish():
    pieces = run(Choice(decode), [*tokens_of("Hé"), END], 1, "stop")
    assert [piece.text for piece in pieces] == ["H", "", "é", ""]
    assert [piece.silent for piece in pieces] == [False, True, False, False]
    assert pieces[-1].finish == "stop"
    assert not pieces[-1].abort


@given(st.text("abé€", max_size=20), st.lists(st.text("abé", min_size=1, max_size=3), max_size=2), st.integers(1, 5))
def test_the_size_of_deltas_does_not_matter(text: str, stops: list[str], size: int):
    tokens = [*tokens_of(text), END]
    small = run(Choice(decode, stops=stops), tokens, 1, "stop")
    large = run(Choice(decode, stops=stops), tokens, size, "stop")
    assert text_of(small) == text_of(large)
    assert [t for p in small for t in p.tokens] == [t for p in large for t in p.tokens]
    assert [each for p in small for each in p.logprobs] == [each for p in large for each in p.logprobs]
    assert small[-1].finish == large[-1].finish


def test_a_stop_string_ends_the_choice_and_aborts():
    (piece,) = run(Choice(decode, stops=["lo"]), tokens_of("Hello there"), 11, None)
    assert piece.text == "Hel"
    assert piece.finish == "stop"
    assert piece.abort
    assert piece.tokens == tuple(tokens_of("Hello"))
    assert [each.logprob.token for each in piece.logprobs] == tokens_of("Hel")
    assert [each.offset for each in piece.logprobs] == [0, 1, 2]


def test_no_abort_when_the_engine_has_finished_too():
    (piece,) = run(Choice(decode, stops=["lo"]), tokens_of("Hello"), 5, "length")
    assert piece.finish == "stop"
    assert not piece.abort


def test_a_stop_in_what_was_held_to_the_end():
    piece = run(Choice(decode, stops=["\ufffd"]), [*tokens_of("a"), 0xE2], 2, "length")[-1]
    assert (piece.text, piece.finish) == ("a", "stop")


def test_what_could_begin_a_stop_is_given_at_the_end():
    assert text_of(run(Choice(decode, stops=["lo, world"]), tokens_of("Hello"), 1)) == "Hello"


def test_tool_calls_finish_as_such():
    text = 'Ok. <tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call>'
    pieces = run(Choice(decode, listening=Listening(HERMES, True)), [*tokens_of(text), END], 7, "stop")
    assert text_of(pieces) == "Ok."
    assert [call for piece in pieces for call in piece.calls] == [Call("f", '{"a": 1}')]
    assert pieces[-1].finish == "tool_calls"


def test_one_call_only_aborts_after_it():
    call = '<tool_call>{"name": "f"}</tool_call>'
    pieces = run(Choice(decode, listening=Listening(HERMES, False)), tokens_of(call + call), 3, None)
    assert pieces[-1].finish == "tool_calls"
    assert pieces[-1].abort
    assert bytes(token for piece in pieces for token in piece.tokens).decode() == call


def test_a_call_that_is_cut_off_is_text():
    pieces = run(Choice(decode, listening=Listening(HERMES, True)), tokens_of('<tool_call>{"name": '), 4)
    assert text_of(pieces) == '<tool_call>{"name": '
    assert pieces[-1].finish == "length"


def test_a_stop_string_before_a_call_flushes_what_was_held():
    pieces = run(Choice(decode, stops=["END"], listening=Listening(HERMES, True)), tokens_of("a <toolEND"), 1, None)
    assert text_of(pieces) == "a <tool"


def test_without_logprobs_there_are_none():
    piece = Choice(decode).feed(tokens_of("a"), None, "length")
    assert piece.logprobs == ()
