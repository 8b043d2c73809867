"""The gateway as a process: announce, serve, leave when told or when the parent has gone.

Each start takes half a second.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from fake_worker import STREAM_HEAD, Connection, Got, chunked
from gateway_house import House

from colonnade.gateway.__main__ import main


class Child:
    """A gateway process; its standard input is a pipe of ours."""

    def __init__(self, process: asyncio.subprocess.Process, url: str) -> None:
        self.process = process
        self.url = url


async def start(*flags: str) -> Child:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "colonnade.gateway", "--port", "0", *flags),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    said = msgspec.json.decode(await process.stdout.readline())
    assert said["pid"] == process.pid
    return Child(process, said["url"])


@pytest.fixture
async def child(house: House) -> AsyncIterator[Child]:
    worker = await house.worker()
    house.write(house.routes(worker))
    started = await start("--routes", str(house.file), "--access-log", "--shutdown-timeout", "5s")
    yield started
    if started.process.returncode is None:
        started.process.kill()
    await started.process.communicate()


async def test_it_serves_reloads_and_leaves_when_told(house: House, child: Child) -> None:
    client = await house.client(child)
    client.post(stream=True)
    assert (await client.reply()).body.endswith(b"data: [DONE]\n\n")
    house.write(house.routes(house.workers[0], keys=()))
    child.process.send_signal(signal.SIGHUP)
    async with asyncio.timeout(10):
        while True:
            client.get("/ready", key="")
            if (await client.reply()).status == 503:
                break
    child.process.send_signal(signal.SIGTERM)
    out, err = await child.process.communicate()
    assert child.process.returncode == 0
    assert out == b""
    assert [msgspec.json.decode(line)["status"] for line in err.splitlines()] == [200]


async def test_it_ends_what_is_in_flight_first(house: House, child: Child) -> None:
    go = asyncio.Event()

    async def slow(connection: Connection, got: Got) -> None:
        connection.write(STREAM_HEAD + chunked(b"data: 1\n\n"))
        await go.wait()
        connection.write(chunked(b"data: [DONE]\n\n") + b"0\r\n\r\n")

    house.workers[0].answer = slow
    client, idle = await house.client(child), await house.client(child)
    client.post(stream=True)
    await client.head()
    child.process.send_signal(signal.SIGTERM)
    assert await idle.ended()
    go.set()
    assert await client.chunk() == b"data: 1\n\n"
    assert await client.chunk() == b"data: [DONE]\n\n"
    assert await child.process.wait() == 0


async def test_it_leaves_with_its_parent(house: House, child: Child) -> None:
    assert child.process.stdin is not None
    child.process.stdin.write(b"still here\n")
    await child.process.stdin.drain()
    client = await house.client(child)
    client.get("/live")
    assert (await client.reply()).status == 200
    child.process.stdin.close()
    assert await child.process.wait() == 0


async def test_it_imports_no_torch(house: House, child: Child) -> None:
    maps = Path(f"/proc/{child.process.pid}/maps").read_text()
    assert "torch" not in maps


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], "routes come from one place"),
        (["--control", "http://x", "--routes", "y"], "routes come from one place"),
        (["--control", "http://x"], "--token-file"),
        (["--routes", "/nowhere"], "cannot read /nowhere"),
        (["--port", "70000"], "too large"),
        (["--routes", "ROUTES", "--host", "0.0.0.0", "--no-auth"], "keys are off; leave out --no-auth"),
    ],
)
def test_a_wrong_setting_is_one_line(
    flags: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "routes").write_text('{"revision": 1}')
    assert main([flag.replace("ROUTES", str(tmp_path / "routes")) for flag in flags]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
