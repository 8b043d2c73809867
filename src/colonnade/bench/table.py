"""A report as people read it: plain text, the same on a terminal and in a file. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from colonnade.bench.percentiles import Summary
from colonnade.bench.report import Report

ROWS = (
    ("time to first token", "ttft_s"),
    ("between tokens", "inter_token_s"),
    ("mean per token", "per_token_s"),
    ("end to end", "end_to_end_s"),
    ("sent late by", "lateness_s"),
)


def render(report: Report) -> str:
    return "\n".join(_lines(report))


def warnings(report: Report) -> Iterator[str]:
    """What a reader must know before quoting a figure."""
    if report.late:
        assert report.lateness_s is not None
        late = seconds(report.lateness_s.p99)
        yield f"the load generator was late (p99 {late}): this machine cannot send at that rate; latencies include it"
    if report.requests.clipped:
        yield f"{report.requests.clipped} requests were clipped to the model's context (--scale-tokens shortens all)"
    if report.requests.failed:
        yield f"{report.requests.failed} of {report.requests.sent} requests failed: {_errors(report)}"
    if report.machine.note:
        yield report.machine.note


def seconds(value: float) -> str:
    """Four digits that matter, in the unit that suits."""
    if abs(value) >= 100:
        return f"{value:.0f} s"
    return f"{value:.2f} s" if abs(value) >= 1 else f"{value * 1000:.3g} ms"


def _lines(report: Report) -> Iterator[str]:
    run, counts, flow = report.run, report.requests, report.throughput
    pace = f"{run.rate:g} requests/s (Poisson)" if run.rate is not None else "the trace's own moments"
    yield f"{run.model} at {run.url}"
    yield f"{run.trace} ({run.format}), {pace}, tokens x {run.scale_tokens:g}, seed {run.seed}"
    yield f"{counts.ok} of {counts.sent} requests answered in {report.duration_s:.1f} s" + (
        f"; failed: {_errors(report)}" if counts.failed else ""
    )
    yield ""
    yield f"{'':22}" + "".join(f"{name:>11}" for name in ("p50", "p90", "p95", "p99", "mean", "max"))
    for title, name in ROWS:
        yield _row(title, getattr(report, name))
    yield ""
    yield f"answered    {flow.requests_per_s:10.2f} requests/s"
    hits = f"{flow.hit_rate:.1%} of {flow.prompt_tokens} cached"
    yield f"read        {flow.prompt_tokens_per_s:10.1f} prompt tokens/s, {hits}"
    yield f"written     {flow.output_tokens_per_s:10.1f} tokens/s, {flow.output_tokens} in all"
    yield from _goodput(report)
    for probe in report.machine.probes:
        yield f"machine     {probe.gb_per_s:10.1f} GB/s read, {probe.gflops:.0f} GFLOP/s on {probe.threads} thread(s)"


def _goodput(report: Report) -> Iterator[str]:
    if report.goodput is not None:
        levels = report.goodput.levels
        asked = [f"first token <= {seconds(levels.ttft_s)}"] if levels.ttft_s is not None else []
        asked += [f"per token <= {seconds(levels.inter_token_s)}"] if levels.inter_token_s is not None else []
        good = report.goodput
        yield f"goodput     {good.requests_per_s:10.2f} requests/s, {good.share:.1%} with {' and '.join(asked)}"


def _row(title: str, values: Summary | None) -> str:
    if values is None:
        return f"{title:22}{'-':>11}"
    figures = (values.p50, values.p90, values.p95, values.p99, values.mean, values.max)
    return f"{title:22}" + "".join(f"{seconds(figure):>11}" for figure in figures)


def _errors(report: Report) -> str:
    return ", ".join(f"{count} {code}" for code, count in report.requests.errors.items())
