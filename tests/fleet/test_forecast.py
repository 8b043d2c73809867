"""The shape of the day: what is usual, how an unusual hour counts, and an autoscaler that keeps to it if asked."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from colonnade.fleet.autoscale import Autoscaler, Pace, Sample
from colonnade.fleet.forecast import DAYS, LEVELS, SLOT_S, SLOTS, Shape
from colonnade.wire.routes import Scaling

DAY_S = SLOT_S * SLOTS
MORNING = 54  # nine o'clock


def day(demand: dict[int, float], usual: float = 10.0) -> list[float]:
    return [demand.get(slot, usual) for slot in range(SLOTS)]


def shape(*days: list[float]) -> Shape:
    found = Shape()
    for number, slots in enumerate([slot for each in days for slot in each]):
        found.observe(number * SLOT_S, slots)
    found.observe(len(days) * DAY_S, days[-1][0])
    return found


def test_nothing_is_usual_before_two_days_were_seen() -> None:
    assert shape(day({})).ahead(DAY_S, 60) == 0
    assert shape(day({}), day({})).ahead(2 * DAY_S, 60) == 10


def test_the_most_between_now_and_the_horizon() -> None:
    busy = shape(*[day({MORNING: 80.0})] * 3)
    at = 3 * DAY_S + MORNING * SLOT_S
    assert busy.ahead(at - 200, 100) == 10
    assert busy.ahead(at - 200, 200) == 80
    assert busy.ahead(at + SLOT_S, 100) == 10


def test_a_day_that_was_unlike_the_others_moves_little_and_an_hour_that_is_counts_within_bounds() -> None:
    odd = shape(day({}), day({}), day({}, 0.0), day({}))
    assert odd.ahead(4 * DAY_S, 60) == 10
    twice = shape(day({}), day({}), [10.0] * (SLOTS - 6) + [13.0] * 6)
    assert twice.ahead(3 * DAY_S, 60) == 13
    silent = shape(day({}), day({}), [10.0] * (SLOTS - 6) + [0.0] * 6)
    assert silent.ahead(3 * DAY_S, 60) == 10 * LEVELS[0]


@given(st.lists(st.floats(0, 100), min_size=SLOTS, max_size=SLOTS), st.integers(0, SLOTS - 1))
def test_of_days_that_are_alike_it_is_that_day(slots: list[float], slot: int) -> None:
    alike = shape(*[slots] * (DAYS + 1))
    assert alike.ahead((DAYS + 1) * DAY_S + slot * SLOT_S, 0) == slots[slot]


def test_an_autoscaler_holds_what_is_usual_where_it_is_asked_to() -> None:
    scaler = Autoscaler(Pace())
    for number in range(3 * SLOTS):
        scaler.observe(Sample(number * SLOT_S, 40))
    now = 3 * DAY_S
    for second in range(61):
        scaler.observe(Sample(now + second, 4))
    asked = Scaling(min=1, max=20, target=4.0, forecast=True)
    held = scaler.decide(asked, now + 60, 10, 10)
    assert (held.replicas, held.reason.endswith("; 40.0 are usual within 180 s")) == (10, True)
    assert scaler.decide(Scaling(min=1, max=20, target=4.0), now + 61, 12, 12).replicas == 10  # the window remembers
    fresh = Autoscaler(Pace())
    for second in range(61):
        fresh.observe(Sample(now + second, 4))
    assert fresh.decide(asked, now + 60, 10, 10).replicas == 5
