"""The phases of a replica's life: start, drain, and every way it can end."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from replica_process import Client, Start, until

CHAT = "/v1/chat/completions"
PARROT = ("--engine-module", "parrot")


def say(text: str, **fields: Any) -> dict[str, Any]:
    return {"model": "parrot", "messages": [{"role": "user", "content": text}], **fields}


ENDLESS = {"model": "parrot", "prompt": "abc", "max_tokens": 90_000, "stream": True}


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as made:
        yield made


async def test_a_drain_finishes_what_is_in_flight(session: Any, start_replica: Start, parrot_folder: Any):
    folder = parrot_folder()
    replica = start_replica(folder, *PARROT)
    client = Client(session, replica.url)
    await client.ready()
    async with client.open(CHAT, say("ab<|endoftext|>cd", stream=True)) as answer:
        await answer.content.readuntil(b"\n\n")
        replica.signal(signal.SIGTERM)

        async def draining() -> bool:
            return (await client.get("/ready"))[1]["phase"] == "draining"

        await until(draining)
        status, refused = await client.post(CHAT, say("Hi"))
        assert (status, refused["error"]["code"], refused["error"]["retryable"]) == (503, "draining", True)
        (folder / "release").touch()
        assert (await answer.read()).endswith(b"data: [DONE]\n\n")
    assert await asyncio.to_thread(replica.ended) == (0, replica.stderr.read_text().splitlines()[-1])


async def test_a_drain_has_a_bound(session: Any, start_replica: Start, parrot_folder: Any):
    replica = start_replica(parrot_folder(), *PARROT, "--drain-timeout=100ms")
    client = Client(session, replica.url)
    await client.ready()
    async with client.open("/v1/completions", ENDLESS) as answer:
        await answer.content.readany()
        replica.signal(signal.SIGTERM)
        rest = await answer.read()
    assert b'"code":"draining"' in rest
    assert (await asyncio.to_thread(replica.ended))[0] == 0


async def test_an_engine_that_is_killed_takes_its_requests_along(
    session: Any, start_replica: Start, parrot_folder: Any
):
    replica = start_replica(parrot_folder(), *PARROT)
    client = Client(session, replica.url)
    await client.ready()
    async with client.open("/v1/completions", ENDLESS) as answer:
        whole = asyncio.create_task(client.post(CHAT, say("ab" + "<|endoftext|>")))
        await answer.content.readany()

        async def both() -> bool:
            return (await client.get("/health"))[1]["in_flight"] == 2

        await until(both)
        os.kill(replica.engine(), signal.SIGKILL)
        last = (await answer.read()).rstrip().rpartition(b"data: ")[2]
        error = json.loads(last)["error"]
        assert (error["code"], error["retryable"]) == ("replica_lost", True)
        status, refused = await whole
        assert (status, refused["error"]["code"]) == (502, "replica_lost")
    assert await asyncio.to_thread(replica.ended) == (1, "engine killed by signal 9 (SIGKILL)")


async def test_an_engine_that_exits_is_told_by_its_status(session: Any, start_replica: Start, parrot_folder: Any):
    replica = start_replica(parrot_folder(), *PARROT)
    client = Client(session, replica.url)
    await client.ready()
    status, _ = await client.post(CHAT, say("<tool_response>"))
    assert status == 502
    assert await asyncio.to_thread(replica.ended) == (1, "engine exited with status 7")


def test_an_engine_that_cannot_load_says_why(start_replica: Start, parrot_folder: Any):
    replica = start_replica(parrot_folder(broken=""), *PARROT)
    assert replica.ended() == (1, "the parrot is no more; get another")


async def test_a_face_that_is_killed_leaves_nothing(session: Any, start_replica: Start, parrot_folder: Any):
    replica = start_replica(parrot_folder(), *PARROT)
    client = Client(session, replica.url)
    await client.ready()
    engine = replica.engine()
    command = Path(f"/proc/{engine}/cmdline").read_bytes().split(b"\0")
    endpoint = command[command.index(b"--commands") + 1].decode().removeprefix("ipc://")
    assert not Path(endpoint).parent.exists()
    assert (await client.post(CHAT, say("Hi")))[0] == 200
    replica.signal(signal.SIGKILL)
    await asyncio.to_thread(replica.process.wait)

    async def ended() -> bool:
        return not Path(f"/proc/{engine}/cmdline").exists()

    await until(ended)


def test_a_parent_that_goes_is_followed(start_replica: Start, parrot_folder: Any):
    replica = start_replica(parrot_folder(), *PARROT)
    assert replica.process.stdin is not None
    replica.process.stdin.close()
    assert replica.ended()[0] == 0


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--model", "no-such-model"), "no model 'no-such-model'"),
        (("--epoch", "A B"), "--epoch 'A B'"),
        (("--keep-alive", "soon"), "'soon'"),
        (("--host", "0.0.0.0"), "--host 0.0.0.0 is not of this machine alone"),
        (("--host", "example.org"), "--host example.org is not of this machine alone"),
    ],
)
def test_what_cannot_start_says_why(start_replica: Start, parrot_folder: Any, flags: tuple[str, ...], said: str):
    replica = start_replica(parrot_folder(), *PARROT, *flags)
    status, line = replica.ended()
    assert status == 1
    assert said in line


def test_a_port_that_is_taken(start_replica: Start, parrot_folder: Any):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        replica = start_replica(parrot_folder(), *PARROT, f"--port={port}")
        assert replica.ended() == (
            1,
            f"cannot listen on 127.0.0.1:{port}: Address already in use; choose another --port, or 0 for a free one",
        )


async def test_a_stalled_engine_is_seen(session: Any, start_replica: Start, parrot_folder: Any):
    """Takes the five seconds that a step may always take."""
    folder: Path = parrot_folder()
    replica = start_replica(folder, *PARROT, "--stall-timeout=1s")
    client = Client(session, replica.url)
    await client.ready()
    request = asyncio.create_task(client.post(CHAT, say("a<|endoftext|>b")))

    async def stalled() -> bool:
        return (await client.get("/health"))[1]["status"] == "stalled"

    await until(stalled)
    assert (await client.get("/health"))[0] == 503
    assert (await client.get("/ready"))[1]["phase"] == "stalled"
    (folder / "release").touch()
    assert (await request)[0] == 200
    assert (await client.get("/health"))[0] == 200


async def test_too_many_waiting_are_refused(session: Any, start_replica: Start, parrot_folder: Any):
    folder: Path = parrot_folder()
    replica = start_replica(folder, *PARROT, "--max-waiting=1", "--max-running=1")
    client = Client(session, replica.url)
    await client.ready()
    first = asyncio.create_task(client.post(CHAT, say("<|endoftext|>a")))

    async def waits() -> bool:
        return (await client.get("/health"))[1]["waiting"] == 1

    await until(waits)
    async with client.open(CHAT, say("Hi")) as answer:
        assert answer.status == 503
        assert answer.headers["Retry-After"] == "1"
        assert (await answer.json())["error"]["code"] == "overloaded"
    (folder / "release").touch()
    assert (await first)[0] == 200


def test_nothing_here_imports_torch():
    code = "import sys, colonnade.replica.__main__; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
