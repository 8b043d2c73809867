"""Whole calls: a caller robot, a websocket, a process for each step, the shipped model behind a gateway.

They take place in real time, and so need the machine for themselves: beside other work turns are misheard and cut off.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "examples" / "phone_call"))

from phone.desk import Desk
from phone.house import phone
from phone.robot import Outcome, Robot
from phone.scripts import Script

ANSWERS = {
    "name": "grace thompson",
    "Which day": "on monday",
    "What time": "at ten o'clock",
    "Anything else": "goodbye",
}


class House:
    def __init__(self, said: dict[str, Any], book: Path) -> None:
        self.url = said["url"]
        self.steps = {each["step"]: each["pid"] for each in said["steps"]}
        self.desk = Desk(book)
        self._book = book

    def hold(self, *row: str) -> None:
        with closing(sqlite3.connect(self._book)) as database, database:
            database.execute("INSERT INTO appointments VALUES (?, ?, ?)", row)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("phone")
    with phone(folder / "book.db", COLONNADE_HOME=str(folder / "home")) as said:
        yield House(said, folder / "book.db")


def caller(opening: str, **answers: str) -> Script:
    return Script(opening, {**ANSWERS, **answers}, None, None, "")


def well(outcome: Outcome) -> None:
    assert not outcome.error
    assert outcome.desk[-1].endswith("Goodbye.")
    assert not any(turn.cut for turn in outcome.turns)


async def test_calls_that_book_pause_and_interrupt(house: House) -> None:
    """Three at once: asked for what is missing; pauses in the middle of a sentence; speaks into a confirmation."""
    house.hold("Emma Wilson", "Friday", "14:30")
    asked, paused, barging = await asyncio.gather(
        Robot(caller("i would like to book an appointment")).call(house.url),
        Robot(caller("i need to move my appointment |for emma wilson |to tuesday at half past four")).call(house.url),
        Robot(
            caller("book an appointment for oscar clark on sunday at nine o'clock"),
            barge=("Oscar Clark for Sunday at 09:00", "actually make it eleven o'clock"),
        ).call(house.url),
    )
    for outcome in (asked, paused, barging):
        well(outcome)
    assert [turn.heard for turn in asked.turns][1:4] == ["Grace Thompson", "On Monday", "At ten o'clock"]
    assert [each["tool"] for each in barging.did] == ["book_appointment", "move_appointment"]
    assert barging.stopped is not None
    assert house.desk.appointments() == [
        ("Emma Wilson", "Tuesday", "16:30"),
        ("Grace Thompson", "Monday", "10:00"),
        ("Oscar Clark", "Sunday", "11:00"),
    ]
    answered = [turn for outcome in (asked, paused) for turn in outcome.turns]
    assert all("head start" in turn.times for turn in answered)


async def test_every_step_but_the_call_itself_may_die_in_the_middle(house: House) -> None:
    """Each is killed at another moment; all are replaced, and the caller hears the whole of it."""
    moments = {"partial": "Transcribe", "turn": "Understand", "said": "Speak", "did": "Reply", "over": "Book"}
    killed: list[str] = []

    def strike(kind: str) -> None:
        step = moments.get(kind)
        if step is not None and step not in killed:
            killed.append(step)
            os.kill(house.steps[step], signal.SIGKILL)

    script = caller("i would like to book an appointment", name="arthur king", **{"What time": "at four o'clock"})
    outcome = await Robot(script, moment=strike).call(house.url)
    well(outcome)
    assert sorted(killed) == ["Book", "Reply", "Speak", "Transcribe", "Understand"]
    assert ("Arthur King", "Monday", "16:00") in house.desk.appointments()
