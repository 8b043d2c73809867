"""The shipped model with the phone's tools: what the desk says and does in calls of every kind, without sound."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from phone.house import started
from phone.model import Message, Model


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    home: Path = tmp_path_factory.mktemp("desk")
    with started("serve", "colonnade-tiny", COLONNADE_HOME=str(home)) as said:
        yield said


@pytest.fixture
async def model(served: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Model]:
    monkeypatch.setenv("PHONE_URL", served["url"])
    monkeypatch.setenv("PHONE_KEY", served["key"])
    made = Model()
    yield made
    await made.close()


def talk(*said: str) -> list[Message]:
    """The caller's and the desk's sentences, in turn."""
    return [{"role": "assistant" if index % 2 else "user", "content": text} for index, text in enumerate(said)]


def done(said: list[Message], tool: str, arguments: dict[str, str], result: dict[str, str]) -> list[Message]:
    """A conversation whose last sentence was carried out."""
    function = {"name": tool, "arguments": json.dumps(arguments)}
    call = {"id": "call_1", "type": "function", "function": function}
    answer = {"role": "tool", "tool_call_id": "call_1", "content": json.dumps(result)}
    return [*said, {"role": "assistant", "content": None, "tool_calls": [call]}, answer]


NAME, DAY, TIME = "Of course. What name is it for?", "Which day would you like?", "What time would you like?"
BOOKED = {"name": "Grace Thompson", "day": "Monday", "time": "10:00"}
CALL = talk("I would like to book an appointment", NAME, "Grace Thompson", DAY, "On Monday", TIME, "At ten o'clock")


@pytest.mark.parametrize(("heard", "asked"), [(1, NAME), (3, DAY), (5, TIME)])
async def test_it_asks_for_what_is_missing(model: Model, heard: int, asked: str) -> None:
    assert (await model.answer(CALL[:heard]))["content"] == asked


@pytest.mark.parametrize(
    ("said", "tool", "arguments"),
    [
        (CALL, "book_appointment", BOOKED),
        (
            talk("Book an appointment for Oscar Clark on Sunday at nine o'clock"),
            "book_appointment",
            {"name": "Oscar Clark", "day": "Sunday", "time": "09:00"},
        ),
        (
            talk("I need to move my appointment for Emma Wilson to Tuesday at half past four"),
            "move_appointment",
            {"name": "Emma Wilson", "day": "Tuesday", "time": "16:30"},
        ),
        (
            talk("Please cancel my appointment on Friday. It is Henry Lewis"),
            "cancel_appointment",
            {"name": "Henry Lewis", "day": "Friday"},
        ),
        (
            [
                *done(CALL, "book_appointment", BOOKED, {"status": "booked"}),
                *talk("", "I have booked Grace Thompson for Monday at 10:00. Anything else?")[1:],
                *talk("Actually, make it eleven o'clock"),
            ],
            "move_appointment",
            {**BOOKED, "time": "11:00"},
        ),
    ],
    ids=["asked", "book", "move", "cancel", "second thought"],
)
async def test_it_calls_the_desk(model: Model, said: list[Message], tool: str, arguments: dict[str, str]) -> None:
    (call,) = (await model.answer(said))["tool_calls"]
    assert call["function"]["name"] == tool
    assert json.loads(call["function"]["arguments"]) == arguments


async def test_it_says_what_was_done_and_goodbye(model: Model) -> None:
    settled = done(CALL, "book_appointment", BOOKED, {"status": "booked"})
    said = "".join([piece async for piece in model.pieces(settled)])
    assert said == "I have booked Grace Thompson for Monday at 10:00. Anything else?"
    last = [*settled, {"role": "assistant", "content": said}, *talk("Goodbye")]
    assert (await model.answer(last))["content"] == "Thank you for calling. Goodbye."
