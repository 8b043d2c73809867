"""How fast this machine is right now, beside every figure that it is quoted with."""

from __future__ import annotations

import importlib
from typing import Any

import msgspec

MEGABYTES = 200
"""Read in each pass: far more than any cache holds."""


class Probe(msgspec.Struct, frozen=True):
    """On so many threads: gigabytes (10^9) read per second over four streams, and 10^9 float operations per second."""

    threads: int
    gb_per_s: float
    gflops: float


class Machine(msgspec.Struct, frozen=True):
    """`note` says why there are no probes, where there are none."""

    probes: tuple[Probe, ...] = ()
    note: str = ""


def measure(threads: tuple[int, ...] = (1, 2)) -> Machine:
    """Takes about a second, and wants the machine to itself meanwhile."""
    try:
        native = importlib.import_module("colonnade.engine.kernels._native")
    except ImportError as cause:
        return Machine(note=f"no native kernels, so no probe of the machine: {cause}")
    return Machine(tuple(_probe(native, count) for count in threads))


def _probe(native: Any, threads: int) -> Probe:
    bandwidth, flops = native.probe_bandwidth(MEGABYTES, threads), native.probe_flops(threads)
    return Probe(threads, round(bandwidth / 1e9, 2), round(flops / 1e9, 2))
