"""The client in Python against real packages: values, streams, errors, later."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from package_process import FOLDERS, Process
from pydantic import BaseModel

from colonnade.client import AsyncClient, Client, InvalidRequest, NotFound, ReplicaLost, ServerError
from colonnade.client.later import Later, Problem
from colonnade.wire.answer import error_of
from colonnade.wire.errors import ColonnadeError, Conflict, DeadlineExceeded, Internal, Overloaded, RateLimited


@dataclass
class Told:
    answer: str
    total: int


class Prompt(BaseModel):
    prompt: str


@pytest.fixture(scope="module")
def typed() -> Iterator[Process]:
    yield from serving("typed")


@pytest.fixture(scope="module")
def streams() -> Iterator[Process]:
    yield from serving("streams")


@pytest.fixture(scope="module")
def laters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    yield from serving("laters", COLONNADE_HOME=str(tmp_path_factory.mktemp("home")))


def serving(name: str, **environment: str) -> Iterator[Process]:
    process = Process(FOLDERS / name, **environment)
    process.until("/ready", 200)
    yield process
    process.stop()


def test_answers_are_what_they_are_annotated_as(typed: Process) -> None:
    with Client(typed.announced["url"]) as client:
        assert client.models() == ["typed"]
        assert client.predict("typed", {"prompt": "a"}, Told) == Told("A", 0)
        assert client.predict("typed", Prompt(prompt="a")) == {"answer": "A", "total": 0}
        assert client.predict("typed", {"prompt": "a"}, bytes) == b'{"answer":"A","total":0}'
        with pytest.raises(Internal, match="no Prompt"):
            client.predict("typed", {"prompt": "a"}, Prompt)


def test_errors_are_of_the_one_tree(typed: Process, streams: Process) -> None:
    client = Client(typed.announced["url"])
    with pytest.raises(InvalidRequest, match="prompt"):
        client.predict("typed", {})
    with pytest.raises(NotFound, match="chat_completions"):
        Client(streams.announced["url"]).chat("streams", "Hello")
    with pytest.raises(ReplicaLost):
        Client("http://127.0.0.1:9").models()
    with pytest.raises(ReplicaLost):
        list(Client(streams.announced["url"]).stream("streams", {"kind": "sync", "count": 2, "fail": True}))


def test_streams(streams: Process) -> None:
    client = Client(streams.announced["url"])
    assert b"".join(client.stream("streams", {"kind": "async", "count": 3})).decode() == "é0 é1 é2 "


async def test_the_async_one(typed: Process, streams: Process, laters: Process) -> None:
    async with AsyncClient(typed.announced["url"]) as client:
        assert await client.models() == ["typed"]
        assert await client.predict("typed", {"prompt": "a"}, Told) == Told("A", 0)
        with pytest.raises(InvalidRequest, match="prompt"):
            await client.predict("typed", {})
    async with AsyncClient(streams.announced["url"]) as client:
        assert b"".join([piece async for piece in client.stream("streams", {"kind": "sync", "count": 3})]) == b"0 1 2 "
        with pytest.raises(ReplicaLost):
            [piece async for piece in client.stream("streams", {"kind": "sync", "count": 2, "fail": True})]
    async with AsyncClient(laters.announced["url"]) as client:
        id = await client.submit("laters", {"name": "a"})
        assert (await client.wait("laters", id))["name"] == "a"
        assert not await client.cancel("laters", id)
    with pytest.raises(InvalidRequest, match="not open"):
        await AsyncClient("http://127.0.0.1:9").models()


def test_what_is_answered_later(laters: Process, tmp_path: Path) -> None:
    client = Client(laters.announced["url"])
    id = client.submit("laters", {"name": "b"}, key="b")
    assert client.wait("laters", id, dict)["name"] == "b"
    assert client.submit("laters", {"name": "b"}, key="b") == id
    with pytest.raises(Conflict):
        client.submit("laters", {"name": "c"}, key="b")
    failing = client.submit("laters", {"name": "d", "failures": 1}, inference_retry_config={"max_attempts": 1})
    with pytest.raises(Internal, match="Internal Server Error"):
        client.wait("laters", failing)
    os.mkfifo(tmp_path / "gate")
    stuck = client.submit("laters", {"name": "e", "wait": str(tmp_path / "gate")})
    with pytest.raises(DeadlineExceeded):
        client.wait("laters", stuck, within=0.0)
    assert client.cancel("laters", stuck)
    with pytest.raises(Conflict):
        client.wait("laters", stuck)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (429, b'{"error": "full"}', RateLimited),
        (503, b"<html>", Overloaded),
        (500, b'{"error": "Internal Server Error (in model/chainlet)."}', Internal),
        (418, b"[]", InvalidRequest),
        (502, b'{"error": {"code": "replica_lost", "message": "gone", "hint": "again"}}', ReplicaLost),
    ],
)
def test_any_answer_has_its_error(status: int, body: bytes, kind: type[ColonnadeError]) -> None:
    assert type(error_of(status, body)) is kind


@pytest.mark.parametrize(
    ("code", "kind"),
    [("MODEL_UNAVAILABLE", Overloaded), ("CANCELED", Conflict), ("MODEL_PREDICT_ERROR", ServerError)],
)
def test_what_ended_otherwise_is_raised(code: str, kind: type[ColonnadeError]) -> None:
    with pytest.raises(kind):
        Later("a", "FAILED", errors=(Problem(code, "no"),)).result()
