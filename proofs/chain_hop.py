"""What a hop costs: `python proofs/chain_hop.py [CALLS]`.

Two processes on this host and one chain: a call with 1 kB there and back (over a Unix socket, over TCP, and inline), an
array of 1 MB one way, and how long after a cancellation the step at the far end of two hops hears of it. Sequential
calls but where said; the machine probe is beside them. Quote ratios.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

import msgspec
import numpy as np
import uvloop

from colonnade import chains
from colonnade.bench.probe import measure
from colonnade.chains.client import Client
from colonnade.chains.graph import Chain, open_chain
from colonnade.chains.process import Place

TEXT = """
import asyncio, time
import numpy as np
from colonnade.chains import Step, depends, entry

class Echo(Step):
    async def run_remote(self, text: str) -> str:
        return text

class Sink(Step):
    async def run_remote(self, array: np.ndarray) -> int:
        return array.nbytes

class Hang(Step):
    async def run_remote(self, file: str) -> None:
        try:
            open(file, "w").write("here")
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            open(file, "w").write(str(time.perf_counter()))
            raise

class Through(Step):
    def __init__(self, hang: Hang = depends(Hang)) -> None:
        self._hang = hang

    async def run_remote(self, file: str) -> None:
        await self._hang.run_remote(file)

@entry
class Hop(Step):
    def __init__(self, echo: Echo = depends(Echo), sink: Sink = depends(Sink), through: Through = depends(Through)):
        self._echo = echo

    async def run_remote(self, text: str) -> str:
        return await self._echo.run_remote(text)
"""
MEGABYTE = np.zeros(1 << 20, np.uint8)


class Known(dict[str, str]):
    """The steps' addresses by name, and the ids of their processes."""

    def __init__(self) -> None:
        self.pids: list[int] = []


@contextmanager
def started(chain: Chain, folder: Path, scheme: str) -> Iterator[Known]:
    """Every step as a process."""
    known = Known()
    processes: list[subprocess.Popen[bytes]] = []
    for number, node in enumerate(chain.leaves_first):
        listen = f"unix://{folder}/{scheme}{number}" if scheme == "unix" else "tcp://127.0.0.1:0"
        place = Place(str(chain.file), node.name, listen, chain.digest, dict(known))
        command = [sys.executable, "-m", "colonnade.chains", msgspec.json.encode(place).decode()]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        processes.append(process)
        known.pids.append(process.pid)
        assert process.stdout is not None
        known[node.name] = msgspec.json.decode(process.stdout.readline())["address"]
    try:
        yield known
    finally:
        for process in processes:
            process.communicate(timeout=30)


async def times(call: Callable[[], Awaitable[object]], count: int) -> list[float]:
    for _ in range(max(10, count // 10)):
        await call()
    found: list[float] = []
    for _ in range(count):
        began = perf_counter()
        await call()
        found.append(perf_counter() - began)
    return sorted(found)


def told(what: str, found: list[float]) -> None:
    middle, late = statistics.median(found), found[int(len(found) * 0.99)]
    print(f"{what:44} median {middle * 1e6:8.0f} us   p99 {late * 1e6:8.0f} us")


async def arrays(client: Client, count: int) -> None:
    one = statistics.median(await times(lambda: client.run_remote(MEGABYTE), count))
    began = perf_counter()
    await chains.map(client.run_remote, [MEGABYTE] * count, limit=4)
    four = (perf_counter() - began) / count
    print(f"{'1 MB one way':44} {1e-9 * MEGABYTE.nbytes / one:8.2f} GB/s, four at once {1e-9 * (1 << 20) / four:.2f}")


async def cancellation(client: Client, marks: Path, count: int) -> None:
    found: list[float] = []
    for number in range(count):
        file = Path(f"{marks}{number}")
        task = asyncio.create_task(client.run_remote(str(file)))
        while not (file.exists() and file.read_text()):
            await asyncio.sleep(0.002)
        began = perf_counter()
        task.cancel()
        while (said := file.read_text()) in ("here", ""):
            await asyncio.sleep(0.002)
        found.append(float(said) - began)
    middle, most = statistics.median(found) * 1e3, max(found) * 1e3
    print(f"{'cancelled two hops away':44} median {middle:8.2f} ms   most {most:.2f} ms")


async def measured(file: Path, folder: Path, calls: int) -> None:
    text = "x" * 1024
    async with chains.inline(file) as client:
        told("inline, two steps, 1 kB: a call of both", await times(lambda: client.run_remote(text), calls))
    chain = open_chain(file)
    for scheme in ("unix", "tcp"):
        with started(chain, folder, scheme) as known:
            step = {node.name: node.step for node in chain.nodes}
            async with chains.connect(known["Echo"], step["Echo"]) as client:
                told(f"{scheme}: one hop, 1 kB", await times(lambda: client.run_remote(text), calls))
            async with chains.connect(known["Hop"], step["Hop"]) as client:
                told(f"{scheme}: two hops, 1 kB", await times(lambda: client.run_remote(text), calls))
            async with chains.connect(known["Sink"], step["Sink"]) as client:
                await arrays(client, max(20, calls // 20))
            async with chains.connect(known["Through"], step["Through"]) as client:
                await cancellation(client, folder / f"mark-{scheme}-", 20)


def main() -> None:
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    print(measure())
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "hop_chain.py"
        file.write_text(TEXT)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(measured(file, Path(name), calls))


if __name__ == "__main__":
    main()
