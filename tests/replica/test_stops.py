import re
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from colonnade.replica.stops import StopMatcher

letters = st.text("ab", max_size=30)
stops = st.lists(st.text("ab", min_size=1, max_size=4), max_size=4)
cuts = st.lists(st.integers(0, 30), max_size=6)


def run(pieces: list[str], words: list[str]) -> tuple[str, bool]:
    matcher, out = StopMatcher(words), ""
    for piece in pieces:
        out += matcher.feed(piece)
        if matcher.matched:
            return out, True
    return out + matcher.flush(), False


def expected(text: str, words: list[str]) -> tuple[str, bool]:
    """By trying every end, the first first, and every length, the longest first."""
    for end in range(1, len(text) + 1):
        for word in sorted(words, key=len, reverse=True):
            if text[:end].endswith(word):
                return text[: end - len(word)], True
    return text, False


def split(text: str, at: list[int]) -> list[str]:
    edges = sorted({0, len(text), *(cut for cut in at if cut < len(text))})
    return [text[a:b] for a, b in pairwise(edges)] or [text]


@given(letters, stops, cuts)
def test_any_split_gives_the_text_before_the_first_stop(text: str, words: list[str], at: list[int]):
    assert run(split(text, at), words) == expected(text, words)


@given(letters, stops)
def test_only_what_may_begin_a_stop_is_held(text: str, words: list[str]):
    matcher = StopMatcher(words)
    given_text = matcher.feed(text)
    if not matcher.matched:
        held = text[len(given_text) :]
        assert not held or any(word.startswith(held) for word in words)


def test_a_stop_spans_pieces():
    assert run(["Hello\n", "\nUs", "er: more"], ["\n\nUser:"]) == ("Hello", True)


def test_nothing_is_held_without_stops():
    matcher = StopMatcher([])
    assert matcher.feed("\n\n") == "\n\n"
    assert matcher.flush() == ""


def test_stops_are_text_and_not_patterns():
    assert run([re.escape("a.b") + "a.b"], ["a.b"]) == ("a\\.b", True)
