"""Scaling on a virtual clock: what a model takes, what the oracle needs, what rules attain."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from colonnade.bench.servegen import Quantiles, Rate
from colonnade.cli import cli
from colonnade.simulate.demand import Demand, Slo, demand
from colonnade.simulate.replica import Speed
from colonnade.simulate.scalers import RULES, Knative, RayServe
from colonnade.simulate.scaling import MINUTE, least, oracle, run, score
from colonnade.wire.errors import InvalidRequest

SLO = Slo()
LENGTHS = {"a": [(0.0, Quantiles(100, 200, 400), Quantiles(20, 40, 60))]}
HOURS = [30.0, 60.0, 120.0, 240.0, 120.0, 60.0, 30.0, 60.0, 120.0, 240.0, 120.0, 60.0]


def asked(rates: list[float], client: str = "a") -> Demand:
    return demand(
        [Rate(client, 600.0 * n, rate, "Gamma", 1.0, 1.0) for n, rate in enumerate(rates)], LENGTHS, Speed(), SLO, 1
    )


def test_arrivals_are_those_of_the_rates_and_a_replica_at_its_capacity_just_attains() -> None:
    found = asked(HOURS)
    windows = found.arrivals_T.reshape(len(HOURS), -1).sum(axis=1) / 600
    assert np.allclose(windows, HOURS, rtol=0.05)
    assert found.seconds == 600 * len(HOURS)
    tick = found.ticks[0]
    assert tick.first_token(tick.capacity) <= SLO.first * (1 + 1e-9)
    assert tick.in_flight(tick.capacity) > tick.in_flight(tick.capacity / 2)
    with pytest.raises(InvalidRequest, match="no client"):
        demand([], LENGTHS, Speed(), SLO, 1)


def test_who_has_no_lengths_has_those_of_the_others() -> None:
    assert (asked([30.0], "b").capacity_T == asked([30.0]).capacity_T).all()


@given(st.lists(st.integers(1, 4), min_size=2, max_size=12), st.sampled_from((0.0, 60.0, 120.0)))
def test_the_oracle_is_the_cheapest_of_all_ways(need: list[int], start_s: float) -> None:
    """Of all ways to have at least what is needed in each minute; each replica that is added pays for its start."""
    ways = {need[0]: 0.0} | dict.fromkeys(range(need[0], 5), 0.0)
    for minute, least_ in enumerate(need):
        ways = {
            now: min(cost + (start_s * max(0, now - before) if minute else 0.0) for before, cost in ways.items())
            + now * MINUTE
            for now in range(least_, 5)
        }
    assert oracle(np.array(need), start_s) == pytest.approx(min(ways.values()))


@pytest.mark.parametrize("name", RULES)
def test_a_rule_is_scored_alike_each_time_and_never_beats_full_foresight_by_much(name: str) -> None:
    found = [score(name, asked(HOURS), 3600.0, 30.0, SLO) for _ in range(2)]
    assert found[0] == found[1]
    assert 0.5 < found[0].attained <= 1
    assert found[0].over_oracle > 0.9


def test_enough_replicas_attain_everything() -> None:
    found = asked(HOURS)

    class Fixed:
        def decide(self, now: float, in_flight: float, waiting: float, wanted: int, ready: int) -> int:
            return int(least(found).max())

    whole = run(found, Fixed(), 30.0, int(least(found).max()), SLO)
    assert whole.attained == 1
    assert whole.replica_s == least(found).max() * found.seconds
    assert run(found, Fixed(), 30.0, 1, SLO).attained < 1


def test_knative_panics_and_keeps_what_it_has_for_a_minute() -> None:
    rule = Knative(10.0)
    assert [rule.decide(5.0 * n, 10, 0, 1, 1) for n in range(3)] == [1, 1, 1]
    assert rule.decide(15.0, 100, 0, 1, 1) > 1
    kept = rule.decide(20.0, 100, 0, 6, 2)
    assert all(rule.decide(20.0 + 5 * n, 0, 0, kept, kept) == kept for n in range(1, 12))
    assert rule.decide(85.0, 0, 0, kept, kept) < kept


def test_ray_serve_waits_before_it_follows() -> None:
    rule = RayServe(10.0)
    more = [rule.decide(5.0 * n, 40, 0, 1, 1) for n in range(8)]
    assert more == [1] * 6 + [4, 1]
    rule = RayServe(10.0)
    less = [rule.decide(5.0 * n, 10, 0, 4, 4) for n in range(122)]
    assert less == [4] * 120 + [1, 4]


def test_by_command(tmp_path: Path) -> None:
    rows = "".join(f"a,{600 * n},{rate},1.0,Gamma,1.0,1.0\n" for n, rate in enumerate(HOURS))
    (tmp_path / "rates.csv").write_text("client,t_s,rate_rps,cv,dist,p1,p2\n" + rows)
    head = "client,t_s,in_mean,in_p50,in_p90,in_p99,out_mean,out_p50,out_p90,out_p99\n"
    (tmp_path / "lengths.csv").write_text(head + "a,0,120,100,200,400,25,20,40,60\n")
    words = ["fleet", "simulate", str(tmp_path / "rates.csv"), "--learn", "1h", "--start", "30s", "--json"]
    told = CliRunner().invoke(cli, [*words, "--rule", "knative", "--rule", "colonnade"])
    found = msgspec.json.decode(told.stdout)
    assert [(each["rule"], each["start_s"]) for each in found] == [("knative", 30.0), ("colonnade", 30.0)]
    assert CliRunner().invoke(cli, [*words, "--rule", "cost"]).exit_code == 2
    assert CliRunner().invoke(cli, [*words[:4], "9d"]).exit_code == 2
