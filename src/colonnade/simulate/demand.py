"""What a trace of rates asks for, tick by tick: requests and their lengths, and what a replica can take of them.

Arrivals of a tick are the rate times its length, and noise: the clients are renewal processes, so their counts vary by
cv^2 times the mean (the sum of many is normal enough). Lengths are the means of a window, by the rates of its clients.

A replica is `replica.Speed`, in closed form. At x requests a second it holds r = x * output * (step + slope * r) that
decode and x * prefill that are computed, one at a time (M/M/1, so p95 to the first token is ln 20 * s / (1 - x s)).
Its capacity is the largest x at which both levels hold, with the 95th percentile of a Poisson number decoding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from math import gamma, log, sqrt
from statistics import NormalDist, fmean
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from colonnade.simulate.replica import Speed
from colonnade.wire.errors import InvalidRequest

TICK_S = 5.0
DAY_S = 86_400.0
_P95 = NormalDist().inv_cdf(0.95)
_LN20 = log(20.0)
_RANKS = [NormalDist().inv_cdf((n + 0.5) / 200) for n in range(200)]

Floats = NDArray[np.float64]


class Rate(Protocol):
    """How one client sends in one window, as `bench.servegen` reads it: `rate` requests a second from `at` on, the gaps
    drawn from `dist` with this shape."""

    @property
    def client(self) -> str: ...
    @property
    def at(self) -> float: ...
    @property
    def rate(self) -> float: ...
    @property
    def dist(self) -> str: ...
    @property
    def shape(self) -> float: ...


class Quantiles(Protocol):
    def at(self, score: float) -> int:
        """The length in tokens whose rank has this normal score."""
        ...


Lengths = Mapping[str, Sequence[tuple[float, Quantiles, Quantiles]]]
"""By client, in order of time: from when, of the prompt, of the output."""


@dataclass(frozen=True)
class Slo:
    """The 95th percentiles that have to hold; seconds."""

    first: float = 2.0
    between: float = 0.05


class Tick(NamedTuple):
    """One of a `Demand`."""

    arrivals: float
    capacity: float
    prefill: float
    decode: float
    slope: float

    def in_flight(self, rate: float) -> float:
        """Of one replica that serves `rate` requests a second."""
        busy = min(rate * self.prefill, 0.999)
        return busy / (1 - busy) + rate * self.decode / max(1 - rate * self.slope, 1e-3)

    def first_token(self, rate: float) -> float:
        """The 95th percentile of its time to the first token, in seconds, without other waiting."""
        return _LN20 * self.prefill / max(1 - rate * self.prefill, 1e-9)


@dataclass(frozen=True)
class Demand:
    """By tick: requests that come in it, what one replica can take a second, and what one with that holds in flight.
    `prefill`: seconds to compute a prompt; `decode`: to draw an answer alone; `slope`: what each other one adds."""

    arrivals_T: Floats
    capacity_T: Floats
    prefill_T: Floats
    decode_T: Floats
    slope_T: Floats

    def part(self, first: float, last: float) -> Demand:
        """From one second to another."""
        cut = slice(int(first / TICK_S), int(last / TICK_S))
        return Demand(
            self.arrivals_T[cut], self.capacity_T[cut], self.prefill_T[cut], self.decode_T[cut], self.slope_T[cut]
        )

    @property
    def seconds(self) -> float:
        return len(self.arrivals_T) * TICK_S

    @cached_property
    def ticks(self) -> list[Tick]:
        columns = (self.arrivals_T, self.capacity_T, self.prefill_T, self.decode_T, self.slope_T)
        return [Tick(*row) for row in zip(*(each.tolist() for each in columns), strict=True)]

    def full(self) -> float:
        """In flight on a replica at its capacity, by the mean."""
        ticks = self.ticks[:: max(1, len(self.ticks) // 500)]
        return fmean(each.in_flight(each.capacity) for each in ticks)


def demand(rates: Sequence[Rate], lengths: Lengths, speed: Speed, slo: Slo, seed: int) -> Demand:
    """From the trace's first window to the end of its last; a client without lengths has the mean of the others'.
    Raises InvalidRequest where there are none."""
    known = [each for each in rates if each.rate > 0]
    if not (known and lengths):
        raise InvalidRequest("no client of the trace has lengths", hint="name the file of lengths of the same trace")
    first, span = min(each.at for each in known), _width(known)
    windows = round((max(each.at for each in known) - first) / span) + 1
    table = np.zeros((4, windows))
    means = {
        client: [(at, _mean(ask), _mean(answer)) for at, ask, answer in steps] for client, steps in lengths.items()
    }
    for each in known:
        prompt, output = _at(means, each.client, each.at)
        table[:, round((each.at - first) / span)] += each.rate * np.array([1.0, _cv2(each), prompt, output])
    rate_W, varied_W = table[0], table[1]
    prompt_W, output_W = table[2:] / np.maximum(rate_W, 1e-9)
    repeats = round(span / TICK_S)
    noise_T = np.random.default_rng(seed).standard_normal(windows * repeats)
    arrivals_T = np.repeat(rate_W, repeats) * TICK_S + np.sqrt(np.repeat(varied_W, repeats) * TICK_S) * noise_T
    prefill_W = speed.overhead + prompt_W / speed.prefill
    capacity_W = _capacity(prefill_W, output_W, speed, slo)
    each_W = (capacity_W, prefill_W, output_W * speed.step, output_W * speed.slope)
    return Demand(np.maximum(arrivals_T, 0.0), *(np.repeat(values_W, repeats) for values_W in each_W))


def _capacity(prefill_W: Floats, output_W: Floats, speed: Speed, slo: Slo) -> Floats:
    most = (slo.between - speed.step) / speed.slope
    running = ((sqrt(_P95**2 + 4 * most) - _P95) / 2) ** 2
    by_decode_W = running / (np.maximum(output_W, 1.0) * (speed.step + speed.slope * running))
    by_prefill_W = np.maximum(1 - _LN20 * prefill_W / slo.first, 0.01) / prefill_W
    return np.minimum(by_decode_W, by_prefill_W)


def _at(means: dict[str, list[tuple[float, float, float]]], client: str, at: float) -> tuple[float, float]:
    """Of the last row that has begun, else of the first."""
    if client not in means:
        found = [_at(means, each, at) for each in means]
        return fmean(prompt for prompt, _ in found), fmean(output for _, output in found)
    steps = means[client]
    _, prompt, output = next((step for step in reversed(steps) if step[0] <= at), steps[0])
    return prompt, output


def _width(rates: Sequence[Rate]) -> float:
    """Seconds of a window: the smallest step between two of them."""
    times = sorted({rate.at for rate in rates})
    return min((later - at for at, later in pairwise(times)), default=600.0)


def _mean(quantiles: Quantiles) -> float:
    return fmean(quantiles.at(score) for score in _RANKS)


def _cv2(rate: Rate) -> float:
    """Variance over the squared mean, of the gaps."""
    match rate.dist.lower():
        case "weibull":
            return gamma(1 + 2 / rate.shape) / gamma(1 + 1 / rate.shape) ** 2 - 1
        case "gamma":
            return 1 / rate.shape
        case _:
            return 1.0
