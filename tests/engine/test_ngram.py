"""The n-gram drafter: it says what came next the last time, and its work is bounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.engine.drafter import Proposal
from colonnade.engine.ngram import KEPT, PACE, PAST, NgramDrafter


def propose(tokens: list[int], count: int = 4, gram: int = 3) -> list[int]:
    return list(NgramDrafter(gram).propose("a", tokens, count).tokens)


def test_it_proposes_what_followed() -> None:
    assert propose([1, 2, 3, 4, 5, 6, 7, 1, 2, 3]) == [4, 5, 6, 7]
    assert propose([1, 2, 3, 4, 5, 6, 7, 1, 2, 3], count=2) == [4, 5]


@pytest.mark.parametrize("tokens", [[], [1], [1, 2, 3], [1, 2, 3, 4, 1, 2, 4], [1, 2, 1, 2]])
def test_without_a_run_seen_before_it_is_silent(tokens: list[int]) -> None:
    assert propose(tokens) == []


def test_what_runs_past_the_end_goes_round() -> None:
    assert propose([9, 1, 2, 1, 2, 1], count=5, gram=2) == [2, 1, 2, 1, 2]
    assert propose([7, 7, 7, 7], count=6) == [7] * 6


def test_the_longest_common_past_wins_and_the_latest_of_equals() -> None:
    far, near = [8, 1, 2, 3, 50], [9, 1, 2, 3, 60]
    assert propose([*far, *near, 8, 1, 2, 3], count=1) == [50]
    assert propose([*far, *near, 5, 1, 2, 3], count=1) == [60]


def test_only_so_many_occurrences_are_compared() -> None:
    best = [9, 1, 2, 3, 50]
    others = [token for i in range(KEPT) for token in (100 + i, 1, 2, 3, 60)]
    assert propose([*best, *others[5:], 9, 1, 2, 3], count=1) == [50]
    assert propose([*best, *others, 9, 1, 2, 3], count=1) == [60]


def test_only_so_much_of_the_past_is_compared() -> None:
    past = list(range(100, 100 + PAST))
    assert propose([0, *past, 1, 5, *past, 2, 0, *past], count=1) == [2]


def test_a_long_prompt_is_indexed_over_several_calls() -> None:
    drafter = NgramDrafter()
    tokens = [*range(2 * PACE), 7, 8, 9, -1, 7, 8, 9]
    assert drafter.propose("a", [*range(2 * PACE), PACE + 1, PACE + 2, PACE + 3], 1).tokens == ()
    found = [list(drafter.propose("b", tokens, 1).tokens) for _ in range(3)]
    assert found == [[10], [10], [-1]]


def test_requests_know_nothing_of_each_other_and_are_forgotten() -> None:
    drafter = NgramDrafter()
    assert drafter.propose("a", [1, 2, 3, 4, 1, 2, 3], 1).tokens
    assert not drafter.propose("b", [1, 2, 3], 1).tokens
    drafter.forget("a")
    drafter.forget("never asked")
    assert not drafter.propose("a", [1, 2, 3], 1).tokens


@given(st.lists(st.integers(0, 2), max_size=40), st.integers(1, 4), st.integers(1, 9))
def test_as_tokens_grow_it_says_what_it_would_say_at_once(tokens: list[int], gram: int, count: int) -> None:
    growing = NgramDrafter(gram)
    for length in range(len(tokens) + 1):
        said = growing.propose("a", tokens[:length], count)
        assert said == NgramDrafter(gram).propose("a", tokens[:length], count)
        assert len(said.tokens) in {0, count}
        last = tokens[:length][-gram:]
        seen = any(tokens[end - gram : end] == last for end in range(gram, length))
        assert bool(said.tokens) == seen


def test_the_first_path_of_a_tree() -> None:
    tree = Proposal((1, 2, 3, 4, 5), (-1, -1, 1, 0, 3))
    assert tree.chain(9) == Proposal((1, 4, 5))
    assert tree.chain(2) == Proposal((1, 4))
    assert Proposal((1, 2, 3)).chain(2) == Proposal((1, 2))
    assert Proposal().chain(3) == Proposal()
