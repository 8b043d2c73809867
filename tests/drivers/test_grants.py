"""Cores and GPUs are given so that no GPU is given twice, and cores as evenly as can be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.drivers.grants import Grant, Grants
from colonnade.wire.errors import SetupError

GPUS = ("0", "1", "2")


def test_whole_gpus_are_given_once_and_come_back() -> None:
    grants = Grants(range(2), GPUS)
    assert grants.take("a", 0, 2) == Grant((), ("0", "1"))
    assert grants.take("b", 0, 1).gpus == ("2",)
    with pytest.raises(SetupError, match="1 GPUs are asked for, and 0 of 3"):
        grants.take("c", 0, 1)
    grants.release("a")
    assert grants.take("c", 0, 1).gpus == ("0",)


def test_shares_fill_one_gpu_before_the_next() -> None:
    grants = Grants((), GPUS)
    assert [grants.take(life, 0, 0.4).gpus for life in "abc"] == [("0",), ("0",), ("1",)]
    assert grants.take("d", 0, 1).gpus == ("2",)
    with pytest.raises(SetupError, match=r"1\.5 GPUs") as refused:
        grants.take("e", 0, 1.5)
    assert refused.value.hint


def test_what_a_former_driver_gave_is_not_given_again() -> None:
    grants = Grants(range(4), GPUS)
    grants.hold("old", Grant((0, 1), ("1",)))
    assert grants.take("new", 2, 2) == Grant((2, 3), ("0", "2"))


def test_cores_are_shared_when_all_are_given() -> None:
    grants = Grants(range(3), ())
    assert [grants.take(life, 2, 0).cores for life in "abc"] == [(0, 1), (0, 2), (1, 2)]
    assert grants.take("d", 9, 0).cores == (0, 1, 2)
    assert grants.take("e", 0, 0) == Grant()
    assert grants.gpus == 0


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 3), st.sampled_from((0.0, 0.25, 0.5, 1.0, 2.0)))))
def test_no_gpu_is_ever_given_more_than_once(asked: list[tuple[str, int, float]]) -> None:
    grants, held = Grants(range(3), GPUS), dict[str, Grant]()
    for life, cores, gpus in asked:
        grants.release(life)
        held.pop(life, None)
        try:
            held[life] = grants.take(life, cores, gpus)
        except SetupError:
            continue
    for gpu in GPUS:
        assert sum(each.share for each in held.values() if gpu in each.gpus) <= 1.0
