"""The draw: its distribution, its filters against a straightforward definition, its errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colonnade.engine import sampler
from colonnade.engine.kernels import _native
from colonnade.engine.kernels.ops import Floats
from colonnade.engine.noise import uniform
from colonnade.engine.sampler import NOT_FINITE, Choose, Outcome, Wanted, adjust, logprob
from colonnade.wire.messages import Sampling

GREEDY = Sampling(temperature=0.0)


@pytest.fixture(params=[sampler.choose, _native.choose], ids=["numpy", "native"])
def choose(request: pytest.FixtureRequest) -> Choose:
    return request.param


def draw(logits_SV: Floats, wanted_S: list[Wanted], choose: Choose = _native.choose) -> list[Outcome]:
    return sampler.draw(logits_SV, wanted_S, choose)


def wanted(sampling: Sampling, position: int = 0, prompt: tuple[int, ...] = (), output: tuple[int, ...] = ()) -> Wanted:
    return Wanted(sampling, 0, position, np.array(prompt + output, dtype=np.int32), len(prompt))


def row(*values: float) -> Floats:
    return np.array(values, dtype=np.float32)


def logits(count: int, seed: int, spread: float = 2.0) -> Floats:
    return (spread * np.random.default_rng(seed).standard_normal(count)).astype(np.float32)


# The definition, token by token.


def kept(logits_V: Floats, temperature: float, top_k: int, top_p: float, min_p: float) -> dict[int, float]:
    weights = {t: float(np.exp((float(x) - float(logits_V.max())) / temperature)) for t, x in enumerate(logits_V)}
    if 0 < top_k < len(weights):
        limit = sorted(weights.values(), reverse=True)[top_k - 1]
        weights = {t: w for t, w in weights.items() if w >= limit}
    if top_p < 1:
        total, chosen, reached = sum(weights.values()), {}, 0.0
        for token in sorted(weights, key=lambda t: (-weights[t], t)):
            chosen[token] = weights[token]
            reached += weights[token]
            if reached >= top_p * total:
                break
        weights = chosen
    best = max(weights.values())
    return {t: w for t, w in sorted(weights.items()) if w >= min_p * best}


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    temperature=st.sampled_from([0.05, 0.7, 1.0, 2.0, 50.0]),
    top_k=st.sampled_from([0, 1, 2, 5, 39, 40, 100]),
    top_p=st.sampled_from([0.0, 0.1, 0.5, 0.9, 0.999, 1.0]),
    min_p=st.sampled_from([0.0, 0.05, 0.5, 1.0]),
    number=st.floats(0, 1, exclude_max=True),
)
@pytest.mark.parametrize("choose", [sampler.choose, _native.choose], ids=["numpy", "native"])
def test_filters_follow_their_definition(
    choose: Choose, seed: int, temperature: float, top_k: int, top_p: float, min_p: float, number: float
) -> None:
    logits_V = np.round(logits(40, seed), 1)  # with ties
    weights = kept(logits_V, temperature, top_k, top_p, min_p)
    edges = np.cumsum(list(weights.values())) / sum(weights.values())
    token = choose(logits_V, temperature, top_k, top_p, min_p, number)
    assert token in weights
    place = list(weights).index(token)
    assert (edges[place - 1] if place else 0.0) - 1e-12 <= number <= edges[place] + 1e-12


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(),
        Sampling(temperature=0.6),
        Sampling(temperature=1.5, top_k=6),
        Sampling(top_p=0.8),
        Sampling(min_p=0.1),
        Sampling(temperature=1.3, top_k=8, top_p=0.9, min_p=0.05),
    ],
)
def test_draws_follow_the_distribution(choose: Choose, sampling: Sampling) -> None:
    """Chi-square over 8,000 positions of one seed, with the limit that 1 of 10^4 seeds would cross."""
    logits_V = logits(12, 3)
    weights = kept(logits_V, sampling.temperature, sampling.top_k, sampling.top_p, sampling.min_p)
    count = 8000
    logits_SV = np.repeat(logits_V[None], count, axis=0)
    drawn = [o.token for o in draw(logits_SV, [wanted(sampling, position) for position in range(count)], choose)]
    observed = np.bincount(drawn, minlength=12)
    expected = np.array([weights.get(token, 0.0) for token in range(12)]) / sum(weights.values()) * count
    assert not observed[expected == 0].any()
    common = expected > 5
    statistic = ((observed - expected)[common] ** 2 / expected[common]).sum()
    assert statistic < common.sum() + 4 * (2 * common.sum()) ** 0.5 + 8


def test_noise_is_that_of_seed_choice_and_position(choose: Choose) -> None:
    logits_V = logits(50, 1)
    sampling = Sampling(seed=99, temperature=0.9)
    one = Wanted(sampling, 2, 17, np.zeros(0, np.int32), 0)
    assert draw(logits_V[None], [one], choose)[0].token == choose(logits_V, 0.9, 0, 1.0, 0.0, uniform(99, 2, 17))


def test_company_does_not_matter() -> None:
    rng = np.random.default_rng(5)
    rows = rng.standard_normal((9, 300)).astype(np.float32)
    samplings = [
        Sampling(seed=i, temperature=i % 3 / 2, top_k=i, top_p=1 - i / 20, logprobs=i, repetition_penalty=1 + i / 10)
        for i in range(9)
    ]
    asked = [wanted(sampling, i, (1, 2), (3, i)) for i, sampling in enumerate(samplings)]
    together = draw(rows, asked)
    assert together == [draw(rows[i : i + 1], asked[i : i + 1])[0] for i in range(9)]
    assert together[::-1] == draw(np.ascontiguousarray(rows[::-1]), asked[::-1])


def test_greedy_takes_the_lowest_of_equals() -> None:
    assert draw(row(1, 3, 3, 2)[None], [wanted(GREEDY)])[0].token == 1


def test_zero_temperature_ignores_filters_but_not_penalties() -> None:
    sampling = Sampling(temperature=0.0, presence_penalty=2.0, top_k=1, top_p=0.1)
    assert draw(row(1, 3, 2)[None], [wanted(sampling, 1, (), (1,))])[0].token == 2


def test_penalties() -> None:
    sampling = Sampling(repetition_penalty=2.0, presence_penalty=0.25, frequency_penalty=0.5)
    adjusted = adjust(row(4, -4, 4, 4, 1), wanted(sampling, 3, (0, 1, 0), (2, 2, 1)))
    # prompt and output: 0, 1, 2 repeat; output alone: 2 twice, 1 once
    assert adjusted.tolist() == [2.0, -8.75, 0.75, 4.0, 1.0]


def test_bias_reaches_known_tokens_only() -> None:
    sampling = Sampling(logit_bias={1: 5.0, 7: 9.0, -1: 9.0})
    assert adjust(row(0, 0, 0), wanted(sampling)).tolist() == [0.0, 5.0, 0.0]


def test_adjusting_leaves_the_logits_alone() -> None:
    logits_V = row(1, 2, 3)
    adjust(logits_V, wanted(Sampling(logit_bias={0: 1.0}, presence_penalty=1.0), 1, (), (1,)))
    assert logits_V.tolist() == [1, 2, 3]


def test_logprobs_are_of_the_raw_distribution() -> None:
    logits_V = row(1, 2, 2, -1)
    sampling = Sampling(temperature=0.3, logprobs=3, logit_bias={3: 50.0})
    drawn = draw(logits_V[None], [wanted(sampling)])[0]
    raw = np.log(np.exp(logits_V.astype(np.float64)) / np.exp(logits_V.astype(np.float64)).sum())
    assert drawn.token == 3
    assert drawn.logprob is not None
    assert drawn.logprob.logprob == pytest.approx(raw[3])
    assert [token for token, _ in drawn.logprob.top] == [1, 2, 0]
    assert [value for _, value in drawn.logprob.top] == pytest.approx([raw[1], raw[2], raw[0]])


@pytest.mark.parametrize(("asked", "given_back"), [(0, 0), (2, 2), (9, 4)])
def test_logprobs_of_as_many_as_there_are(asked: int, given_back: int) -> None:
    assert len(logprob(row(1, 2, 3, 4), 0, asked).top) == given_back


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("sampling", [GREEDY, Sampling(), Sampling(logit_bias={0: 1.0})])
def test_what_is_no_number_ends_its_request_alone(bad: float, sampling: Sampling) -> None:
    rows = np.stack([row(1, 2, 3), row(1, bad, 3), row(3, 2, 1)])
    outcomes = draw(rows, [wanted(GREEDY), wanted(sampling), wanted(GREEDY)])
    assert [outcome.error for outcome in outcomes] == ["", NOT_FINITE, ""]
    assert [outcomes[0].token, outcomes[2].token] == [2, 0]


def test_bias_of_infinity_ends_its_request() -> None:
    assert draw(row(1, 2)[None], [wanted(Sampling(logit_bias={0: float("inf")}))])[0].error == NOT_FINITE


def test_a_number_next_to_one_takes_the_last_token_kept(choose: Choose) -> None:
    assert choose(row(0, 0, -900), 1.0, 0, 1.0, 0.0, 1 - 2.0**-53) == 1


def test_native_and_reference_agree() -> None:
    """Their exponentials differ in the last bit: a number would have to fall that close to an edge."""
    rng = np.random.default_rng(8)
    for _ in range(300):
        logits_V = logits(int(rng.integers(1, 3000)), int(rng.integers(1000)), float(rng.uniform(0.1, 9)))
        filters = (float(rng.uniform(0.01, 3)), int(rng.integers(0, 60)), float(rng.uniform(0, 1.2)), 0.01)
        number = float(rng.uniform())
        assert sampler.choose(logits_V, *filters, number) == _native.choose(logits_V, *filters, number)


def test_an_extreme_temperature(choose: Choose) -> None:
    assert choose(row(1, 2, 1.999), 1e-300, 0, 1.0, 0.0, 0.999) == 1
    assert choose(row(-1e38, 3e38, 0), 1e-6, 0, 1.0, 0.0, 0.0) == 1
    assert choose(row(0, 5, 0), 1e300, 0, 1.0, 0.0, 0.9) == 2


def test_native_choose_refuses_what_it_cannot_draw_from() -> None:
    with pytest.raises(ValueError, match="temperature"):
        _native.choose(row(1), 0.0, 0, 1.0, 0.0, 0.5)
