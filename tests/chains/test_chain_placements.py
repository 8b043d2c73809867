"""The same chain in one process, in three on one host, and in three on two addresses: the same answers and errors."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from colonnade import chains
from colonnade.chains.client import Client
from colonnade.chains.graph import Chain, open_chain
from colonnade.chains.process import Place
from colonnade.wire.errors import ColonnadeError

FILE = Path(__file__).with_name("placed.py")
PLACEMENTS = {
    "one host": ("unix://{folder}/0", "unix://{folder}/1", "unix://{folder}/2"),
    "two hosts": ("tcp://127.0.0.1:0", "tcp://127.0.0.2:0", "tcp://127.0.0.1:0"),
}
"""Where the steps listen, those first that depend on none."""
ASKED = [("", 60.0), ("value", 60.0), ("missing", 60.0), ("liar", 60.0), ("never", 1.5), ("both x value", 60.0)]


@contextmanager
def placed(chain: Chain, listens: tuple[str, ...]) -> Iterator[dict[str, str]]:
    known: dict[str, str] = {}
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for node, listen in zip(chain.leaves_first, listens, strict=True):
            place = msgspec.json.encode(Place(str(FILE), node.name, listen, chain.digest, dict(known)))
            command = [sys.executable, "-m", "colonnade.chains", place.decode()]
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            processes.append(process)
            assert process.stdout is not None
            known[node.name] = msgspec.json.decode(process.stdout.readline())["address"]
        yield known
    finally:
        for process in reversed(processes):
            process.communicate(timeout=60)


@asynccontextmanager
async def entry(placement: str) -> AsyncIterator[Client]:
    chain = open_chain(FILE)
    async with AsyncExitStack() as stack:
        if placement == "one process":
            yield await stack.enter_async_context(chains.inline(FILE))
            return
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="chain-"))
        listens = tuple(each.format(folder=folder) for each in PLACEMENTS[placement])
        known = stack.enter_context(placed(chain, listens))
        if placement == "two hosts":
            hosts = {address.removeprefix("tcp://").rpartition(":")[0] for address in known.values()}
            assert hosts == {"127.0.0.1", "127.0.0.2"}
        yield await stack.enter_async_context(chains.connect(known["Near"], chain.entry.step))


async def told(client: Client) -> list[Any]:
    """What comes of each call: its value, or all that its error says."""
    found: list[Any] = []
    for what, within in ASKED:
        try:
            found.append((await client.call(what, within=within)).value)
        except ColonnadeError as error:
            report = getattr(error, "report", None)
            hops = [(hop.step, [line.function for line in hop.stack]) for hop in report.hops] if report else []
            # how much of its time a call had left when it was made differs from run to run
            message = error.reason if what == "never" else error.message
            found.append((type(error).__name__, error.reason, message, error.hint, hops))
    return found


@pytest.mark.parametrize("placement", PLACEMENTS)
async def test_the_same_answers_and_errors_wherever_the_steps_run(placement: str) -> None:
    async with entry("one process") as client:
        expected = await told(client)
    assert expected[0] == [0, 48, 34 * (1 << 17), 128]
    assert [each[:2] for each in expected[1:]] == [
        ("StepFailed", "step_failed"),
        ("NotFound", "no_such_thing"),
        ("StepFailed", "bad_answer"),
        ("DeadlineExceeded", "deadline_exceeded"),
        ("StepFailed", "step_failed"),
    ]
    async with entry(placement) as client:
        assert await told(client) == expected
