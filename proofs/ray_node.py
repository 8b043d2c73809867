"""A node of a Ray cluster killed under load of the shipped model: `python proofs/ray_node.py [KILLS] [CLIENTS]`.

Two nodes on loopback (127.0.0.2, 127.0.0.3), a replica on each, a gateway in front, CLIENTS (3) streams at all times.
KILLS (3) times everything of the second node is killed at once, Ray's processes and the replica's; then it joins again.
For each kill: requests that did not end whole, streams that went on from the other replica, seconds of the longest
silence on any stream, seconds until the agent gave the node up, and until the replica was ready on the other node. The
last line is JSON.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "drivers"))

from ray_rig import RayRig

from colonnade.drivers.process import members
from colonnade.fleet.home import Home
from colonnade.wire.routes import Route, Routes

OTHER = "127.0.0.3"
DESK = "desk"
DEADLINE_S = 300.0
BODY = {"model": DESK, "max_tokens": 200, "ignore_eos": True, "stream": True}


@dataclass(frozen=True)
class Row:
    requests: int
    failed: int
    resumed: int
    silence_s: float
    given_up_s: float
    restored_s: float


@dataclass
class Load:
    """Streams, one after the other in each of some clients. `silence`: the longest between two pieces of a stream."""

    gateway: str
    whole: int = 0
    failed: list[str] = field(default_factory=list)
    silence: float = 0.0

    async def client(self, session: aiohttp.ClientSession, seed: int) -> None:
        while True:
            seed += 1000
            try:
                await self._stream(session, seed)
            except (aiohttp.ClientError, TimeoutError) as error:
                self.failed.append(repr(error))

    async def _stream(self, session: aiohttp.ClientSession, seed: int) -> None:
        last, heard = b"", time.monotonic()
        body = BODY | {"seed": seed, "prompt": [300 + seed % 500] * 32}
        async with session.post(f"{self.gateway}/v1/completions", json=body) as answer:
            if answer.status != 200:
                self.failed.append(f"{answer.status} {await answer.text()}")
                return
            async for line in answer.content:
                now = time.monotonic()
                self.silence, heard = max(self.silence, now - heard), now
                last = line if line.startswith(b"data: ") else last
        if last.strip() == b"data: [DONE]":
            self.whole += 1
        else:
            self.failed.append(f"ended with {last!r}")

    def since(self) -> tuple[int, int, float]:
        """Requests, failed ones and the longest silence since the last call."""
        found = (self.whole + len(self.failed), len(self.failed), self.silence)
        for each in self.failed:
            print("failed:", each[:300])
        self.whole, self.failed, self.silence = 0, [], 0.0
        return found


class House:
    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.home = Home(folder)
        self._stack = stack

    def begin(self, *arguments: str) -> dict[str, Any]:
        """A process, and what it announced."""
        process = subprocess.Popen([sys.executable, "-m", *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._stack.callback(end, process)
        assert process.stdout is not None
        return json.loads(process.stdout.readline())

    async def call(self, method: str, path: str, body: object = None) -> bytes:
        control = self.home.read_control()
        headers = {"authorization": f"Bearer {control.token}"}
        async with aiohttp.ClientSession(headers=headers) as session:
            async with session.request(method, control.url + path, json=body) as response:
                assert response.status == 200, await response.text()
                return await response.read()

    async def scale(self, replicas: int) -> None:
        body = {
            "model": "colonnade-tiny",
            "replicas": replicas,
            "settings": {"threads": "1"},
            "resources": {"type": "cpu", "count": 1},
        }
        await self.call("PUT", f"/v1/deployments/{DESK}", body)

    async def routes(self, wanted: Callable[[tuple[Route, ...]], bool]) -> tuple[Route, ...]:
        found = Routes(-1)
        async with asyncio.timeout(DEADLINE_S):
            while not wanted(found.routes):
                data = await self.call("GET", f"/v1/routes?since={found.revision}")
                found = msgspec.json.decode(data, type=Routes)
        return found.routes

    async def ended_at(self, epoch: str) -> float:
        """Unix seconds; the event log has it."""
        lines = json.loads(await self.call("GET", f"/v1/events?deployment={DESK}&limit=10000"))["data"]
        (line,) = [each for each in lines if each.get("epoch") == epoch and each["kind"] in {"ended", "failed"}]
        print("given up:", line["reason"])
        return line["at"]


async def resumed(gateway: str) -> int:
    """Streams that went on from another replica, so far."""
    async with aiohttp.ClientSession() as session, session.get(f"{gateway}/metrics") as answer:
        found = re.search(r"^colonnade_gateway_resumed_streams_total(?:{.*})? (\S+)", await answer.text(), re.MULTILINE)
    return int(float(found[1])) if found else 0


def end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    process.wait()
    process.stdout.close()


def there(route: Route) -> bool:
    return route.url.startswith(f"http://{OTHER}:")


async def placed_there(house: House) -> Route:
    """The replica on the other node, which takes a while until it is known to have joined."""
    while True:
        await house.scale(1)
        await house.routes(lambda found: len(found) == 1 and not there(found[0]))
        await house.scale(2)
        for route in await house.routes(lambda found: len(found) == 2):
            if there(route):
                return route
        await asyncio.sleep(5)


async def round_of(house: House, rig: RayRig, load: Load) -> Row:
    await asyncio.to_thread(rig.join, OTHER)
    route = await placed_there(house)
    replicas = json.loads(await house.call("GET", "/v1/replicas"))["data"]
    (pid,) = [each["pid"] for each in replicas if each["url"] == route.url]
    await asyncio.sleep(5)
    load.since()
    before = await resumed(load.gateway)
    killed, killed_at = time.monotonic(), time.time()
    rig.kill(OTHER, *members(pid))
    await house.routes(lambda found: len(found) == 2 and not any(map(there, found)))
    restored = time.monotonic() - killed
    await asyncio.sleep(5)
    requests, failed, silence = load.since()
    given_up = await house.ended_at(route.epoch) - killed_at
    moved = await resumed(load.gateway) - before
    return Row(requests, failed, moved, round(silence, 2), round(given_up, 2), round(restored, 2))


async def prove(folder: Path, rig: RayRig, kills: int, clients: int, stack: ExitStack) -> list[Row]:
    house = House(folder, stack)
    cluster = folder / "cluster.yaml"
    cluster.write_text(f"name: loopback\ndriver: ray\naddress: {rig.address}\n")
    home = ("--home", str(folder))
    house.begin("colonnade.fleet", "control", *home)
    house.begin("colonnade.fleet", "agent", *home, "--cluster-file", str(cluster))
    told = ("--control", house.home.read_control().url, "--token-file", str(house.home.control))
    gateway = house.begin("colonnade.gateway", *told, "--port", "0", "--no-auth")
    await house.scale(1)
    await house.routes(lambda found: len(found) == 1)
    load = Load(gateway["url"])
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=DEADLINE_S)) as session:
        tasks = [asyncio.create_task(load.client(session, number)) for number in range(clients)]
        rows = [await round_of(house, rig, load) for _ in range(kills)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return rows


def main() -> None:
    kills, clients = (int(each) for each in (*sys.argv[1:], *("3", "3")[len(sys.argv) - 1 :]))
    rig = RayRig()
    try:
        with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
            rows = asyncio.run(prove(Path(folder), rig, kills, clients, stack))
    finally:
        rig.end()
    print("| requests | failed | resumed | longest silence s | given up s | restored s |\n|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row.requests} | {row.failed} | {row.resumed} | {row.silence_s} | {row.given_up_s} | {row.restored_s} |"
        )
    print(json.dumps([asdict(row) for row in rows]))
    assert all(row.failed == 0 and row.given_up_s < 20 for row in rows)


if __name__ == "__main__":
    main()
