"""Our engine as an object inside a package: it answers as the HTTP API does, and ends with whoever holds it."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from package_process import FOLDERS, Process

from colonnade.llm import Engine
from colonnade.wire.errors import BadModel, BadSetting, InvalidRequest, NotFound, SetupError

DRAWN = {"model": "colonnade-tiny", "max_tokens": 12, "temperature": 1.0, "seed": 11}
BOOKING = {"type": "object", "properties": {"guests": {"type": "integer"}}, "required": ["guests"]}
CHAT = {"messages": [{"role": "user", "content": "A table for two, please."}]}
ASKED = [
    ("/v1/completions", DRAWN | {"prompt": "I would like", "logprobs": 3}),
    ("/v1/completions", DRAWN | {"prompt": "Call me at", "regex": "[0-9]{3}-[0-9]{4}", "n": 2}),
    ("/v1/completions", DRAWN | {"prompt": ["one", "two"], "stop": ["e"]}),
    ("/v1/chat/completions", DRAWN | CHAT | {"max_tokens": 60, "json_schema": BOOKING}),
    ("/v1/embeddings", {"model": "colonnade-tiny", "input": ["a table", "for two"]}),
    ("/generate", {"text": "I would", "sampling_params": {"max_new_tokens": 5, "temperature": 0}}),
]


@pytest.fixture(scope="module")
def writer() -> Iterator[Process]:
    process = Process(FOLDERS / "writer")
    process.until("/ready", 200)
    yield process
    process.stop()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Of a replica that has the same engine behind the HTTP API."""
    argv = [sys.executable, "-m", "colonnade.replica", "--model", "colonnade-tiny", "--threads", "1"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        yield json.loads(child.stdout.readline())["url"]
        child.stdin.close()


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine("colonnade-tiny", threads=1) as engine:
        yield engine


def ask(url: str, path: str, body: dict[str, Any]) -> bytes:
    """Again while it is starting."""
    while True:
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
        connection.request("POST", path, json.dumps(body))
        answer = connection.getresponse()
        said = answer.read()
        connection.close()
        if answer.status != 503:
            return said


def same(body: Any) -> Any:
    """Without what is of one request, or of what came before it."""
    own = ("id", "created", "cached_tokens", "prompt_tokens_details", "e2e_latency")
    if isinstance(body, list):
        return [same(each) for each in body]
    if isinstance(body, dict):
        return {name: same(value) for name, value in body.items() if name not in own}
    return body


@pytest.mark.parametrize("way", ["awaited", "blocked"])
@pytest.mark.parametrize(("path", "body"), ASKED)
def test_it_answers_as_the_http_api_does(writer: Process, url: str, path: str, body: dict[str, Any], way: str) -> None:
    answer = writer.predict({"way": way, "path": path, "body": body})
    assert answer.status == 200
    assert same(answer.json) == same(json.loads(ask(url, path, body)))


def test_its_streams_are_those_of_the_http_api(writer: Process, url: str) -> None:
    path, body = ASKED[0]
    events = ask(url, path, body | {"stream": True}).decode().split("\n")
    said = [json.loads(each[6:]) for each in events if each.startswith("data: {")]
    pieces = [each["choices"][0]["text"] for each in said]
    assert len(pieces) > 2
    assert writer.predict({"way": "streamed", "path": path, "body": body}).body.decode().split("|")[:-1] == pieces
    assert writer.predict({"way": "in a loop", "path": path, "body": body}).json == pieces


@dataclass
class Booking:
    guests: int


def test_answers_have_names(engine: Engine) -> None:
    told = engine.chat("A table for two, please.", schema=Booking, max_tokens=60, seed=1)
    assert told.finish_reason == "stop"
    assert isinstance(told.value["guests"], int)
    assert engine.chat("A table for two, please.", schema=BOOKING, max_tokens=60, seed=1).value == told.value
    whole = engine.generate("I would", max_tokens=6, seed=3, temperature=1.0)
    assert whole.completion_tokens == 6
    assert whole.body["choices"][0]["text"] == whole.text
    assert "".join(engine.stream("I would", max_tokens=6, seed=3, temperature=1.0)) == whole.text
    assert engine.generate([5, 6, 7], max_tokens=1).prompt_tokens == 3
    assert len(engine.embed(["a", "b"], dimensions=8)[1]) == 8
    assert engine.card["id"] == engine.model == "colonnade-tiny"


async def test_many_at_once_from_another_loop(engine: Engine) -> None:
    """Whatever their company, each has the answer that it has alone."""
    several = await asyncio.gather(*(engine.aio.generate("I", max_tokens=9, seed=n, temperature=1.0) for n in range(8)))
    assert [each.text for each in several] == [
        engine.generate("I", max_tokens=9, seed=n, temperature=1.0).text for n in range(8)
    ]
    said = [piece async for piece in engine.aio.chat_stream("Hello!", max_tokens=5, seed=1)]
    assert "".join(said) == (await engine.aio.chat("Hello!", max_tokens=5, seed=1)).text
    assert (await engine.aio.embed(["a"]))[0] == engine.embed(["a"])[0]
    assert [piece async for piece in engine.aio.stream("I", max_tokens=2, seed=1)]


async def test_who_goes_ends_the_request(engine: Engine) -> None:
    """One whose reader has gone, or whose caller was cancelled, makes room for others."""
    pieces = engine.stream("I", max_tokens=1500, ignore_eos=True)
    next(pieces)
    pieces.close()
    later = engine.aio.stream("I", max_tokens=1500, ignore_eos=True)
    await anext(later)
    await later.aclose()
    task = asyncio.create_task(engine.aio.generate("I", max_tokens=1500, ignore_eos=True))
    await anext(engine.aio.stream("I", max_tokens=1))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert engine.generate("I", max_tokens=1).completion_tokens == 1


def test_errors_are_those_of_the_tree(engine: Engine) -> None:
    with pytest.raises(InvalidRequest, match="temperature"):
        engine.generate("I", temperature=9)
    with pytest.raises(InvalidRequest, match="temperature"):
        next(engine.stream("I", temperature=9))
    with pytest.raises(InvalidRequest, match="streamed"):
        next(engine.events("/v1/embeddings", {"input": "a"}))
    with pytest.raises(NotFound, match="/nowhere"):
        engine.ask("/nowhere", {})


def test_what_cannot_be_started(tmp_path: Path) -> None:
    with pytest.raises(BadSetting):
        Engine("colonnade-tiny", kv_dtype="of gold")
    with pytest.raises(BadModel):
        Engine(str(tmp_path))
    with pytest.raises(SetupError, match="kv_tokens"):
        Engine("colonnade-tiny", kv_tokens=1 << 60)


def test_it_ends_with_its_close() -> None:
    engine = Engine("colonnade-tiny", threads=1)
    (held,) = engines_of(os.getpid())
    stuck = engine.stream("I", max_tokens=1500, ignore_eos=True)
    next(stuck)
    engine.close()
    assert select.select([held], [], [], 0)[0]
    os.close(held)
    engine.close()
    with pytest.raises(SetupError, match="closed"):
        engine.generate("I")


def test_it_ends_with_a_package_that_is_killed() -> None:
    process = Process(FOLDERS / "writer")
    process.until("/ready", 200)
    (held,) = engines_of(process.child.pid)
    os.kill(process.child.pid, signal.SIGKILL)
    assert select.select([held], [], [], 60)[0]
    os.close(held)
    process.stop()


def engines_of(pid: int) -> list[int]:
    """Descriptors that become readable when the engine's process below this one has ended; the last one started."""
    children = [child for file in Path(f"/proc/{pid}/task").glob("*/children") for child in file.read_text().split()]
    engines = [int(child) for child in children if b"--commands" in Path(f"/proc/{child}/cmdline").read_bytes()]
    return [os.pidfd_open(max(engines))]
