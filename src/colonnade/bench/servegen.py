"""Requests from ServeGen's clients: many small renewal processes whose rates and lengths change by the window.

Source: "ServeGen", arXiv 2505.09999. For each client and window the gaps between requests are drawn from a Gamma or
Weibull distribution (p1 shape, p2 scale) and stretched so that their mean is 1/rate_rps; a client without a row for a
window is silent in it. A client's first gap of a window is cut at a uniform place, since the window opens at no
special moment for it.

Lengths come from quantiles: the logarithm of the length is piecewise linear in the normal score through p50, p90 and
p99, mirrored below the median, and not drawn beyond the score of the 99.9th percentile.

Pure: the randomness is the generator that is handed in.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, pairwise
from statistics import NormalDist

import numpy as np

from colonnade.bench.trace import LENGTHS, RATES, Request, broken, detect, rows
from colonnade.wire.errors import InvalidRequest

_NORMAL = NormalDist()
_SCORES = tuple(_NORMAL.inv_cdf(level) for level in (0.5, 0.9, 0.99))
_FURTHEST = _NORMAL.inv_cdf(0.999)


@dataclass(frozen=True, slots=True)
class Rate:
    """How one client sends in one window. `rate` in requests per second."""

    client: str
    at: float
    rate: float
    dist: str
    shape: float
    scale: float

    def gap(self, random: np.random.Generator) -> float:
        """Seconds to the client's next request."""
        if self.dist.lower() == "weibull":
            drawn, mean = random.weibull(self.shape), math.gamma(1 + 1 / self.shape)
        elif self.dist.lower() == "gamma":
            drawn, mean = random.gamma(self.shape), self.shape
        else:
            drawn, mean = random.exponential(), 1.0
        return float(drawn) / mean / self.rate


@dataclass(frozen=True, slots=True)
class Quantiles:
    """p50, p90 and p99 of a length in tokens."""

    p50: float
    p90: float
    p99: float

    def at(self, score: float) -> int:
        """The length whose rank has this normal score."""
        far = min(abs(score), _FURTHEST)
        logs = [math.log(max(value, 1.0)) for value in (self.p50, self.p90, self.p99)]
        left = 0 if far < _SCORES[1] else 1
        slope = (logs[left + 1] - logs[left]) / (_SCORES[left + 1] - _SCORES[left])
        rise = logs[left] + slope * (far - _SCORES[left]) - logs[0]
        return max(1, round(math.exp(logs[0] + math.copysign(rise, score))))


Lengths = dict[str, list[tuple[float, Quantiles, Quantiles]]]
"""By client, in order of time: from when, of the prompt, of the output."""


def parse_rates(text: str) -> list[Rate]:
    return [_rate(line, row) for line, row in rows(text)]


def parse_lengths(text: str) -> Lengths:
    """Raises InvalidRequest for a file that is no table of lengths."""
    if detect(text) != "lengths":
        raise InvalidRequest(f"not a file of lengths: it must have the columns {', '.join(LENGTHS)}", param="--lengths")
    found: Lengths = {}
    for line, row in rows(text):
        try:
            pair = [Quantiles(*(float(row[f"{side}_{p}"]) for p in ("p50", "p90", "p99"))) for side in ("in", "out")]
            found.setdefault(row["client"], []).append((float(row["t_s"]), pair[0], pair[1]))
        except (ValueError, KeyError, TypeError) as cause:
            raise broken(line, cause) from cause
    for steps in found.values():
        steps.sort(key=lambda step: step[0])
    return found


def generate(rates: list[Rate], lengths: Lengths, count: int, random: np.random.Generator) -> list[Request]:
    """The first `count` requests, in order of time, the first at 0; fewer when the trace ends before."""
    known = [rate for rate in rates if rate.rate > 0 and rate.client in lengths]
    if rates and not known:
        raise InvalidRequest("no client of the trace has lengths", hint="--lengths FILE of the same trace")
    drawn = list(islice(_requests(known, lengths, random), count))
    start = drawn[0].at if drawn else 0.0
    return [Request(request.at - start, request.prompt, request.output) for request in drawn]


def width(rates: list[Rate]) -> float:
    """Seconds of a window: the smallest step between two of them; 600 where there is one only."""
    times = sorted({rate.at for rate in rates})
    return min((b - a for a, b in pairwise(times)), default=600.0)


def _requests(rates: list[Rate], lengths: Lengths, random: np.random.Generator) -> Iterator[Request]:
    span = width(rates)
    windows: dict[float, list[Rate]] = {}
    for rate in rates:
        windows.setdefault(rate.at, []).append(rate)
    for at in sorted(windows):
        for moment, client in heapq.merge(*(_sends(rate, at + span, random) for rate in windows[at])):
            prompt, output = _quantiles(lengths[client], moment)
            yield Request(moment, prompt.at(random.standard_normal()), output.at(random.standard_normal()))


def _sends(rate: Rate, end: float, random: np.random.Generator) -> Iterator[tuple[float, str]]:
    moment = rate.at + rate.gap(random) * random.random()
    while moment < end:
        yield moment, rate.client
        moment += rate.gap(random)


def _quantiles(steps: list[tuple[float, Quantiles, Quantiles]], moment: float) -> tuple[Quantiles, Quantiles]:
    """Of the last step that has begun; the first one before that."""
    begun = [step for step in steps if step[0] <= moment] or steps[:1]
    return begun[-1][1], begun[-1][2]


def _rate(line: int, row: dict[str, str]) -> Rate:
    try:
        numbers = [float(row[name]) for name in ("t_s", "rate_rps", "p1", "p2")]
        rate = Rate(row["client"], numbers[0], numbers[1], row["dist"], numbers[2], numbers[3])
    except (ValueError, KeyError, TypeError) as cause:
        raise broken(line, cause) from cause
    if rate.rate > 0 and rate.shape <= 0:
        raise broken(line, ValueError(f"shape {rate.shape} of {', '.join(RATES[3:])}"))
    return rate
