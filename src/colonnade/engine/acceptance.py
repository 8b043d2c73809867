"""Drafts accepted by their probability: the opt-in rule.

A draft d, drawn from q, is accepted with probability min(1, p(d) / q(d)); else the token is drawn from the residual,
max(p - q, 0), normalised. What comes out is distributed as p, whatever q is (Leviathan, Kalman, Matias, "Fast inference
from transformers via speculative decoding", ICML 2023; Chen et al., "Accelerating large language model decoding with
speculative sampling", 2023). A draft that was certain to be proposed has all of q; it is accepted with probability
p(d), as often as by the coupled rule.

A token that is rejected is never drawn from its residual: p(d) < q(d). So here, too, a draft was accepted if and only
if it equals the token that came out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from colonnade.engine.drafter import Chances

Weights = NDArray[np.float64]
"""[V]: a distribution that need not be normalised."""


@dataclass(frozen=True, slots=True)
class Guess:
    """A draft and what it was drawn from; None: nothing, it was certain."""

    token: int
    chances: Chances | None = None


def accept(weights_V: Weights, guess: Guess, chance: float, number: float) -> int:
    """The token, of the distribution `weights_V`. `chance` and `number` are independent and uniform in [0, 1)."""
    target_V = weights_V / weights_V.sum()
    draft_V = _drafted(guess, len(target_V))
    if chance * draft_V[guess.token] < target_V[guess.token]:
        return guess.token
    residual_V = np.maximum(target_V - draft_V, 0.0)
    residual_V[guess.token] = 0.0  # it is, but for rounding
    return invert(residual_V if residual_V.sum() > 0.0 else target_V, number)


def _drafted(guess: Guess, size: int) -> Weights:
    if guess.chances is not None:
        draft_V = guess.chances.astype(np.float64)
        return draft_V / draft_V.sum()
    draft_V = np.zeros(size, dtype=np.float64)
    draft_V[guess.token] = 1.0
    return draft_V


def invert(weights_V: Weights, number: float) -> int:
    """The first token, in vocabulary order, whose cumulative weight exceeds `number` in [0, 1) of the total."""
    total_V: Weights = np.cumsum(weights_V)
    token = int(np.count_nonzero(total_V <= number * total_V[-1]))
    last = int(np.flatnonzero(weights_V)[-1])
    return min(token, last)
