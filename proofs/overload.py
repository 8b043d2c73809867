"""Three times as much work as two replicas can do: what is still done, and what those who matter more feel of it.

    python proofs/overload.py [SECONDS]

Finds what the fleet can do by clients that ask again at once, for SECONDS (60); then asks for as much, and for three
times as much, at random times, beside a key of higher priority that asks for a twentieth. Prints answers a second,
those that were refused, and the time to the first token of the higher priority. The load is made on the same machine,
so its cores are shared: quote ratios.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import aiohttp

from colonnade.simulate.report import rank

SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
CLIENTS = 64
WAITING = 64
"""Requests that may wait for a slot."""
VIP = 1 / 20
SETTINGS = {"COLONNADE_GATEWAY_QUEUE_LIMIT": str(WAITING), "COLONNADE_ENGINE_MAX_RUNNING": "8"}
ASK = {"model": "colonnade-tiny", "stream": True, "max_tokens": 200, "ignore_eos": True, "temperature": 0.8}
TEXT = "Please count to a number, and then back again. " * 8


def colonnade(home: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "colonnade.cli", "--home", str(home), *arguments]
    environment = os.environ | SETTINGS
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=300, env=environment).stdout


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Load:
    """Requests of one phase: how they ended, and when those of higher priority began."""

    def __init__(self, session: aiohttp.ClientSession, url: str, keys: dict[str, str]) -> None:
        self._session = session
        self._url = url
        self._keys = keys
        self._until = time.monotonic() + SECONDS
        self._numbers = iter(range(10**9))
        self.ends: dict[str, Counter[str]] = {name: Counter() for name in keys}
        self.begins: list[float] = []

    @property
    def open(self) -> bool:
        return time.monotonic() < self._until

    async def ask(self, name: str) -> None:
        """One request; an answer counts if it is whole within the time."""
        began = time.monotonic()
        text = f"{next(self._numbers)}: {TEXT}"
        body = ASK | {"messages": [{"role": "user", "content": text}]}
        headers = {"authorization": f"Bearer {self._keys[name]}"}
        async with self._session.post(f"{self._url}/v1/chat/completions", json=body, headers=headers) as response:
            if response.status != 200:
                self.ends[name][(await response.json())["error"]["code"]] += 1
                return
            first = await response.content.readany()
            if name == "vip":
                self.begins.append(time.monotonic() - began)
            end = first + await response.read()
        whole = end.endswith(b"data: [DONE]\n\n")
        self.ends[name]["late" if not self.open else "answered" if whole else "broken"] += 1

    async def again_and_again(self, name: str) -> None:
        while self.open:
            await self.ask(name)

    async def at_random(self, name: str, rate: float) -> None:
        """`rate` requests a second, whatever becomes of them."""
        chance = random.Random(name)
        async with asyncio.TaskGroup() as group:
            while self.open:
                await asyncio.sleep(chance.expovariate(rate))
                group.create_task(self.ask(name))

    def told(self) -> str:
        rate = sum(ends["answered"] for ends in self.ends.values()) / SECONDS
        vip = f"; first token p95 {rank(sorted(self.begins), 95):.2f} s" if self.begins else ""
        return f"{rate:.1f} answers/s; " + ", ".join(f"{name} {dict(ends)}" for name, ends in self.ends.items()) + vip


async def measure(url: str, keys: dict[str, str]) -> None:
    unbound = aiohttp.ClientTimeout(total=None)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(timeout=unbound, connector=connector) as session:
        peak = Load(session, url, keys)
        await asyncio.gather(*(peak.again_and_again("bulk") for _ in range(CLIENTS)))
        print(f"as much as it can: {peak.told()}", flush=True)
        rate = peak.ends["bulk"]["answered"] / SECONDS
        for times in (1, 3):
            load = Load(session, url, keys)
            await asyncio.gather(load.at_random("bulk", times * rate), load.at_random("vip", VIP * rate))
            print(f"asked for {times} times that: {load.told()}", flush=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        port = free_port()
        colonnade(home, "up", "--port", str(port), "--replicas", "2", "--detach")
        try:
            made = [("bulk", "0"), ("vip", "5")]
            said = [colonnade(home, "keys", "create", "--name", n, "--priority", p, "--json") for n, p in made]
            keys = {name: json.loads(each)["key"] for (name, _), each in zip(made, said, strict=True)}
            asyncio.run(measure(f"http://127.0.0.1:{port}", keys))
        finally:
            colonnade(home, "down")


if __name__ == "__main__":
    main()
