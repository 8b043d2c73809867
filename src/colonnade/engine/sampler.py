"""From logits to a token: a fixed function of the logits and of one uniform number.

    logits -> grammar -> penalties -> logit bias -> temperature -> top-k -> top-p -> min-p -> inverse of the
    cumulative distribution

A grammar takes out what it does not allow; what follows sees only the rest.
The order of filters is that of transformers' warpers. A filter sees what the one before it left. Within the filters:

- penalties: repetition divides positive and multiplies negative logits of tokens in prompt or output; frequency (times
  the count) and presence are subtracted for tokens in the output alone, as in vLLM and OpenAI's API;
- top-k keeps all that tie with the k-th; top-p keeps the shortest row of tokens, by falling probability and then rising
  id, that reaches p; min-p keeps what has at least min_p times the probability of the most likely token;
- the drawn token is the first id, in vocabulary order, whose cumulative weight (float64) exceeds uniform x total;
- temperature 0 takes the most likely token, the lowest id of equals, and draws nothing.

Rows are computed one by one, so that none depends on its company.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from colonnade.engine.acceptance import Guess, Weights, accept, invert
from colonnade.engine.columns import adjusts
from colonnade.engine.kernels.ops import Floats, Ints
from colonnade.engine.noise import ACCEPT, uniform
from colonnade.wire.messages import Logprob, Sampling, Scoring

NOT_FINITE = "the model's logits are not finite numbers at this position"
NOTHING_ALLOWED = "the grammar allows no token at this position"

Allowed = Floats
"""For each token, what a grammar adds to its logit: 0, or minus infinity for one that may not be drawn."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One token to draw. `history` holds prompt and output; it is read only where a penalty asks for it.

    `allowed` None: everything is. With a `guess`, the draw is the acceptance of a draft by its probability."""

    sampling: Sampling
    choice: int
    position: int
    history: Ints
    prompt_length: int
    allowed: Allowed | None = None
    guess: Guess | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    token: int
    logprob: Logprob | None = None
    error: str = ""


Choose = Callable[[Floats, float, int, float, float, float], int]
"""(logits, temperature, top_k, top_p, min_p, number in [0, 1)) -> token."""


def draw(logits_SV: Iterable[Floats], wanted_S: Sequence[Wanted], choose: Choose) -> list[Outcome]:
    """One outcome a row, in order. Logits that are NaN or infinite give an outcome with an error."""
    return [_sound_row(logits_V, wanted, choose) for logits_V, wanted in zip(logits_SV, wanted_S, strict=True)]


def _sound_row(logits_V: Floats, wanted: Wanted, choose: Choose) -> Outcome:
    best = int(logits_V.argmax())
    return _row(logits_V, best, wanted, choose) if np.isfinite(logits_V[best]) else Outcome(0, error=NOT_FINITE)


def _row(logits_V: Floats, best: int, wanted: Wanted, choose: Choose) -> Outcome:
    sampling = wanted.sampling
    admitted_V = logits_V if wanted.allowed is None else logits_V + wanted.allowed
    adjusted_V = adjust(admitted_V, wanted) if adjusts(sampling) else admitted_V
    if adjusted_V is not logits_V:
        best = int(adjusted_V.argmax())
        if not np.isfinite(adjusted_V[best]):
            return Outcome(0, error=NOT_FINITE if wanted.allowed is None else NOTHING_ALLOWED)
    token = best
    if sampling.temperature > 0:
        token = _draw(adjusted_V, wanted, choose)
    return Outcome(
        token, None if sampling.logprobs is None else logprob(logits_V, token, sampling.logprobs, sampling.labels)
    )


def _draw(adjusted_V: Floats, wanted: Wanted, choose: Choose) -> int:
    sampling, noise = wanted.sampling, (wanted.sampling.seed, wanted.choice, wanted.position)
    filters = (sampling.temperature, sampling.top_k, sampling.top_p, sampling.min_p)
    if wanted.guess is None:
        return choose(adjusted_V, *filters, uniform(*noise))
    return accept(weights(adjusted_V, *filters), wanted.guess, uniform(*noise, ACCEPT), uniform(*noise))


def adjust(logits_V: Floats, wanted: Wanted) -> Floats:
    """A copy with penalties and bias. Bias on ids outside the vocabulary is ignored."""
    sampling, size = wanted.sampling, len(logits_V)
    adjusted_V = logits_V.copy()
    if sampling.repetition_penalty != 1.0:
        seen = np.unique(wanted.history)
        found = adjusted_V[seen]
        penalty = np.float32(sampling.repetition_penalty)
        adjusted_V[seen] = np.where(found > 0, found / penalty, found * penalty)
    if sampling.presence_penalty or sampling.frequency_penalty:
        counts_V = np.bincount(wanted.history[wanted.prompt_length :], minlength=size)[:size]
        adjusted_V -= (sampling.frequency_penalty * counts_V + sampling.presence_penalty * (counts_V > 0)).astype(
            np.float32
        )
    for token, bias in (sampling.logit_bias or {}).items():
        if 0 <= token < size:
            adjusted_V[token] += np.float32(bias)
    return adjusted_V


def choose(logits_V: Floats, temperature: float, top_k: int, top_p: float, min_p: float, number: float) -> int:
    """The token at `number` in [0, 1) of the filtered distribution; temperature above 0, a finite maximum.

    The reference; native/choose.cpp is the same rule.
    """
    return invert(weights(logits_V, temperature, top_k, top_p, min_p), number)


def weights(logits_V: Floats, temperature: float, top_k: int, top_p: float, min_p: float) -> Weights:
    """The filtered distribution, not normalised; the reference."""
    weights_V = np.exp((logits_V.astype(np.float64) - float(logits_V.max())) / temperature)
    if 0 < top_k < len(weights_V):
        weights_V[weights_V < np.partition(weights_V, -top_k)[-top_k]] = 0.0
    if top_p < 1.0:
        _top_p(weights_V, top_p)
    if min_p > 0.0:
        weights_V[weights_V < min_p] = 0.0  # the most likely token weighs 1
    return weights_V


def _top_p(weights_V: Weights, top_p: float) -> None:
    order = np.argsort(-weights_V, kind="stable")
    wanted = top_p * np.cumsum(weights_V)[-1]
    kept = int(np.searchsorted(np.cumsum(weights_V[order]), wanted, side="left")) + 1
    weights_V[order[kept:]] = 0.0


def scores(logits_SV: Floats, tokens: Sequence[int], scoring: Scoring) -> list[Logprob] | None:
    """Of known tokens, one a row; None where a row's logits are no numbers."""
    if not np.isfinite(logits_SV.max(axis=-1)).all():
        return None
    rows = zip(logits_SV, tokens, strict=True)
    return [logprob(logits_V, token, scoring.top, scoring.labels) for logits_V, token in rows]


def logprob(logits_V: Floats, token: int, top: int, labels: Sequence[int] = ()) -> Logprob:
    """Natural logarithms of the raw distribution: of `token`, of the `top` most likely, equals by rising id, and of
    `labels`."""
    wide_V = logits_V.astype(np.float64)
    peak = wide_V.max()
    norm = peak + np.log(np.exp(wide_V - peak).sum())
    likely = _most_likely(logits_V, top)
    best = [(int(each), float(wide_V[each] - norm)) for each in likely]
    return Logprob(token, float(wide_V[token] - norm), best, [float(wide_V[label] - norm) for label in labels])


def _most_likely(logits_V: Floats, count: int) -> NDArray[np.intp]:
    count = min(count, len(logits_V))
    if count == 0:
        return np.empty(0, dtype=np.intp)
    candidates = np.flatnonzero(logits_V >= np.partition(logits_V, -count)[-count])
    return candidates[np.argsort(-logits_V[candidates], kind="stable")][:count]
