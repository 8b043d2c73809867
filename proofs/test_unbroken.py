"""Replicas killed, stopped, slowed and drained under streams: none fails, and every answer equals the undisturbed one.

    make prove            STREAMS, REPLICAS, CLIENTS and EVERY (seconds between kills) in the environment change it

Half of the streams are drawn at temperature 0.8; a fifth each with tools, a JSON schema, n = 2, log-probabilities. What
is done to a replica is done while streams of its have their first token. Prints how many streams ended, how many lives
they took, and what was done to the replicas.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from colonnade.wire.stream import EventReader

STREAMS = int(os.environ.get("STREAMS", "10000"))
REPLICAS = int(os.environ.get("REPLICAS", "4"))
CLIENTS = int(os.environ.get("CLIENTS", "16"))
EVERY = float(os.environ.get("EVERY", "10"))
SLOWER = 10
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}
SUMS = {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 999}, "minItems": 40, "maxItems": 60}
FORM = {"type": "object", "properties": {"sums": SUMS}, "required": ["sums"], "additionalProperties": False}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "sums", "schema": FORM, "strict": True}}
ASK = {"model": "colonnade-tiny", "stream": True, "max_tokens": 400}
KINDS: list[dict[str, Any]] = [
    {"ignore_eos": True},
    {"ignore_eos": True, "n": 2},
    {"ignore_eos": True, "logprobs": True, "top_logprobs": 1},
    {"ignore_eos": True, "tools": [TOOL]},
    {"response_format": SCHEMA},
]
SEEDS = 4
"""Of each kind, half of them at temperature 0.8."""
WAYS = ("SIGSTOP", "slowed", "SIGTERM")
"""Between two kills, in turn."""
_LIFE = re.compile(rb"^id: ([^/\n]+)/", re.MULTILINE)


def colonnade(home: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "colonnade.cli", "--home", str(home), *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=300).stdout


@pytest.fixture
def home(tmp_path: Path, unused_tcp_port: int) -> Iterator[tuple[Path, str]]:
    folder = tmp_path / "home"
    colonnade(folder, "up", "--port", str(unused_tcp_port), "--replicas", str(REPLICAS), "--detach")
    try:
        yield folder, f"http://127.0.0.1:{unused_tcp_port}"
    finally:
        colonnade(folder, "down")


def send(group: int, what: signal.Signals) -> None:
    """To all of a replica; it may have ended meanwhile."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, what)


class Fleet:
    """The replicas, what was done to them, and how many streams each life is writing."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.done: Counter[str] = Counter()
        self.writing: Counter[str] = Counter()

    async def victim(self) -> int:
        """Of those that write, when all are ready; its process group is all of it."""
        while True:
            replicas = json.loads(await asyncio.to_thread(colonnade, self.home, "ps", "--json"))
            ready = [each for each in replicas if each["state"] == "ready" and each["pid"]]
            busy = [each for each in ready if self.writing[each["epoch"]] > 0]
            if len(ready) >= REPLICAS and busy:
                return busy[self.done.total() % len(busy)]["pid"]
            await asyncio.sleep(1)

    async def disturb(self) -> None:
        """A kill every so often, and something else in between."""
        for way in itertools.cycle(WAYS):
            await asyncio.sleep(EVERY / 2)
            send(await self.victim(), signal.SIGKILL)
            self.done["SIGKILL"] += 1
            await asyncio.sleep(EVERY / 2)
            await self.harm(await self.victim(), way)
            self.done[way] += 1

    async def harm(self, group: int, way: str) -> None:
        try:
            match way:
                case "SIGTERM":
                    os.kill(group, signal.SIGTERM)  # its face sees to the rest
                case "SIGSTOP":
                    send(group, signal.SIGSTOP)
                    await asyncio.sleep(EVERY)
                case _:
                    await self.slow(group, time.monotonic() + EVERY)
        finally:
            if way != "SIGTERM":
                send(group, signal.SIGCONT)

    async def slow(self, group: int, until: float) -> None:
        while time.monotonic() < until:
            send(group, signal.SIGSTOP)
            await asyncio.sleep(0.01 * (SLOWER - 1))
            send(group, signal.SIGCONT)
            await asyncio.sleep(0.01)


async def read(response: aiohttp.ClientResponse, writing: Counter[str]) -> bytes:
    """The whole body; meanwhile the life that writes it is counted."""
    body, life = b"", ""
    try:
        async for data in response.content.iter_any():
            body += data
            if found := _LIFE.findall(data):
                writing[life] -= 1
                life = found[-1].decode()
                writing[life] += 1
    finally:
        writing[life] -= 1
    return body


async def answer(session: aiohttp.ClientSession, url: str, kind: int, seed: int, fleet: Fleet) -> tuple[Any, int]:
    """Each choice's tokens and chunks with the end, and the number of lives that wrote it."""
    said = {"seed": seed, "messages": [{"role": "user", "content": f"Count to {seed}."}]}
    body = ASK | KINDS[kind] | said | {"temperature": 0.8 * (seed % 2)}
    headers = {"colonnade-request-id": f"r{kind}-{seed}"}
    async with session.post(f"{url}/v1/chat/completions", json=body, headers=headers) as response:
        events = EventReader().feed(await read(response, fleet.writing))
    tokens: dict[int, list[int]] = {}
    chunks: dict[int, list[Any]] = {}
    for event in events:
        for choice, ids in event.tokens():
            tokens.setdefault(choice, []).extend(ids)
        if event.data.startswith("{"):
            for choice in json.loads(event.data).get("choices", [{"index": -1, "error": event.data}]):
                chunks.setdefault(choice["index"], []).append(choice)
    lives = len({event.id.partition("/")[0] for event in events if event.id})
    return (tokens, chunks, events[-1].data if events else response.status), lives


async def test_streams_do_not_break(home: tuple[Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    folder, url = home
    key = json.loads(colonnade(folder, "keys", "create", "--name", "proof", "--json"))["key"]
    fleet, wrong, lives = Fleet(folder), list[Any](), Counter[int]()
    numbers = iter(range(STREAMS))
    unbound = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(headers={"authorization": f"Bearer {key}"}, timeout=unbound) as session:
        asks = [(kind, seed) for seed in range(1, SEEDS + 1) for kind in range(len(KINDS))]
        calm = {ask: (await answer(session, url, *ask, fleet))[0] for ask in asks}
        assert {end for _, _, end in calm.values()} == {"[DONE]"}

        async def client() -> None:
            for number in numbers:
                ask = asks[number % len(asks)]
                got, count = await answer(session, url, *ask, fleet)
                lives[count] += 1
                if got != calm[ask]:
                    wrong.append((ask, got[2]))

        disturbing = asyncio.create_task(fleet.disturb())
        began = time.monotonic()
        await asyncio.gather(*(client() for _ in range(CLIENTS)))
        disturbing.cancel()
        await asyncio.gather(disturbing, return_exceptions=True)
    with capsys.disabled():
        taken = f"{lives.total()} streams in {time.monotonic() - began:.0f} s, by lives {dict(lives)}"
        print(f"\n{taken}, {dict(fleet.done)}: {len(wrong)} wrong {wrong[:5]}")
    assert not wrong
    assert fleet.done["SIGKILL"]
    if STREAMS >= 10_000:
        assert set(fleet.done) == {"SIGKILL", *WAYS}
