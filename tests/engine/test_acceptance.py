"""Accepting drafts by their probability gives whole answers their exact distribution; a biased rule is found out."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.engine import acceptance, sampler
from colonnade.engine.acceptance import Guess, Weights, accept, invert
from colonnade.engine.constraint import Constraints
from colonnade.engine.drafter import Chances, Drafter, Proposal
from colonnade.engine.grammar import Compiler
from colonnade.engine.kernels.ops import Batch, Floats
from colonnade.engine.limits import Limits
from colonnade.engine.noise import DRAFT, uniform
from colonnade.engine.scheduler import Scheduler
from colonnade.engine.worker import ModelWorker
from colonnade.wire.messages import Sampling, Submit

VOCAB, LENGTH, ANSWERS, SLOTS = 3, 4, 3000, 32
PROMPT = [1, 2]
TARGET_PVV = np.random.default_rng(5).normal(0, 1.2, (LENGTH + 2, VOCAB, VOCAB)).astype(np.float32)
"""Logits after a token at a position."""
DRAFT_PVV = np.exp(np.random.default_rng(6).normal(0, 1.0, (LENGTH + 2, VOCAB, VOCAB))).astype(np.float32)
FILTERS = {
    "plain": Sampling(max_tokens=LENGTH),
    "filtered": Sampling(max_tokens=LENGTH, temperature=0.8, top_p=0.9, min_p=0.02),
}


class Table:
    """A model whose logits depend on the last token and its position."""

    def run(self, batch: Batch) -> Floats:
        return TARGET_PVV[batch.positions[batch.sampled], batch.tokens[batch.sampled]]

    def hidden(self, batch: Batch) -> Floats | None:
        return None

    def forget(self) -> None:
        pass


class Drawing:
    """Draws each draft from a distribution of its own, with the noise that is kept for that."""

    def propose(self, key: str, tokens: Sequence[int], count: int) -> Proposal:
        drafts, chances, last = [], [], tokens[-1]
        for at in range(len(tokens), len(tokens) + count):
            q_V: Chances = DRAFT_PVV[at - 1, last] / DRAFT_PVV[at - 1, last].sum()
            last = invert(q_V.astype(np.float64), uniform(int(key), 0, at - len(PROMPT), DRAFT))
            drafts.append(last)
            chances.append(q_V)
        return Proposal(drafts, (), chances)

    def forget(self, key: str) -> None:
        pass


class Certain(Drawing):
    """Always the same drafts, drawn from nothing."""

    def propose(self, key: str, tokens: Sequence[int], count: int) -> Proposal:
        return Proposal([(3 * at) % VOCAB for at in range(len(tokens), len(tokens) + count)])


def answers(drafter: Drafter | None, sampling: Sampling, by_chance: bool = True) -> tuple[list[tuple[int, ...]], float]:
    """One answer a seed, and the share of drafts that were accepted."""

    def make() -> Compiler:
        raise AssertionError("there is no grammar")

    constraints = Constraints(make, VOCAB)
    worker = ModelWorker(Table(), sampler.choose, SLOTS, 16, VOCAB, constraints, by_chance)
    limits = Limits(SLOTS * 8, 16, VOCAB, SLOTS, ANSWERS, prefix_cache=False, draft_tokens=3)
    scheduler = Scheduler(limits, drafter)
    found: dict[str, list[int]] = {str(seed): [] for seed in range(ANSWERS)}
    for seed in range(ANSWERS):
        values = {name: getattr(sampling, name) for name in ("temperature", "top_p", "min_p")}
        scheduler.submit(Submit(str(seed), PROMPT, Sampling(seed=seed, max_tokens=LENGTH, **values)))
    while (step := scheduler.plan()) is not None:
        for delta in scheduler.commit(worker.run(step)):
            found[delta.key] += delta.tokens
    counts = scheduler.speculation
    return [tuple(tokens) for tokens in found.values()], counts.accepted / max(1, counts.drafted)


def expected(sampling: Sampling) -> Iterator[float]:
    """The probability of each whole answer, in the order of `itertools.product`."""
    for answer in itertools.product(range(VOCAB), repeat=LENGTH):
        chance, last = 1.0, PROMPT[-1]
        for position, token in enumerate(answer, len(PROMPT) - 1):
            weights_V = sampler.weights(
                TARGET_PVV[position, last], sampling.temperature, sampling.top_k, sampling.top_p, sampling.min_p
            )
            chance *= weights_V[token] / weights_V.sum()
            last = token
        yield chance


def excess(found: list[tuple[int, ...]], sampling: Sampling) -> float:
    """Chi-square over all answers, those expected fewer than five times counted as one, as a standard normal deviate
    (Wilson and Hilferty, 1931). Beyond 4.3 in 1 of 10^5 cases; the seeds are fixed."""
    wanted_A = np.array(list(expected(sampling))) * ANSWERS
    places = {answer: at for at, answer in enumerate(itertools.product(range(VOCAB), repeat=LENGTH))}
    counts_A = np.bincount([places[each] for each in found], minlength=len(places))
    assert not counts_A[wanted_A == 0].any(), "an answer that cannot be"
    rare_A = wanted_A < 5
    wanted = np.append(wanted_A[~rare_A], wanted_A[rare_A].sum())
    counts = np.append(counts_A[~rare_A], counts_A[rare_A].sum())
    kept = wanted > 0
    chi_square, freedom = float(((counts - wanted)[kept] ** 2 / wanted[kept]).sum()), int(kept.sum()) - 1
    spread = 2 / (9 * freedom)
    return ((chi_square / freedom) ** (1 / 3) - (1 - spread)) / spread**0.5


@pytest.mark.parametrize("filters", list(FILTERS))
@pytest.mark.parametrize("drafter", [Drawing(), Certain()])
def test_whole_answers_are_distributed_as_without_drafts(drafter: Drafter, filters: str) -> None:
    found, accepted = answers(drafter, FILTERS[filters])
    assert 0.1 < accepted < 0.9
    assert excess(found, FILTERS[filters]) < 4.3


def test_the_coupled_rule_gives_each_seed_its_answer() -> None:
    plain, _ = answers(None, FILTERS["plain"])
    assert excess(plain, FILTERS["plain"]) < 4.3
    for drafter in (Drawing(), Certain()):
        found, accepted = answers(drafter, FILTERS["plain"], by_chance=False)
        assert accepted > 0.1
        assert found == plain


def no_residual(weights_V: Weights, guess: Guess, chance: float, number: float) -> int:
    """Draws from the target after a rejection."""
    token = accept(weights_V, guess, chance, number)
    return token if token == guess.token else invert(weights_V, number)


def too_kind(weights_V: Weights, guess: Guess, chance: float, number: float) -> int:
    """Accepts a third more than it may."""
    return accept(weights_V, guess, chance * 0.75, number)


def one_noise(weights_V: Weights, guess: Guess, chance: float, number: float) -> int:
    """Draws the residual with the number that rejected the draft."""
    return accept(weights_V, guess, number, number)


@pytest.mark.parametrize(
    ("biased", "drafter"), [(no_residual, Drawing()), (too_kind, Drawing()), (one_noise, Certain())]
)
def test_a_biased_rule_is_found_out(
    biased: Callable[..., int], drafter: Drafter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampler, "accept", biased)
    found, _ = answers(drafter, FILTERS["plain"])
    assert excess(found, FILTERS["plain"]) > 4.3


distributions = st.lists(st.floats(0, 1, width=32), min_size=2, max_size=6).filter(lambda values: sum(values) > 0.01)


@given(distributions, distributions, st.data())
def test_a_token_rejected_is_not_drawn(p: list[float], q: list[float], data: st.DataObject) -> None:
    size = min(len(p), len(q))
    target_V, draft_V = np.array(p[:size]) + 1e-3, np.array(q[:size], dtype=np.float32) + np.float32(1e-3)
    token = data.draw(st.integers(0, size - 1))
    numbers = st.floats(0, 1, exclude_max=True)
    chance, number = data.draw(numbers), data.draw(numbers)
    ratio = target_V[token] / target_V.sum() / (draft_V[token] / draft_V.astype(np.float64).sum())
    drawn = accept(target_V, Guess(token, draft_V), chance, number)
    assert 0 <= drawn < size
    if abs(chance - ratio) > 1e-9:
        assert (drawn == token) == (chance < ratio)


def test_a_residual_lost_to_rounding_leaves_the_target() -> None:
    """Rejected by the last bit, with no token that has more than its share."""
    target_V = np.array([0.25, 0.75])
    assert accept(target_V, Guess(1, np.array([0.25, 0.75], np.float32)), 1.0, 0.1) == 0
    assert acceptance.invert(np.array([0.0, 1.0, 0.0]), 0.999) == 1
