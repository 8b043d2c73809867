"""The probe of the machine: figures where the native kernels are, a reason where they are not."""

from __future__ import annotations

import sys

import pytest

from colonnade.bench.probe import measure
from colonnade.engine.kernels.choice import native_built


def test_the_machine_is_measured_or_it_is_said_why_not() -> None:
    machine = measure((1,))
    assert bool(machine.probes) == native_built() == (not machine.note)
    for probe in machine.probes:
        assert probe.threads == 1
        assert 0.1 < probe.gb_per_s < 10_000
        assert 0.1 < probe.gflops < 100_000


def test_without_native_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "colonnade.engine.kernels._native", None)
    machine = measure((1,))
    assert machine.probes == ()
    assert "no native kernels" in machine.note
