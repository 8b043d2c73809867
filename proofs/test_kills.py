"""Replicas killed under load, again and again: nothing hangs, failures are typed and retryable, capacity is back.

    make prove

Prints the seconds from each kill to the next ready answer of the gateway.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import aiohttp
import pytest

KILLS = 10
STREAMS = 8
DEADLINE_S = 60.0
RETRYABLE = {"replica_lost", "overloaded", "draining"}


def colonnade(home: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "colonnade.cli", "--home", str(home), *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=DEADLINE_S).stdout


@pytest.fixture
def home(tmp_path: Path, unused_tcp_port: int):
    folder = tmp_path / "home"
    colonnade(folder, "up", "--port", str(unused_tcp_port), "--detach")
    try:
        yield folder, f"http://127.0.0.1:{unused_tcp_port}"
    finally:
        colonnade(folder, "down")


async def stream(session: aiohttp.ClientSession, url: str, seed: int) -> str:
    """`done`, or the code of the error that ended it. An end without either is `broken`."""
    body = {"model": "colonnade-tiny", "prompt": [300 + seed % 500] * 64, "max_tokens": 400, "ignore_eos": True}
    async with session.post(f"{url}/v1/completions", json=body | {"seed": seed, "stream": True}) as response:
        if response.status != 200:
            error = json.loads(await response.read())["error"]
            return error["code"] if error["retryable"] else f"final: {error['code']}"
        last = ""
        async for line in response.content:
            if line.startswith(b"data: "):
                last = line[6:].strip().decode()
        return "done" if last == "[DONE]" else json.loads(last).get("error", {"code": "broken"})["code"]


async def load(url: str, key: str, ended: Counter[str], stop: asyncio.Event) -> None:
    async def client(number: int) -> None:
        seed = number
        while not stop.is_set():
            outcome = await asyncio.wait_for(stream(session, url, seed), DEADLINE_S)
            ended[outcome] += 1
            seed += STREAMS

    async with aiohttp.ClientSession(headers={"authorization": f"Bearer {key}"}) as session:
        await asyncio.gather(*(client(number) for number in range(STREAMS)))


async def ready(session: aiohttp.ClientSession, url: str) -> bool:
    async with session.get(f"{url}/ready") as response:
        return response.status == 200


async def kill_and_wait(session: aiohttp.ClientSession, url: str, home: Path) -> float:
    """Seconds from SIGKILL of the replica until the gateway is ready with its next life."""
    (before,) = json.loads(await asyncio.to_thread(colonnade, home, "ps", "--json"))
    began = time.monotonic()
    os.kill(before["pid"], signal.SIGKILL)
    while await ready(session, url) and time.monotonic() - began < DEADLINE_S:
        await asyncio.sleep(0.02)
    while not await ready(session, url):
        assert time.monotonic() - began < DEADLINE_S, "capacity did not come back"
        await asyncio.sleep(0.02)
    took = time.monotonic() - began
    (after,) = json.loads(await asyncio.to_thread(colonnade, home, "ps", "--json"))
    assert after["restarts"] == before["restarts"] + 1
    assert "SIGKILL" in after["reason"]
    return took


async def test_kills_under_load(home: tuple[Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    folder, url = home
    key = json.loads(colonnade(folder, "keys", "create", "--name", "proof", "--json"))["key"]
    ended: Counter[str] = Counter()
    stop = asyncio.Event()
    loading = asyncio.create_task(load(url, key, ended, stop))
    times: list[float] = []
    async with aiohttp.ClientSession() as session:
        for _ in range(KILLS):
            before = ended["done"]
            while ended["done"] < before + STREAMS:
                await asyncio.sleep(0.1)
            times.append(await kill_and_wait(session, url, folder))
    stop.set()
    await loading
    with capsys.disabled():
        print(f"\nback after a kill: median {statistics.median(times):.2f} s, max {max(times):.2f} s")
        print(f"requests ended: {dict(ended)}")
    assert set(ended) <= RETRYABLE | {"done"}
