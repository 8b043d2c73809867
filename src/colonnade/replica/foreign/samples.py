"""Prometheus text as numbers. Pure. The format: prometheus.io/docs/instrumenting/exposition_formats."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_LINE = re.compile(r"([A-Za-z_:][\w:]*)(?:\{(.*)\})?[ \t]+(\S+)(?:[ \t]+-?\d+)?[ \t]*", re.ASCII)
_LABEL = re.compile(r'([A-Za-z_]\w*)="((?:[^"\\]|\\.)*)"', re.ASCII)


@dataclass(frozen=True, slots=True)
class Sample:
    labels: Mapping[str, str]
    value: float


class Samples:
    """By name, all of a page. Lines that are none, and values that are not finite, are passed over."""

    def __init__(self, text: str) -> None:
        self._found: dict[str, list[Sample]] = {}
        for name, sample in _read(text):
            self._found.setdefault(name, []).append(sample)

    def total(self, *names: str) -> int | None:
        """The sum over all series of the first name that is there; None for none."""
        found = self._first(names)
        return round(sum(each.value for each in found)) if found else None

    def most(self, *names: str) -> float | None:
        """The largest of them: of a share, which does not add up."""
        found = self._first(names)
        return max(each.value for each in found) if found else None

    def label(self, name: str, label: str) -> str:
        """Of the first series; "" where it is not there."""
        found = self._found.get(name, [])
        return found[0].labels.get(label, "") if found else ""

    def _first(self, names: tuple[str, ...]) -> list[Sample]:
        return next((self._found[name] for name in names if name in self._found), list[Sample]())


def _read(text: str) -> Iterator[tuple[str, Sample]]:
    for line in text.splitlines():
        match = _LINE.fullmatch(line)
        value = _number(match[3]) if match else None
        if match and value is not None:
            yield match[1], Sample(dict(_LABEL.findall(match[2] or "")), value)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
