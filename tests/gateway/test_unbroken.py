"""Real replicas of the shipped model that are killed while they answer: no client can tell.

The starts of three engines take seconds.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from gateway_house import Client, House, record

from colonnade.engine.folder import SHIPPED
from colonnade.gateway.server import Gateway
from colonnade.wire.contract import violations
from colonnade.wire.routes import Route, Routes
from colonnade.wire.settings import GatewaySettings
from colonnade.wire.stream import EventReader

MODEL = "colonnade-tiny"
CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}
LONG = {"model": MODEL, "max_tokens": 500, "ignore_eos": True, "stream": True, "seed": 7}
TALK = {**LONG, "messages": [{"role": "user", "content": "What is 3 plus 4?"}]}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "calm": (CHAT, {**TALK, "temperature": 0}),
    "hot": (CHAT, {**TALK, "temperature": 0.8}),
    "two": (CHAT, {**TALK, "temperature": 0.8, "n": 2, "stream_options": {"include_usage": True}}),
    "logprobs": (CHAT, {**TALK, "temperature": 0.8, "logprobs": True, "top_logprobs": 2, "stop": ["qqqq", "e qz"]}),
    "tools": (CHAT, {**TALK, "temperature": 0.8, "tools": [TOOL]}),
    "penalties": (CHAT, {**TALK, "temperature": 1.2, "frequency_penalty": 0.5, "repetition_penalty": 1.1}),
    "text": (TEXT, {**LONG, "prompt": ["Once upon", [300, 301]], "n": 2, "temperature": 0.8, "logprobs": 1}),
}


class Replica:
    def __init__(self, process: asyncio.subprocess.Process, said: dict[str, str]) -> None:
        self.process = process
        self.epoch = said["epoch"]
        self.route = Route(f"{MODEL}-{self.epoch}", self.epoch, said["url"], MODEL, said["events"])


async def start(home: Path, epoch: str) -> Replica:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "colonnade.replica", "--model", str(SHIPPED / MODEL), "--port", "0", "--epoch", epoch),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, "COLONNADE_HOME": str(home)},
    )
    assert process.stdout is not None
    return Replica(process, msgspec.json.decode(await process.stdout.readline()))


@pytest.fixture
async def replicas(tmp_path: Path) -> AsyncIterator[list[Replica]]:
    started = [await start(tmp_path, epoch) for epoch in ("e1", "e2", "e3")]
    yield started
    for replica in started:
        if replica.process.returncode is None:
            replica.process.kill()
        await replica.process.communicate()


@pytest.fixture
async def gateway(house: House, replicas: list[Replica]) -> Gateway:
    """Over replicas that have loaded their model."""
    made = await house.gateway(settings=GatewaySettings(port=0, shutdown_timeout=0.2))
    for replica in replicas:
        routes = (replica.route,)
        house.write(Routes(int(replica.epoch[1:]), routes, (record(),), "00" * 32, models=(MODEL,)))
        made.reload()
        reply = await house.ask(made, body={**TALK, "stream": False, "max_tokens": 2})
        assert reply.status == 200, "it waits until the replica is ready"
    house.write(Routes(9, tuple(each.route for each in replicas), (record(),), "00" * 32, models=(MODEL,)))
    made.reload()
    return made


class Stream:
    """One answer, as it comes in."""

    def __init__(self, kind: str, client: Client) -> None:
        path, body = KINDS[kind]
        self.kind = kind
        self.blocks = b""
        self.events = 0
        self.more = asyncio.Event()
        self._client = client
        client.post(path=path, body=body, headers={"Colonnade-Request-Id": f"r-{kind}"})

    async def read(self) -> bytes:
        assert (await self._client.head())[0] == 200
        while data := await self._client.chunk():
            self.blocks += data
            self.events += data.count(b"\n\n")
            self.more.set()
        return self.blocks

    async def reach(self, events: int) -> None:
        async with asyncio.timeout(60):
            while self.events < events:
                self.more.clear()
                await self.more.wait()

    @property
    def epochs(self) -> set[str]:
        return {event.id.partition("/")[0] for event in EventReader().feed(self.blocks) if event.id}


def meaning(stream: bytes) -> Any:
    """All that equality is about: each choice's chunks and tokens, usage, and the end."""
    chunks: dict[int, list[Any]] = {}
    tokens: dict[int, list[int]] = {}
    other: list[Any] = []
    for event in EventReader().feed(stream):
        for choice, ids in event.tokens():
            tokens.setdefault(choice, []).extend(ids)
        if event.data == "[DONE]":
            other.append(event.data)
            continue
        body = json.loads(event.data)
        for choice in body.pop("choices"):
            chunks.setdefault(choice["index"], []).append(choice)
        if usage := body.get("usage"):
            other.append((usage["prompt_tokens"], usage["completion_tokens"]))
        body.pop("created")
    return chunks, tokens, other


