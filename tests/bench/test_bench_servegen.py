"""ServeGen: rates and lengths come out as the tables say."""

from __future__ import annotations

from itertools import pairwise
from statistics import mean, quantiles

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.bench import servegen
from colonnade.bench.servegen import Quantiles, Rate
from colonnade.wire.errors import InvalidRequest

RATES = "client,t_s,rate_rps,cv,dist,p1,p2\n"
LENGTHS = "client,t_s,in_p50,in_p90,in_p99,out_p50,out_p90,out_p99\n"


@pytest.mark.parametrize(("dist", "shape"), [("Gamma", 0.8), ("Gamma", 3.0), ("Weibull", 0.9), ("Other", 1.0)])
def test_gaps_have_the_mean_that_the_rate_says(dist: str, shape: float) -> None:
    random = np.random.default_rng(1)
    rate = Rate("0", 0, 20.0, dist, shape, 123.0)
    assert mean(rate.gap(random) for _ in range(20_000)) == pytest.approx(1 / 20, rel=0.05)


def test_a_window_brings_what_its_rates_add_up_to() -> None:
    rates = servegen.parse_rates(
        RATES + "0,0,3,1,Gamma,1,1\n1,0,2,1,Weibull,1,1\n0,600,1,1,Gamma,1,1\n2,0,50,1,Gamma,1,1\n"
    )
    lengths = servegen.parse_lengths(LENGTHS + "0,0,10,10,10,1,1,1\n1,0,20,20,20,1,1,1\n")
    found = servegen.generate(rates, lengths, 100_000, np.random.default_rng(2))
    first = [each for each in found if each.at < 600]
    assert len(first) == pytest.approx(3000, rel=0.06)
    assert len(found) - len(first) == pytest.approx(600, rel=0.15)
    assert sum(each.prompt == 20 for each in first) == pytest.approx(1200, rel=0.1)
    assert found[0].at == 0
    assert all(a.at <= b.at for a, b in pairwise(found))


def test_lengths_follow_the_clock() -> None:
    rates = servegen.parse_rates(RATES + "0,0,1,1,Gamma,9,1\n0,600,1,1,Gamma,9,1\n")
    lengths = servegen.parse_lengths(LENGTHS + "0,600,50,50,50,1,1,1\n0,100,5,5,5,1,1,1\n")
    found = servegen.generate(rates, lengths, 5000, np.random.default_rng(0))
    assert {each.prompt for each in found if each.at < 590} == {5}
    assert {each.prompt for each in found if each.at > 601} == {50}


def test_the_same_seed_gives_the_same_requests() -> None:
    rates = servegen.parse_rates(RATES + "0,0,3,1,Gamma,0.4,1\n")
    lengths = servegen.parse_lengths(LENGTHS + "0,0,10,30,90,5,6,7\n")
    one, two, other = (servegen.generate(rates, lengths, 50, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one == two != other


def test_quantiles_come_out_as_they_went_in() -> None:
    random = np.random.default_rng(3)
    drawn = [Quantiles(100, 400, 1000).at(random.standard_normal()) for _ in range(40_000)]
    cuts = quantiles(drawn, n=100)
    assert [cuts[49], cuts[89], cuts[98]] == pytest.approx([100, 400, 1000], rel=0.06)
    assert max(drawn) < 2500


@given(st.floats(-9, 9), st.floats(-9, 9), st.lists(st.floats(0, 1e6), min_size=3, max_size=3))
def test_a_higher_score_is_no_shorter(a: float, b: float, cuts: list[float]) -> None:
    low, high = sorted((a, b))
    lengths = Quantiles(*sorted(cuts))
    assert 1 <= lengths.at(low) <= lengths.at(high)


@pytest.mark.parametrize("row", ["0,0,x,1,Gamma,1,1", "0,0,1,1,Gamma,0,1", "0,0"])
def test_a_broken_rate(row: str) -> None:
    with pytest.raises(InvalidRequest, match="line 2"):
        servegen.parse_rates(RATES + row + "\n")


def test_broken_lengths_and_strange_clients() -> None:
    with pytest.raises(InvalidRequest, match="line 2"):
        servegen.parse_lengths(LENGTHS + "0,0,1,x,1,1,1,1\n")
    rates = servegen.parse_rates(RATES + "0,0,3,1,Gamma,1,1\n")
    with pytest.raises(InvalidRequest, match="no client"):
        servegen.generate(rates, {}, 5, np.random.default_rng(0))


def test_no_rates_no_requests() -> None:
    assert servegen.generate([], {}, 5, np.random.default_rng(0)) == []
    assert servegen.width([]) == 600
