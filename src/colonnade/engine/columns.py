"""How each slot draws, as columns: what one call needs to draw for every row of a step.

A slot is *plain* if its draw reads nothing but its own logits, and wants nothing but the token: no penalties, no bias,
no log-probabilities. Rows of plain slots are drawn together, in one native call where there are native kernels; the
others one by one by `engine.sampler`. Both are the same rule.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from colonnade.engine.grammar import Words, allowed
from colonnade.engine.noise import uniform
from colonnade.wire.messages import Sampling

NOT_FINITE, NOTHING_ALLOWED = -1, -2
"""Instead of a token: the logits are not finite numbers; the grammar allows none."""

Floats = NDArray[np.float32]
Numbers = NDArray[np.int64]
_WORD = (1 << 64) - 1


class Columns:
    """Written where a request enters a slot; one entry a slot."""

    def __init__(self, slots: int) -> None:
        self.temperatures = np.zeros(slots)
        self.top_ks = np.zeros(slots, dtype=np.int64)
        self.top_ps = np.ones(slots)
        self.min_ps = np.zeros(slots)
        self.seeds = np.zeros(slots, dtype=np.uint64)
        self.choices = np.zeros(slots, dtype=np.uint64)
        self.plain = [False] * slots

    def enter(self, slot: int, sampling: Sampling, choice: int) -> None:
        self.temperatures[slot] = sampling.temperature
        self.top_ks[slot] = sampling.top_k
        self.top_ps[slot] = sampling.top_p
        self.min_ps[slot] = sampling.min_p
        self.seeds[slot] = sampling.seed & _WORD
        self.choices[slot] = choice & _WORD
        self.plain[slot] = sampling.logprobs is None and not adjusts(sampling)


@dataclass(frozen=True, slots=True)
class Rows:
    """All [S], one draw an entry: its row of the logits, its slot, its position in the answer, and whether a grammar
    holds it."""

    rows: Numbers
    slots: Numbers
    positions: Numbers
    masked: NDArray[np.uint8]


DrawRows = Callable[[Floats, Rows, Columns, Words], Numbers]
"""(logits [S, V], rows, columns, words of grammars by row of logits) -> each a token, NOT_FINITE, NOTHING_ALLOWED."""


def adjusts(sampling: Sampling) -> bool:
    """Whether logits are changed by what was said before, or by a bias."""
    return bool(
        sampling.logit_bias
        or sampling.repetition_penalty != 1.0
        or sampling.presence_penalty
        or sampling.frequency_penalty
    )


def by_rows(choose: Callable[[Floats, float, int, float, float, float], int]) -> DrawRows:
    """`DrawRows` by a rule for one row: the reference of native/choose.cpp, `draw`."""

    def draw_rows(logits_SV: Floats, rows: Rows, columns: Columns, words_SW: Words) -> Numbers:
        def draw(row: int, slot: int, position: int, masked: int) -> int:
            logits_V = logits_SV[row]
            if not np.isfinite(logits_V.max()):
                return NOT_FINITE
            if masked:
                logits_V = np.where(allowed(words_SW[row], len(logits_V)), logits_V, np.float32(-np.inf))
                if not np.isfinite(logits_V.max()):
                    return NOTHING_ALLOWED
            temperature = float(columns.temperatures[slot])
            if temperature <= 0:
                return int(logits_V.argmax())
            filters = (int(columns.top_ks[slot]), float(columns.top_ps[slot]), float(columns.min_ps[slot]))
            number = uniform(int(columns.seeds[slot]), int(columns.choices[slot]), position)
            return choose(logits_V, temperature, *filters, number)

        entries = zip(rows.rows, rows.slots, rows.positions, rows.masked, strict=True)
        return np.array([draw(*map(int, entry)) for entry in entries], dtype=np.int64)

    return draw_rows
