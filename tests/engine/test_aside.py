"""Jobs beside: in order, with the answer to the last question."""

from __future__ import annotations

import gc
import threading

import pytest

from colonnade.engine.aside import Aside


def test_jobs_are_done_in_order_and_the_last_question_is_answered() -> None:
    aside, done = Aside[int]("beside"), list[int]()
    for number in range(5):
        aside.do(lambda number=number: done.append(number))
    aside.ask(lambda: -1)  # nobody waits for it
    aside.ask(lambda: len(done))
    assert aside.answer() == 5
    assert done == [0, 1, 2, 3, 4]


def test_what_a_question_raises_is_raised_where_its_answer_is_wanted() -> None:
    aside = Aside[int]("beside")
    aside.ask(lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        aside.answer()
    aside.ask(lambda: 3)
    assert aside.answer() == 3


def test_the_thread_ends_with_its_owner() -> None:
    aside = Aside[threading.Thread]("beside")
    aside.ask(threading.current_thread)
    thread = aside.answer()
    del aside
    gc.collect()
    thread.join(60)
    assert not thread.is_alive()
