"""The report of a run: what is written with --json, and what two runs are compared by. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from colonnade.bench.measurement import Measured
from colonnade.bench.percentiles import Summary, summary
from colonnade.bench.probe import Machine

LATE = 0.050
"""Seconds: a 99th percentile of lateness beyond it says the generator could not keep up."""


class Run(msgspec.Struct, frozen=True):
    """What was asked for. `rate` None: the trace's own moments."""

    trace: str
    format: str
    requests: int
    rate: float | None
    scale_tokens: float
    seed: int
    timeout_s: float
    url: str
    model: str


class Counts(msgspec.Struct, frozen=True):
    """`clipped`: sent shorter than the trace says, to fit the context. `errors` by code."""

    sent: int
    ok: int
    failed: int
    errors: dict[str, int]
    clipped: int


class Throughput(msgspec.Struct, frozen=True):
    """Of answered requests, over the time from the first planned moment to the last answer's end."""

    requests_per_s: float
    prompt_tokens: int
    output_tokens: int
    prompt_tokens_per_s: float
    output_tokens_per_s: float
    cached_tokens: int
    hit_rate: float


class Levels(msgspec.Struct, frozen=True):
    """Service levels, in seconds; None: not asked for. An answer's inter-token time is its mean."""

    ttft_s: float | None = None
    inter_token_s: float | None = None


class Goodput(msgspec.Struct, frozen=True):
    """Answers that met every level; `share` of all that were sent."""

    levels: Levels
    met: int
    share: float
    requests_per_s: float


class Report(msgspec.Struct, frozen=True):
    colonnade: str
    started: str
    run: Run
    server: dict[str, Any]
    """The model's entry of the server's /v1/models, with its numerics fingerprint and settings."""
    requests: Counts
    duration_s: float
    ttft_s: Summary | None
    inter_token_s: Summary | None
    per_token_s: Summary | None
    end_to_end_s: Summary | None
    throughput: Throughput
    goodput: Goodput | None
    lateness_s: Summary | None
    machine: Machine
    version: int = 1

    @property
    def late(self) -> bool:
        return self.lateness_s is not None and self.lateness_s.p99 > LATE


def build(
    run: Run,
    measured: Sequence[Measured],
    levels: Levels,
    machine: Machine,
    server: dict[str, Any],
    *,
    colonnade: str,
    started: str,
) -> Report:
    """Latencies are those of answered requests alone; the failed are counted by code."""
    ok = [each for each in measured if each.ok]
    duration = max((each.ended for each in measured), default=0.0)
    return Report(
        colonnade=colonnade,
        started=started,
        run=run,
        server=server,
        requests=_counts(measured),
        duration_s=duration,
        ttft_s=summary(each.first for each in ok if each.first is not None),
        inter_token_s=summary(gap for each in ok for gap in each.gaps),
        per_token_s=summary(each.per_token for each in ok if each.per_token is not None),
        end_to_end_s=summary(each.end_to_end for each in ok),
        throughput=_throughput(ok, duration),
        goodput=_goodput(measured, levels, duration),
        lateness_s=summary(each.late for each in measured),
        machine=machine,
    )


def meets(measured: Measured, levels: Levels) -> bool:
    """Whether it was answered in time. An answer of one token has no inter-token time, and so meets any."""
    if not measured.ok:
        return False
    within = (
        levels.ttft_s is None or (measured.first is not None and measured.first <= levels.ttft_s),
        levels.inter_token_s is None or (measured.per_token or 0.0) <= levels.inter_token_s,
    )
    return all(within)


def _counts(measured: Sequence[Measured]) -> Counts:
    errors = Counter(each.error for each in measured if each.error)
    failed = sum(errors.values())
    clipped = sum(each.sized.clipped for each in measured)
    return Counts(len(measured), len(measured) - failed, failed, dict(errors.most_common()), clipped)


def _throughput(ok: Sequence[Measured], duration: float) -> Throughput:
    prompt, output, cached = (sum(getattr(each, name) for each in ok) for name in ("prompt", "completion", "cached"))
    return Throughput(
        requests_per_s=_over(len(ok), duration),
        prompt_tokens=prompt,
        output_tokens=output,
        prompt_tokens_per_s=_over(prompt, duration),
        output_tokens_per_s=_over(output, duration),
        cached_tokens=cached,
        hit_rate=_over(cached, prompt),
    )


def _goodput(measured: Sequence[Measured], levels: Levels, duration: float) -> Goodput | None:
    if levels == Levels():
        return None
    met = sum(meets(each, levels) for each in measured)
    return Goodput(levels, met, _over(met, len(measured)), _over(met, duration))


def _over(part: float, whole: float) -> float:
    """A rate over less than a microsecond would say nothing, and may not be a finite number."""
    return part / whole if whole > 1e-6 else 0.0
