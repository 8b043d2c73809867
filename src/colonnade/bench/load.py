"""The load itself: an open loop of streamed completions against an OpenAI-compatible server.

Every request is sent at its planned moment, whether or not earlier ones were answered. The bodies are made before
the clock starts, so that making them delays nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
import msgspec

from colonnade.bench.measurement import Measured, Recording, code_of
from colonnade.bench.prompts import Prompts, Sized
from colonnade.bench.trace import Request
from colonnade.wire.errors import Internal, NotFound, Unauthenticated
from colonnade.wire.stream import EventReader

Progress = Callable[[Measured], None]

VOCABULARY = 1000
"""Of a server that does not tell its own: ids below it are in every tokeniser."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where the load goes. `url` without a path; `key` empty for none; `timeout` of one request, in seconds."""

    url: str
    key: str = ""
    timeout: float = 600.0

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"} if self.key else {}


@dataclass(frozen=True, slots=True)
class Planned:
    """A request ready to be sent `at` seconds after the start."""

    at: float
    sized: Sized
    body: bytes


def plan(requests: Sequence[Request], prompts: Prompts, model: str) -> list[Planned]:
    return [_planned(index, request, prompts, model) for index, request in enumerate(requests)]


def _planned(index: int, request: Request, prompts: Prompts, model: str) -> Planned:
    sized = prompts.scale.size(request)
    body = {
        "model": model,
        "prompt": prompts.tokens(index, request),
        "max_tokens": sized.output,
        "ignore_eos": True,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    return Planned(request.at, sized, msgspec.json.encode(body))


async def models(target: Target) -> list[dict[str, Any]]:
    """What the server serves. Raises for a server that is not there, wants another key, or speaks another language."""
    try:
        async with aiohttp.ClientSession(headers=target.headers, timeout=aiohttp.ClientTimeout(total=30)) as session:
            async with session.get(f"{target.url}/v1/models") as answer:
                return _served(target, answer.status, await answer.read())
    except (aiohttp.ClientError, TimeoutError) as cause:
        raise NotFound(
            f"no server answers at {target.url}",
            hint="start one with `colonnade up`, let bench do it with --serve MODEL, or name another with --url",
            code="not_running",
        ) from cause


def _served(target: Target, status: int, body: bytes) -> list[dict[str, Any]]:
    if status == 401:
        raise Unauthenticated(
            f"{target.url} does not take this key", hint="--key KEY; `colonnade keys create` makes one"
        )
    try:
        return msgspec.json.decode(body)["data"] if status == 200 else []
    except (msgspec.DecodeError, KeyError, TypeError) as cause:
        raise Internal(f"{target.url}/v1/models is no OpenAI-compatible list of models") from cause


def choose(served: Sequence[dict[str, Any]], wanted: str | None) -> dict[str, Any]:
    """The entry of the model that is loaded: the one wanted, else the first. Raises NotFound."""
    for entry in served:
        if wanted in (None, entry["id"]):
            return entry
    names = ", ".join(entry["id"] for entry in served) or "nothing"
    raise NotFound(
        f"the model {wanted or ''} is not served".replace("  ", " "), hint=f"served: {names}", param="--model"
    )


async def run(target: Target, planned: Sequence[Planned], progress: Progress) -> list[Measured]:
    """Sends all of it and waits for all of it; `progress` is told of each answer as it ends."""
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=target.timeout)
    async with aiohttp.ClientSession(connector=connector, headers=target.headers, timeout=timeout) as session:
        start = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            tasks: list[asyncio.Task[Measured]] = []
            for each in planned:
                await asyncio.sleep(max(0.0, each.at - (time.perf_counter() - start)))
                tasks.append(group.create_task(_request(session, target.url, each, start, progress)))
    return [task.result() for task in tasks]


async def _request(
    session: aiohttp.ClientSession, url: str, planned: Planned, start: float, progress: Progress
) -> Measured:
    recording = Recording(planned.at, time.perf_counter() - start, planned.sized)
    error = ""
    try:
        await _stream(session, url, planned.body, recording, start)
    except TimeoutError:
        error = "timeout"
    except aiohttp.ClientConnectorError:
        error = "connection_refused"
    except aiohttp.ClientError:
        error = "connection_lost"
    measured = recording.close(time.perf_counter() - start, error)
    progress(measured)
    return measured


async def _stream(session: aiohttp.ClientSession, url: str, body: bytes, recording: Recording, start: float) -> None:
    headers = {"Content-Type": "application/json"}
    async with session.post(f"{url}/v1/completions", data=body, headers=headers) as answer:
        if answer.status != 200:
            recording.error = _refusal(answer.status, await answer.read())
            return
        reader = EventReader()
        async for chunk in answer.content.iter_any():
            now = time.perf_counter() - start
            for event in reader.feed(chunk):
                recording.event(event, now)


def _refusal(status: int, body: bytes) -> str:
    try:
        envelope = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return f"http_{status}"
    return code_of(envelope) if isinstance(envelope, dict) and "error" in envelope else f"http_{status}"
