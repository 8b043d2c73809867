from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from colonnade.replica.detokenize import Detokenizer

SPECIAL = 256


def decode(tokens: Sequence[int]) -> str:
    """A byte-level vocabulary: a token for each byte, and a special one that is left out."""
    return bytes(token for token in tokens if token != SPECIAL).decode("utf-8", "replace")


def feed(detokenizer: Detokenizer, tokens: Sequence[int]) -> list[str]:
    return [*(detokenizer.push(token) for token in tokens), detokenizer.flush()]


@given(st.text(), st.text(max_size=8))
def test_text_comes_out_as_it_is(text: str, prompt: str):
    pieces = feed(Detokenizer(decode, list(prompt.encode())), list(text.encode()))
    assert "".join(pieces) == text


@given(st.lists(st.integers(0, 256)))
def test_any_bytes_come_out_as_decoded_whole(tokens: list[int]):
    assert "".join(feed(Detokenizer(decode), tokens)) == decode(tokens)


def test_a_character_is_given_when_it_is_whole():
    assert feed(Detokenizer(decode), list("a€b".encode())) == ["a", "", "", "€", "b", ""]


def test_half_a_character_at_the_end_shows():
    assert feed(Detokenizer(decode), list("€".encode()[:2])) == ["", "", "\ufffd"]


@given(st.sampled_from([SPECIAL, 0x80, 0xFF]))
def test_the_cost_is_linear_whatever_comes(token: int):
    seen = 0

    def counted(tokens: Sequence[int]) -> str:
        nonlocal seen
        seen += len(tokens)
        return decode(tokens)

    feed(Detokenizer(counted), [token] * 1000)
    assert seen < 1000 * 50


def test_a_character_after_garbage_is_still_whole():
    text = "".join(feed(Detokenizer(decode), [0x80] * 20 + list("é".encode())))
    assert text == "\ufffd" * 20 + "é"
