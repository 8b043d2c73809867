"""A hop beside those of Truss Chains and Ray Serve: `python proofs/chain_hop_beside.py [CHAINS_PYTHON [RAY_PYTHON]]`.

The same chain in each: a step times its own calls of two others, 1 kB of text there and back and an array of 1 MB one
way, one call after the other. All are started first; then they take turns, so that what else the machine does falls on
all of them. Ours runs between processes (over a Unix socket, over TCP) and inline. Besides the clock it says what
processor time all processes of a system took for a call: other work on the machine bends that less.

They are no dependencies, and have a Python each: `pip install truss==0.18.25 'pydantic<2.14' 'numpy<2'` with what
`truss/templates/server/requirements.txt` lists (`pydantic` 2.14 cannot load what Chains 0.18.25 generates), and
`pip install 'ray[serve]'`. Without one it is left out.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import uvloop
from chain_hop import started

from colonnade import chains
from colonnade.bench.probe import measure
from colonnade.chains.graph import open_chain

HOPS = Path(__file__).with_name("hops")
ROUNDS = 10
ORDERS = {"text": (100, 1024), "array": (10, 1 << 20)}
"""Calls in a turn, and bytes of each."""

Ask = Callable[[str, int, int], Awaitable[list[float]]]


@dataclass
class System:
    """`ask` makes a turn of calls and gives the seconds of each; `pids` are the heads of its processes."""

    name: str
    ask: Ask
    pids: list[int]
    found: dict[str, list[float]] = field(default_factory=lambda: {what: [] for what in ORDERS})
    spent: dict[str, float] = field(default_factory=lambda: dict.fromkeys(ORDERS, 0.0))

    async def turn(self, what: str, keep: bool) -> None:
        before = processor_seconds(self.pids)
        seconds = await self.ask(what, *ORDERS[what])
        if keep:
            self.found[what] += seconds
            self.spent[what] += processor_seconds(self.pids) - before


def processor_seconds(heads: list[int]) -> float:
    """Of these processes and all below them, so far."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        children.setdefault(parent, []).append(int(folder.name))
    todo, total = list(heads), 0
    while todo:
        pid = todo.pop()
        todo += children.get(pid, [])
        for file in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            try:
                total += int(file.read_text().split()[0])
            except (FileNotFoundError, ProcessLookupError):
                continue
    return total / 1e9


async def rival(name: str, script: str, python: str, stack: AsyncExitStack) -> System:
    """A script in `hops/` that answers each line of its standard input."""
    log = tempfile.TemporaryFile()  # noqa: SIM115
    stack.callback(log.close)
    process = await asyncio.create_subprocess_exec(
        python, str(HOPS / script), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, limit=1 << 22
    )
    assert process.stdin is not None
    assert process.stdout is not None
    stdin, stdout = process.stdin, process.stdout

    async def leave() -> None:
        stdin.close()
        await process.wait()

    async def ask(what: str, calls: int, size: int) -> list[float]:
        stdin.write(json.dumps({"what": what, "calls": calls, "size": size}).encode() + b"\n")
        return json.loads(await stdout.readline())

    stack.push_async_callback(leave)
    if await stdout.readline() != b"ready\n":
        log.seek(0)
        raise SystemExit(log.read().decode())
    return System(name, ask, [process.pid])


async def systems(folder: Path, pythons: list[str], stack: AsyncExitStack) -> list[System]:
    file = HOPS / "timing_chain.py"
    chain = open_chain(file)
    within = await stack.enter_async_context(chains.inline(file))
    found = [System("in this process", within.run_remote, [os.getpid()])]
    timer = chain.entry.step
    for scheme in ("unix", "tcp"):
        known = stack.enter_context(started(chain, folder, scheme))
        client = await stack.enter_async_context(chains.connect(known["Timer"], timer))
        found.append(System(f"between processes, {scheme}", client.run_remote, known.pids))
    for name, script, python in zip(
        ("Truss Chains", "Ray Serve"), ("chains_rival.py", "ray_rival.py"), pythons, strict=False
    ):
        found.append(await rival(name, script, python, stack))
    return found


def told(all_of_them: list[System]) -> None:
    for what, (_, size) in ORDERS.items():
        print(f"\n{what}, {size} bytes a call\n{'':28}  median us     p99 us     CPU us       GB/s")
        for each in all_of_them:
            seconds = sorted(each.found[what])
            middle, late = statistics.median(seconds), seconds[int(len(seconds) * 0.99)]
            cpu = each.spent[what] / len(seconds)
            figures = f"{middle * 1e6:10.0f} {late * 1e6:10.0f} {cpu * 1e6:10.0f} {size / middle / 1e9:10.3f}"
            print(f"{each.name:28} {figures}")


async def measured(folder: Path, pythons: list[str]) -> None:
    async with AsyncExitStack() as stack:
        all_of_them = await systems(folder, pythons, stack)
        for number in range(ROUNDS + 1):
            for what in ORDERS:
                for each in all_of_them:
                    await each.turn(what, keep=number > 0)
        told(all_of_them)


def main() -> None:
    print(measure())
    with tempfile.TemporaryDirectory() as name, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(measured(Path(name), sys.argv[1:]))


if __name__ == "__main__":
    main()
