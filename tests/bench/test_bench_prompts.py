"""Prompts: the trace's lengths, its shared prefixes and no others, tokens of the vocabulary."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from colonnade.bench.prompts import Prompts, Scale, Vocabulary
from colonnade.bench.trace import BLOCK, Request

VOCABULARY = Vocabulary.of(32_000)
factors = st.sampled_from([0.01, 0.1, 0.3, 1.0, 1.7])
chains = st.lists(st.integers(-5, 10**12), max_size=4)


def common(a: list[int], b: list[int]) -> int:
    return next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


@given(factors, chains, chains, chains, st.integers(0, 10))
def test_what_shares_ids_shares_exactly_those_tokens(
    factor: float, head: list[int], left: list[int], right: list[int], seed: int
) -> None:
    """A common prefix of ids is a common prefix of tokens to the token; behind it the prompts part at once."""
    if left[:1] == right[:1]:
        left, right = [1, *left], [2, *right]
    prompts = Prompts(VOCABULARY, Scale(factor), seed)
    a, b = (Request(0, BLOCK * len(head + tail), 5, tuple(head + tail)) for tail in (left, right))
    x, y = prompts.tokens(0, a), prompts.tokens(1, b)
    assert len(x) == max(1, round(a.prompt * factor))
    shared = math.floor(BLOCK * len(head) * factor)
    assert common(x, y) >= min(shared, len(x), len(y))
    assert common(x, y) <= shared + 3 or not head + left + right  # two tokens may be equal by chance, not many


@given(st.integers(0, 2000), st.integers(0, 1000), factors, chains)
def test_every_token_is_of_the_vocabulary_and_a_function_of_seed_and_place(
    length: int, index: int, factor: float, blocks: list[int]
) -> None:
    request = Request(0, length, 5, tuple(blocks))
    prompts = Prompts(VOCABULARY, Scale(factor), 7)
    tokens = prompts.tokens(index, request)
    assert tokens == prompts.tokens(index, request)
    assert len(tokens) == max(1, round(length * factor))
    assert all(VOCABULARY.low <= token < VOCABULARY.high for token in tokens)


@given(st.integers(0, 10**6), st.integers(0, 10**6), factors, st.integers(2, 10_000))
def test_sizes_fit_the_context_and_are_clipped_only_when_they_must(
    prompt: int, output: int, factor: float, context: int
) -> None:
    sized = Scale(factor, context).size(Request(0, prompt, output))
    free = Scale(factor).size(Request(0, prompt, output))
    assert sized.prompt >= 1
    assert sized.output >= 1
    assert sized.prompt + sized.output <= context
    assert sized.clipped == (free.prompt + free.output > context)
    if not sized.clipped:
        assert sized == free
    assert not free.clipped


@given(st.integers(1, 300_000))
def test_the_vocabulary_is_never_empty_nor_beyond_its_size(size: int) -> None:
    vocabulary = Vocabulary.of(size)
    assert 0 <= vocabulary.low < vocabulary.high <= size


def test_a_prompt_that_its_ids_do_not_cover_is_filled_up() -> None:
    prompts = Prompts(VOCABULARY, Scale())
    request = Request(0, 1000, 5, (9,))
    one, two = prompts.tokens(0, request), prompts.tokens(1, request)
    assert len(one) == len(two) == 1000
    assert one[:512] == two[:512]
    assert common(one, two) < 516
