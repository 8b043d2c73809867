"""Replicas killed, stopped and drained under streams: none fails, and every answer equals the undisturbed one.

    make prove            SECONDS and REPLICAS in the environment make it longer or wider

Prints how many streams ended, how many lives they took, and what was done to the replicas.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from colonnade.wire.stream import EventReader

SECONDS = float(os.environ.get("SECONDS", "60"))
REPLICAS = int(os.environ.get("REPLICAS", "2"))
EVERY = 6.0
CLIENTS = 8
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}
ASK = {"model": "colonnade-tiny", "stream": True, "max_tokens": 400, "ignore_eos": True}
KINDS: list[dict[str, Any]] = [
    {"temperature": 0},
    {"temperature": 0.8},
    {"temperature": 0.8, "n": 2},
    {"temperature": 0.8, "logprobs": True, "top_logprobs": 1},
    {"temperature": 0.8, "tools": [TOOL]},
]


def colonnade(home: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "colonnade.cli", "--home", str(home), *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=120).stdout


@pytest.fixture
def home(tmp_path: Path, unused_tcp_port: int):
    folder = tmp_path / "home"
    colonnade(folder, "up", "--port", str(unused_tcp_port), "--replicas", str(REPLICAS), "--detach")
    try:
        yield folder, f"http://127.0.0.1:{unused_tcp_port}"
    finally:
        colonnade(folder, "down")


async def answer(session: aiohttp.ClientSession, url: str, kind: int, seed: int) -> tuple[Any, int]:
    """Each choice's tokens and chunks with the end, and the number of lives that wrote it."""
    body = ASK | KINDS[kind] | {"seed": seed, "messages": [{"role": "user", "content": f"Count to {seed}."}]}
    headers = {"colonnade-request-id": f"r{kind}-{seed}"}
    async with session.post(f"{url}/v1/chat/completions", json=body, headers=headers) as response:
        events = EventReader().feed(await response.read())
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


async def disturb(home: Path, done: Counter[str], until: float) -> None:
    """One replica after the other, each time in another way."""
    ways = (signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM)
    turn = 0
    while time.monotonic() < until:
        await asyncio.sleep(EVERY)
        replicas = json.loads(await asyncio.to_thread(colonnade, home, "ps", "--json"))
        ready = [each for each in replicas if each["state"] == "ready" and each["pid"]]
        if len(ready) < REPLICAS:
            continue
        way, victim = ways[turn % len(ways)], ready[turn % len(ready)]["pid"]
        turn += 1
        done[way.name] += 1
        os.kill(victim, way)
        if way is signal.SIGSTOP:
            await asyncio.sleep(EVERY)
            os.kill(victim, signal.SIGCONT)


async def test_streams_do_not_break(home: tuple[Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    folder, url = home
    key = json.loads(colonnade(folder, "keys", "create", "--name", "proof", "--json"))["key"]
    done: Counter[str] = Counter()
    async with aiohttp.ClientSession(headers={"authorization": f"Bearer {key}"}) as session:
        asks = [(kind, seed) for kind in range(len(KINDS)) for seed in range(1, 4)]
        calm = {ask: (await answer(session, url, *ask))[0] for ask in asks}
        until = time.monotonic() + SECONDS
        wrong: list[Any] = []
        lives: Counter[int] = Counter()

        async def client(number: int) -> None:
            while time.monotonic() < until:
                ask = asks[number % len(asks)]
                got, count = await answer(session, url, *ask)
                lives[count] += 1
                if got != calm[ask]:
                    wrong.append((ask, got[2]))
                number += CLIENTS

        await asyncio.gather(disturb(folder, done, until), *(client(number) for number in range(CLIENTS)))
    with capsys.disabled():
        print(f"\n{lives.total()} streams, by lives {dict(lives)}, {dict(done)}: {len(wrong)} wrong {wrong[:5]}")
    assert not wrong
    assert set(done) == {"SIGKILL", "SIGSTOP", "SIGTERM"}
