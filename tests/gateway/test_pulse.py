"""Progress: silence is measured while there is work, and its bound is learned."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from colonnade.gateway.pulse import LEAST, PATIENCE, Pulse


def pulse() -> Pulse:
    made = Pulse()
    made.known = True
    made.begin(100.0)
    return made


def test_silence_is_a_stall_after_a_while() -> None:
    made = pulse()
    assert not made.stalled(100.0 + LEAST)
    assert made.stalled(100.1 + LEAST)
    made.heard(103.0)
    assert not made.stalled(103.0 + 3 * PATIENCE)
    assert made.stalled(103.1 + 3 * PATIENCE)


def test_nothing_is_said_of_one_that_publishes_no_steps() -> None:
    assert not Pulse().stalled(1e9)


def test_the_silence_of_an_idle_one_teaches_nothing() -> None:
    made = pulse()
    made.heard(900.0, busy=False)
    assert made.threshold == LEAST


def test_what_nobody_listened_to_is_forgiven() -> None:
    made = pulse()
    made.forgive(5.0)
    assert not made.stalled(106.0)


@given(st.lists(st.floats(0.001, 50), min_size=1, max_size=50))
def test_a_replica_at_its_own_pace_is_never_stalled(gaps: list[float]) -> None:
    made, now = pulse(), 100.0
    for gap in gaps:
        now += gap
        made.heard(now)
    assert not made.stalled(now + max(gaps) * PATIENCE * 0.9)