def engine_of(replica: int) -> int:
    """The pid of the child that computes."""
    children = Path(f"/proc/{replica}/task").glob("*/children")
    pids = [int(pid) for file in children for pid in file.read_text().split()]
    (pid,) = [pid for pid in pids if b"--commands" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    return pid


async def test_killed_replicas_leave_no_seam(house: House, gateway: Gateway, replicas: list[Replica]) -> None:
    calm = {kind: meaning(await Stream(kind, await house.client(gateway)).read()) for kind in KINDS}
    streams = [Stream(kind, await house.client(gateway)) for kind in KINDS]
    reading = [asyncio.create_task(stream.read()) for stream in streams]
    for stream in streams:
        await stream.reach(2)
    pace = next(stream for stream in streams if stream.kind == "penalties")  # the likeliest to have much to say
    for replica, events in ((replicas[0], 40), (replicas[1], 150)):
        await pace.reach(events)
        replica.process.send_signal(signal.SIGKILL)
        await replica.process.wait()
    for stream, task in zip(streams, reading, strict=True):
        got = await task
        assert meaning(got) == calm[stream.kind], stream.kind
        assert violations(got) == [], stream.kind
    assert gateway.plane.stats.resumed >= 3
    assert gateway.plane.stats.broken == 0
    assert max(len(stream.epochs) for stream in streams) > 1
    assert gateway.plane.table.targets["e3"].in_flight == 0


async def test_a_draining_replica_and_a_dead_engine_are_left(
    house: House, gateway: Gateway, replicas: list[Replica]
) -> None:
    """Answers that are no streams are sent again; a stream goes on when the engine alone dies."""
    plain = {**TALK, "stream": False, "temperature": 0.8, "max_tokens": 1500}
    calm = (await house.ask(gateway, body=plain)).json()["choices"]
    clients = [await house.client(gateway) for _ in range(6)]
    for client in clients:
        client.post(body=plain)
    stream = Stream("hot", await house.client(gateway))
    reading = asyncio.create_task(stream.read())
    await stream.reach(3)
    pid = engine_of(replicas[0].process.pid)
    os.kill(pid, signal.SIGKILL)
    replicas[1].process.send_signal(signal.SIGTERM)
    for client in clients:
        assert (await client.reply()).json()["choices"] == calm
    assert violations(await reading) == []
    assert (await house.ask(gateway, body=plain)).json()["choices"] == calm


async def test_a_replica_that_stands_still_is_left(house: House, gateway: Gateway, replicas: list[Replica]) -> None:
    calm = meaning(await Stream("hot", await house.client(gateway)).read())
    stream = Stream("hot", await house.client(gateway))
    reading = asyncio.create_task(stream.read())
    await stream.reach(3)
    (busy,) = [each for each in replicas if gateway.plane.table.targets[each.epoch].in_flight]
    pid = engine_of(busy.process.pid)
    stopped = (pid, busy.process.pid)
    for each in stopped:
        os.kill(each, signal.SIGSTOP)
    try:
        got = await reading
    finally:
        for each in stopped:
            os.kill(each, signal.SIGCONT)
    assert meaning(got) == calm
    assert violations(got) == []
    assert (gateway.plane.stats.stalls, gateway.plane.stats.resumed) == (1, 1)
