"""Health of another engine by its progress."""

from __future__ import annotations

from colonnade.replica.foreign.vitals import Vitals


def test_idle_is_never_stalled() -> None:
    vitals = Vitals(30.0, 0.0)
    vitals.looked(5, 100.0)
    vitals.silent(200.0)
    assert not vitals.stalled(1000.0)
    assert (vitals.steps, vitals.quiet(1000.0)) == (0, 0.0)


def test_what_moves_is_well() -> None:
    vitals = Vitals(30.0, 0.0)
    vitals.carries(1, 1, 100.0)
    vitals.moved(3, 125.0)
    assert not vitals.stalled(155.0)
    assert vitals.stalled(155.1)
    vitals.carries(2, 2, 156.0)  # more work does not make it well
    assert vitals.stalled(156.0)


def test_its_own_counters_are_a_sign() -> None:
    vitals = Vitals(30.0, 0.0)
    vitals.carries(1, 1, 0.0)
    for now, work in ((10.0, 7), (25.0, 7), (35.0, 9), (40.0, None)):
        vitals.looked(work, now)
    assert not vitals.stalled(65.0)
    assert vitals.stalled(65.1)


def test_gateways_see_steps_until_it_counts_as_stalled() -> None:
    vitals = Vitals(10.0, 0.0)
    vitals.carries(1, 1, 0.0)
    vitals.looked(None, 5.0)
    vitals.silent(9.0)
    assert vitals.steps == 2
    vitals.looked(None, 11.0)
    vitals.silent(12.0)
    assert vitals.steps == 2
    vitals.moved(4, 13.0)
    vitals.looked(None, 14.0)
    assert vitals.steps == 7


def test_work_that_comes_in_begins_the_wait() -> None:
    vitals = Vitals(10.0, 0.0)
    vitals.carries(1, 1, 100.0)
    assert vitals.quiet(105.0) == 5.0
    vitals.carries(0, 0, 106.0)
    assert not vitals.stalled(500.0)


def test_gone_when_refused_twice_or_ended() -> None:
    vitals = Vitals(10.0, 0.0)
    vitals.refused("no")
    vitals.looked(None, 1.0)
    vitals.refused("no")
    assert vitals.gone == ""
    vitals.refused("nobody listens")
    vitals.ended("later")
    assert vitals.gone == "nobody listens"


def test_an_answer_that_is_no_stream_is_judged_by_counters_alone() -> None:
    vitals = Vitals(10.0, 0.0)
    vitals.carries(1, 0, 0.0)
    vitals.looked(None, 100.0)
    assert not vitals.stalled(100.0)
    assert vitals.steps == 1  # gateways, which would not wait so long, see that it lives
    vitals.looked(5, 101.0)
    assert vitals.stalled(101.0)
    vitals.looked(6, 102.0)
    assert not vitals.stalled(112.0)


def test_a_stream_beside_it_begins_its_own_wait() -> None:
    vitals = Vitals(10.0, 0.0)
    vitals.carries(1, 0, 0.0)
    vitals.carries(2, 1, 100.0)
    assert not vitals.stalled(110.0)
    assert vitals.stalled(110.1)
