"""Progress as phases with their times: lines on stderr, a moving line where somebody watches a terminal.

with phases("control plane"):      ->      0.41 s  control plane
    ...
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import click

Ended = Callable[[str, float], None]
"""Told of each phase that went well, with its seconds."""


class Phases:
    """Times phases, one after another, and shows them."""

    def __init__(self, quiet: bool = False, ended: Ended | None = None) -> None:
        self._quiet = quiet
        self._ended = ended or (quiet_ended if quiet else line_ended)
        self._start = time.perf_counter()

    @property
    def total(self) -> float:
        """Seconds since the first phase could begin."""
        return time.perf_counter() - self._start

    @contextmanager
    def __call__(self, title: str) -> Iterator[None]:
        begun = time.perf_counter()
        with self._moving(title):
            yield
        self._ended(title, time.perf_counter() - begun)

    def _moving(self, title: str) -> AbstractContextManager[Any]:
        if self._quiet or self._ended is not line_ended or not sys.stderr.isatty():
            return nullcontext()
        from rich.console import Console

        return Console(stderr=True).status(f"{title} …")


def line_ended(title: str, seconds: float) -> None:
    click.echo(f"{seconds:7.2f} s  {title}", err=True)


def quiet_ended(_title: str, _seconds: float) -> None:
    """--quiet: nobody wants to know."""
