"""Draws of many rows in one call: the native kernels against the rule for one row, and against the sampler."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colonnade.engine import sampler
from colonnade.engine.columns import NOT_FINITE, NOTHING_ALLOWED, Columns, DrawRows, Rows, by_rows
from colonnade.engine.grammar import Words, word_count
from colonnade.engine.kernels import _native
from colonnade.engine.kernels.native import NativeKernels
from colonnade.engine.kernels.ops import Floats
from colonnade.engine.sampler import Wanted
from colonnade.wire.messages import Sampling

VOCAB, SLOTS = 83, 6
NATIVE = NativeKernels(1).draw_rows
BOTH = pytest.mark.parametrize("draw_rows", [NATIVE, by_rows(sampler.choose)], ids=["native", "numpy"])

samplings = st.builds(
    Sampling,
    seed=st.integers(-(2**70), 2**70),
    temperature=st.sampled_from([0.0, 0.05, 0.8, 1.0, 30.0]),
    top_k=st.sampled_from([0, 1, 5, 200]),
    top_p=st.sampled_from([0.0, 0.3, 0.95, 1.0]),
    min_p=st.sampled_from([0.0, 0.1, 1.0]),
)


def entries(slots: list[int], masked: list[bool], positions: list[int] | None = None) -> Rows:
    numbers = np.array(slots, dtype=np.int64)
    places = np.array(positions or [0] * len(slots), dtype=np.int64)
    return Rows(np.arange(len(slots), dtype=np.int64), numbers, places, np.array(masked, dtype=np.uint8))


def words(bits: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> Words:
    packed = np.packbits(bits, axis=-1, bitorder="little")
    padded = np.zeros((len(bits), word_count(VOCAB) * 4), dtype=np.uint8)
    padded[:, : packed.shape[1]] = packed
    return padded.view(np.uint32)


@settings(max_examples=150, deadline=None)
@given(
    wanted=st.lists(
        st.tuples(samplings, st.integers(0, 5), st.integers(0, 9000), st.booleans()), min_size=1, max_size=6
    ),
    seed=st.integers(0, 10_000),
)
def test_rows_together_are_the_rows_by_themselves(wanted: list[tuple[Sampling, int, int, bool]], seed: int) -> None:
    random = np.random.default_rng(seed)
    logits_SV = np.round(random.standard_normal((len(wanted), VOCAB)) * 3, 1).astype(np.float32)  # with ties
    bits_SV = random.random((SLOTS, VOCAB)) < 0.3
    bits_SV[:, 7] = True
    columns, slots = Columns(SLOTS), list(range(SLOTS))[::-1][: len(wanted)]
    for slot, (sampling, choice, _, _) in zip(slots, wanted, strict=True):
        columns.enter(slot, sampling, choice)
    rows = entries(slots, [masked for *_, masked in wanted], [position for *_, position, _ in wanted])
    found = NATIVE(logits_SV, rows, columns, words(bits_SV)).tolist()
    assert found == by_rows(sampler.choose)(logits_SV, rows, columns, words(bits_SV)).tolist()
    assert found == by_rows(_native.choose)(logits_SV, rows, columns, words(bits_SV)).tolist()
    assert found == [
        alone(logits_V, sampling, choice, position, bits_V if masked else None)
        for logits_V, bits_V, (sampling, choice, position, masked) in zip(logits_SV, bits_SV, wanted, strict=False)
    ]


def alone(logits_V: Floats, sampling: Sampling, choice: int, position: int, bits_V: object) -> int:
    allowed = None if bits_V is None else np.where(cast(Words, bits_V), np.float32(0), np.float32(-np.inf))
    history = np.zeros(0, dtype=np.int32)
    return sampler.draw([logits_V], [Wanted(sampling, choice, position, history, 0, allowed)], sampler.choose)[0].token


@BOTH
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_row_without_a_finite_maximum_is_told_and_its_neighbour_is_drawn(draw_rows: DrawRows, bad: float) -> None:
    logits_SV = np.zeros((2, VOCAB), dtype=np.float32)
    logits_SV[0] = bad if bad == -np.inf else 0
    logits_SV[0, 40], logits_SV[1, 40] = bad, 1
    found = draw_rows(logits_SV, entries([0, 1], [False, False]), Columns(SLOTS), words(np.ones((SLOTS, VOCAB), bool)))
    assert found.tolist() == [NOT_FINITE, 40]


@BOTH
def test_a_row_of_which_nothing_is_allowed_is_told(draw_rows: DrawRows) -> None:
    logits_SV = np.zeros((2, VOCAB), dtype=np.float32)
    bits_SV = np.zeros((SLOTS, VOCAB), dtype=np.bool_)
    bits_SV[1, 82] = True
    found = draw_rows(logits_SV, entries([0, 1], [True, True]), Columns(SLOTS), words(bits_SV))
    assert found.tolist() == [NOTHING_ALLOWED, 82]


@pytest.mark.parametrize(
    ("slots", "vocab", "what"),
    [([0, 9], VOCAB, "are there"), ([0, -1], VOCAB, "are there"), ([0, 1], 200, "a bit for each")],
)
def test_what_is_not_there_is_not_read(slots: list[int], vocab: int, what: str) -> None:
    logits_SV = np.zeros((2, vocab), dtype=np.float32)
    with pytest.raises(ValueError, match=what):
        NATIVE(logits_SV, entries(slots, [False, False]), Columns(SLOTS), words(np.ones((SLOTS, VOCAB), bool)))


def test_words_of_a_row_that_has_none_are_not_read() -> None:
    logits_SV, few = np.zeros((2, VOCAB), dtype=np.float32), words(np.ones((1, VOCAB), bool))
    assert NATIVE(logits_SV, entries([0, 1], [True, False]), Columns(SLOTS), few).tolist() == [0, 0]
    with pytest.raises(ValueError, match="are there"):
        NATIVE(logits_SV, entries([0, 1], [True, True]), Columns(SLOTS), few)


def test_what_a_plain_slot_is() -> None:
    columns = Columns(SLOTS)
    wanted = [
        Sampling(temperature=0.3, top_p=0.4),
        Sampling(logprobs=0),
        Sampling(repetition_penalty=1.1),
        Sampling(presence_penalty=0.1),
        Sampling(frequency_penalty=0.1),
        Sampling(logit_bias={1: 2.0}),
    ]
    for slot, sampling in enumerate(wanted):
        columns.enter(slot, sampling, 0)
    assert columns.plain == [True, False, False, False, False, False]
