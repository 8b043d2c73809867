"""From one replica of the shipped model to many, and back: `python proofs/hundred.py [COUNTS] [PLAIN]`.

COUNTS are `1,5,10,100` unless said otherwise, and PLAIN (4) is how many are started plainly for comparison. A home of
its own, as `colonnade up` makes it. At each count: seconds from the decision until all are ready, CPU seconds that a
start took (of the replica, and of agent and warm process beside it), and the megabytes that a replica shares with no
other process and, by proportional share, that it costs, both without the pages of keys and values. Each replica answers
one request. Then back to one with requests under way at the gateway. The last line is JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import aiohttp
import msgspec

from colonnade.drivers.process import members
from colonnade.fleet.home import Home
from colonnade.wire.routes import Route, Routes

DEADLINE_S = 300.0
CLIENTS = 8
SETTINGS = {"threads": "1", "kv-tokens": "1024"}
DESK = "desk"
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Row:
    """`unshared_mb`, `proportional_mb`: the median replica's, all its processes, without keys and values."""

    replicas: int
    seconds: float
    start_cpu_s: float
    beside_cpu_s: float
    unshared_mb: float
    proportional_mb: float
    answered: int


class House:
    """A home with everything that `up` starts. `linger`: of the warm processes; "0s": plain starts."""

    def __init__(self, folder: Path, linger: str) -> None:
        self.home = Home(folder)
        (folder / "config.toml").write_text(f'[fleet]\nlinger = "{linger}"\n[gateway]\nauth = false\n')

    def run(self, *arguments: str) -> str:
        command = [sys.executable, "-m", "colonnade.cli", "--home", str(self.home.path), *arguments]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=DEADLINE_S).stdout

    async def begin(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.run("up", "--port", str(port), "--detach")
        self.gateway = f"http://127.0.0.1:{port}"
        self.control = self.home.read_control()
        headers = {"authorization": f"Bearer {self.control.token}"}
        limits = aiohttp.ClientTimeout(total=DEADLINE_S)
        self.session = aiohttp.ClientSession(headers=headers, timeout=limits)

    async def end(self) -> None:
        await self.session.close()
        self.run("down")

    async def scale(self, replicas: int) -> None:
        body = {"model": "colonnade-tiny", "replicas": replicas, "settings": SETTINGS}
        async with self.session.put(f"{self.control.url}/v1/deployments/{DESK}", json=body) as answer:
            assert answer.status == 200, await answer.text()

    async def routes(self, replicas: int) -> list[Route]:
        """When there are so many."""
        since, found = -1, list[Route]()
        async with asyncio.timeout(DEADLINE_S):
            while len(found) != replicas:
                async with self.session.get(f"{self.control.url}/v1/routes", params={"since": since}) as answer:
                    told = msgspec.json.decode(await answer.read(), type=Routes)
                since, found = told.revision, [each for each in told.routes if each.model == DESK]
        return found

    async def pids(self) -> dict[str, int]:
        async with self.session.get(f"{self.control.url}/v1/replicas") as answer:
            told = await answer.json()
        return {each["id"]: each["pid"] for each in told["data"] if each["deployment"] == DESK and each["pid"]}

    def others(self) -> list[int]:
        """The agent and its warm processes."""
        lines = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
        words = (f"colonnade.fleet agent --home {self.home.path}", "colonnade.replica.warm")
        return [int(line.split()[0]) for line in lines.splitlines() if any(word in line for word in words)]


def cpu(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return sum(int(each) for each in fields[11:13]) / _TICKS


def memory(pid: int, kv_bytes: int) -> tuple[float, float]:
    """Megabytes: unshared, and by proportional share; without the mappings that hold keys and values."""
    unshared = proportional = 0
    for block in re.split(r"\n(?=[0-9a-f]+-[0-9a-f]+ )", Path(f"/proc/{pid}/smaps").read_text()):
        found = {name: int(number) for name, number in re.findall(r"^(\w+): +(\d+) kB", block, re.MULTILINE)}
        if found["Size"] << 10 >= kv_bytes // 2 and re.search(r"VmFlags:.* hg", block):
            continue
        unshared += found["Private_Clean"] + found["Private_Dirty"]
        proportional += found["Pss"]
    return unshared / 1024, proportional / 1024


async def ask(session: aiohttp.ClientSession, url: str) -> int:
    """The tokens of the answer."""
    body = {"model": DESK, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 8}
    async with session.post(f"{url}/v1/chat/completions", json=body) as answer:
        assert answer.status == 200, await answer.text()
        return (await answer.json())["usage"]["completion_tokens"]


async def grow(house: House, replicas: int) -> Row:
    before, beside = set((await house.pids()).values()), sum(cpu(pid) for pid in house.others())
    began = time.monotonic()
    await house.scale(replicas)
    found = await house.routes(replicas)
    seconds = time.monotonic() - began
    leaders = set((await house.pids()).values())
    fresh = leaders - before
    spent = statistics.mean(sum(cpu(pid) for pid in members(leader)) for leader in fresh)
    beside = (sum(cpu(pid) for pid in house.others()) - beside) / len(fresh)
    async with house.session.get(f"{found[0].url}/v1/models") as answer:
        card = (await answer.json())["data"][0]
    kv_bytes = card["pages"] * card["kv_bytes_per_token"]
    answered = sum([await ask(house.session, each.url) > 0 for each in found])
    held = [[memory(pid, kv_bytes) for pid in members(leader)] for leader in leaders]
    unshared, proportional = (statistics.median(sum(pair[at] for pair in each) for each in held) for at in (0, 1))
    return Row(replicas, seconds, spent, beside, unshared, proportional, answered)


async def shrink(house: House) -> Counter[str]:
    """To one, with requests under way through the gateway: how they ended."""
    ended, over = Counter[str](), asyncio.Event()

    async def client() -> None:
        while not over.is_set():
            try:
                await ask(house.session, house.gateway)
                ended["answered"] += 1
            except (AssertionError, aiohttp.ClientError) as error:
                ended[f"{type(error).__name__}: {error}"[:200]] += 1

    clients = [asyncio.create_task(client()) for _ in range(CLIENTS)]
    await house.scale(1)
    await house.routes(1)
    async with asyncio.timeout(DEADLINE_S):
        while len(await house.pids()) > 1:
            await asyncio.sleep(0.25)
    over.set()
    await asyncio.gather(*clients)
    return ended


async def history(counts: list[int], linger: str) -> tuple[list[Row], Counter[str]]:
    with tempfile.TemporaryDirectory() as folder:
        house = House(Path(folder), linger)
        await house.begin()
        try:
            rows = [await grow(house, count) for count in counts]
            return rows, await shrink(house)
        finally:
            await house.end()


def show(name: str, rows: list[Row], ended: Counter[str]) -> None:
    sys.stdout.write(f"{name}\n{'replicas':>10}{'ready, s':>10}{'CPU s':>8}{'beside':>8}{'MB own':>8}{'PSS':>7}\n")
    for row in rows:
        sys.stdout.write(f"{row.replicas:>10}{row.seconds:>10.2f}{row.start_cpu_s:>8.3f}{row.beside_cpu_s:>8.3f}")
        sys.stdout.write(f"{row.unshared_mb:>8.1f}{row.proportional_mb:>7.1f}  {row.answered} answered\n")
    sys.stdout.write(f"back to 1 under load: {dict(ended)}\n")


def main() -> int:
    counts = [int(each) for each in (sys.argv[1] if len(sys.argv) > 1 else "1,5,10,100").split(",")]
    plain = int(sys.argv[2]) if len(sys.argv) > 2 else 4
    report: dict[str, object] = {}
    for name, chosen, linger in (("forked", counts, "10m"), ("plain", sorted({1, plain}), "0s")):
        rows, ended = asyncio.run(history(chosen, linger))
        show(name, rows, ended)
        report[name] = {"rows": [asdict(row) for row in rows], "ended": ended}
    sys.stdout.write(json.dumps(report) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
