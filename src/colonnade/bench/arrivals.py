"""When requests are sent: at the trace's own moments, or as a Poisson process. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from colonnade.bench.trace import Request

_LAP = 1 << 40
"""Between the block ids of two laps: more than any trace has."""


def schedule(requests: Sequence[Request], count: int, rate: float | None, random: np.random.Generator) -> list[Request]:
    """`count` requests with the times to send them at, the first at 0.

    A trace that is too short starts again from its beginning, as far after its last request as its mean gap, and with
    block ids of its own: a second lap finds nothing of the first in a cache. With `rate` (requests per second) the
    gaps are exponential instead, and the order and lengths stay the trace's.
    """
    assert requests
    looped = [_again(requests, index) for index in range(count)]
    if rate is None:
        return looped
    gaps = random.exponential(1 / rate, max(count - 1, 0))
    moments = np.concatenate([np.zeros(min(count, 1)), np.cumsum(gaps)])
    return [replace(request, at=float(at)) for request, at in zip(looped, moments, strict=True)]


def _again(requests: Sequence[Request], index: int) -> Request:
    lap, place = divmod(index, len(requests))
    if not lap:
        return requests[place]
    span = requests[-1].at
    mean = span / (len(requests) - 1) if span else 1.0
    again = requests[place]
    blocks = tuple(block + lap * _LAP for block in again.blocks)
    return replace(again, at=again.at + lap * (span + mean), blocks=blocks)
