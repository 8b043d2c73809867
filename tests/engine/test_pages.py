from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.engine.pages import Pages


def test_pages_come_in_ascending_runs_and_the_last_given_first() -> None:
    pages = Pages(10)
    first, second = pages.take(4), pages.take(3)
    assert (first, second) == ([0, 1, 2, 3], [4, 5, 6])
    pages.give(first)
    assert pages.take(2) == [0, 1]
    assert pages.free == 5
    pages.validate()


def test_giving_twice_is_a_defect_of_ours() -> None:
    pages = Pages(4)
    taken = pages.take(2)
    pages.give(taken)
    with pytest.raises(AssertionError, match="freed twice"):
        pages.give(taken)


def test_giving_one_page_twice_at_once_is_noticed() -> None:
    pages = Pages(4)
    (page,) = pages.take(1)
    with pytest.raises(AssertionError, match="freed twice"):
        pages.give([page, page])


def test_taking_more_than_is_free_is_a_defect_of_ours() -> None:
    with pytest.raises(AssertionError, match="more pages than are free"):
        Pages(2).take(3)


def test_quarantined_pages_never_come_back() -> None:
    pages = Pages(6)
    kept, lost = pages.take(2), pages.take(2)
    assert pages.leaked(kept) == set(lost)
    pages.quarantine(pages.leaked(kept))
    pages.validate()
    assert not pages.leaked(kept)
    pages.give(kept)
    assert pages.free == pages.capacity == 4
    assert not set(pages.take(4)) & set(lost)


def test_tidy_brings_runs_back() -> None:
    pages = Pages(6)
    taken = pages.take(6)
    for page in (3, 0, 5, 1, 4, 2):
        pages.give([page])
    assert pages.take(6) != taken
    pages.give(taken)
    pages.tidy()
    assert pages.take(6) == taken


@given(st.lists(st.integers(0, 12) | st.none(), max_size=40))
def test_every_page_is_in_one_place(moves: list[int | None]) -> None:
    pages, held = Pages(32), list[list[int]]()
    for move in moves:
        if move is None:
            if held:
                pages.give(held.pop(len(held) // 2))
        elif move <= pages.free:
            held.append(pages.take(move))
        pages.validate()
        assert sum(map(len, held)) + pages.free == 32
        assert not pages.leaked(page for run in held for page in run)
