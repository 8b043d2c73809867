"""A report as people read it, in Markdown. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from colonnade.bench.peers.figures import Spread
from colonnade.bench.peers.report import Report, Row
from colonnade.bench.peers.roster import PRECISIONS
from colonnade.bench.peers.workloads import NAMES, UNITS
from colonnade.bench.probe import Machine


def render(report: Report) -> str:
    return "\n".join(_lines(report))


def _lines(report: Report) -> Iterator[str]:
    sizes = report.sizes
    yield f"{report.model}, {report.threads} thread(s), {report.rounds} rounds, seed {report.seed}, {report.started}"
    yield (
        f"serve: {sizes.groups} groups of {sizes.prompts} prompts, a prefix of {sizes.prefix} each, {sizes.fresh} in,"
        f" {sizes.output} out, {sizes.together} at a time; decode: {sizes.decode} out; prefill: {sizes.prefill} in"
    )
    for title, machine in (("before", report.before), ("after", report.after)):
        yield f"machine {title}: {_machine(machine)}"
    yield "median (least to largest); x: ours over theirs, round by round"
    for precision in dict.fromkeys(row.precision for row in report.rows):
        yield ""
        yield f"**{precision}**: {PRECISIONS[precision]}"
        yield ""
        yield "| peer | " + " | ".join(f"{name}, {UNITS[name]}" for name in NAMES) + " | ready, s | as ours |"
        yield "|---" * (len(NAMES) + 3) + "|"
        yield from (_row(row) for row in report.rows if row.precision == precision)
    yield ""
    yield from (f"- {row.peer} {row.precision}: {_told(row)}" for row in report.rows)


def _row(row: Row) -> str:
    if row.failed:
        return f"| {row.peer} | did not run: {row.failed} |" + " |" * (len(NAMES) + 1)
    cells = [_speed(row, name) for name in NAMES]
    agrees = "-" if row.agrees is None else f"{row.agrees:.0%}"
    assert row.ready_s is not None
    return "| " + " | ".join([row.peer, *cells, f"{row.ready_s.median:.1f}", agrees]) + " |"


def _speed(row: Row, name: str) -> str:
    text = _spread(row.speeds[name], ".4g")
    return f"{text}, x {_spread(row.ours_over[name], '.2f')}" if name in row.ours_over else text


def _spread(value: Spread, form: str) -> str:
    return f"{value.median:{form}} ({value.low:{form}} to {value.high:{form}})"


def _told(row: Row) -> str:
    return "; ".join(text for text in (row.version, row.note, row.failed and f"did not run: {row.failed}") if text)


def _machine(machine: Machine) -> str:
    if machine.note:
        return machine.note
    return ", ".join(f"{it.gb_per_s:.1f} GB/s and {it.gflops:.0f} GFLOP/s on {it.threads}" for it in machine.probes)
