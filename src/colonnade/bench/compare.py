"""Two reports side by side, as ratios. Pure."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from colonnade.bench.report import Report
from colonnade.bench.table import seconds
from colonnade.wire.errors import InvalidRequest

TOLERANCE = 0.10
"""Probes of the machine that differ by more make the runs hard to compare."""

_TIMES = ("ttft_s", "inter_token_s", "per_token_s", "end_to_end_s")
_FLOWS = ("requests_per_s", "prompt_tokens_per_s", "output_tokens_per_s", "hit_rate")


class Ratio(msgspec.Struct, frozen=True):
    """`ratio` is b / a; None where a is 0 or one of the two has no value."""

    metric: str
    a: float | None
    b: float | None
    ratio: float | None


class Comparison(msgspec.Struct, frozen=True):
    ratios: tuple[Ratio, ...]
    warnings: tuple[str, ...]


def decode(data: bytes, name: str) -> Report:
    """Raises InvalidRequest for what is no report."""
    try:
        return msgspec.json.decode(data, type=Report)
    except msgspec.DecodeError as cause:
        raise InvalidRequest(
            f"{name} is no report of `colonnade bench`: {cause}", hint="`bench --json FILE` writes one"
        ) from cause


def compare(a: Report, b: Report) -> Comparison:
    return Comparison(tuple(_ratios(a, b)), tuple(_warnings(a, b)))


def render(comparison: Comparison) -> str:
    lines = [f"{'':34}{'A':>12}{'B':>12}{'B/A':>9}"]
    for each in comparison.ratios:
        shown = [_show(each.metric, value) for value in (each.a, each.b)]
        ratio = "-" if each.ratio is None else f"{each.ratio:.3f}"
        lines.append(f"{each.metric:34}{shown[0]:>12}{shown[1]:>12}{ratio:>9}")
    return "\n".join(lines)


def _ratios(a: Report, b: Report) -> Iterator[Ratio]:
    for name in _TIMES:
        left, right = getattr(a, name), getattr(b, name)
        for level in ("p50", "p90", "p95", "p99", "mean"):
            yield _ratio(f"{name}.{level}", getattr(left, level, None), getattr(right, level, None))
    for name in _FLOWS:
        yield _ratio(name, getattr(a.throughput, name), getattr(b.throughput, name))
    if a.goodput is not None and b.goodput is not None:
        yield _ratio("goodput_per_s", a.goodput.requests_per_s, b.goodput.requests_per_s)
    yield _ratio("ok", a.requests.ok, b.requests.ok)
    yield _ratio("failed", a.requests.failed, b.requests.failed)


def _ratio(metric: str, a: float | None, b: float | None) -> Ratio:
    return Ratio(metric, a, b, b / a if a and b is not None else None)


def _warnings(a: Report, b: Report) -> Iterator[str]:
    for name in ("format", "requests", "rate", "scale_tokens", "seed", "model"):
        left, right = getattr(a.run, name), getattr(b.run, name)
        if left != right:
            yield f"the runs differ in {name}: {left} and {right}"
    if a.run.trace.rpartition("/")[2] != b.run.trace.rpartition("/")[2]:
        yield f"the runs differ in trace: {a.run.trace} and {b.run.trace}"
    if a.goodput is not None and b.goodput is not None and a.goodput.levels != b.goodput.levels:
        yield "the runs were held to different service levels"
    yield from _probes(a, b)


def _probes(a: Report, b: Report) -> Iterator[str]:
    left, right = ({probe.threads: probe for probe in each.machine.probes} for each in (a, b))
    if not left.keys() & right.keys():
        yield "the machine was probed in one run at most: nothing says that it was as fast in the other"
    for threads in sorted(left.keys() & right.keys()):
        for name in ("gb_per_s", "gflops"):
            x, y = getattr(left[threads], name), getattr(right[threads], name)
            if abs(y - x) > TOLERANCE * x:
                yield f"the machine differed: {name} on {threads} thread(s) {x:g} and {y:g}"


def _show(metric: str, value: float | None) -> str:
    if value is None:
        return "-"
    if metric.split(".")[0] in _TIMES:
        return seconds(value)
    return f"{value:.0f}" if metric in ("ok", "failed") else f"{value:.4g}"
