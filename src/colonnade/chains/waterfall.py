"""A trace as people read it: one line a call, indented by depth, with a bar for when it ran."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from colonnade.chains.notes import Span

WIDTH = 40
SHORTEST = 1e-9
"""Seconds that the whole bar stands for at least."""


def waterfall(root: Span) -> str:
    """Times in milliseconds from the start of the root; `.` is waiting for a slot, `#` is running."""
    rows = list(_rows(root, 0.0, 0))
    total = max([SHORTEST, *(start + span.seconds for start, _, span in rows)])
    names = [f"{'  ' * depth}{span.step}" for _, depth, span in rows]
    wide = max(map(len, names))
    lines = (_line(name, wide, start, span, total) for name, (start, _, span) in zip(names, rows, strict=True))
    return "\n".join(lines)


def plain(span: Span) -> dict[str, Any]:
    """For JSON, with names."""
    said = {name: getattr(span, name) for name in ("step", "start", "seconds", "queued", "outcome")}
    return {**said, "inner": [plain(each) for each in span.inner]}


def _rows(span: Span, origin: float, depth: int) -> Iterator[tuple[float, int, Span]]:
    yield origin, depth, span
    for each in sorted(span.inner, key=lambda inner: inner.start):
        yield from _rows(each, origin + each.start, depth + 1)


def _line(name: str, wide: int, start: float, span: Span, total: float) -> str:
    first = min(WIDTH - 1, int(start / total * WIDTH))
    last = max(first + 1, min(WIDTH, round((start + span.seconds) / total * WIDTH)))
    waits = min(last - first - 1, int(span.queued / total * WIDTH))
    bar = " " * first + "." * waits + "#" * (last - first - waits)
    mark = "" if span.outcome == "ok" else f"  {span.outcome}"
    return f"{name.ljust(wide)}  {start * 1e3:9.2f}  {span.seconds * 1e3:9.2f} ms  |{bar.ljust(WIDTH)}|{mark}"
