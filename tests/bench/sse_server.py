"""A small server that speaks the contract, with named ways to fail; for clients to be tested against."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from colonnade.wire.errors import Overloaded, ReplicaLost, Unauthenticated
from colonnade.wire.stream import DONE, EventId, event, tokens_line, usage_line

KEY = "cln_test"
MODEL = {"id": "m", "object": "model", "max_model_len": 64, "vocab_size": 1024, "fingerprint": "f0"}


@dataclass
class Server:
    """`behave` names what the next answers do: well, overloaded, lost, cut, html, silent."""

    url: str = ""
    behave: str = "well"
    text: str = "hello there"
    bodies: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    served: list[dict[str, Any]] = field(default_factory=lambda: [MODEL])

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await _head(reader):
                body = await reader.readexactly(int(head.get("content-length", 0)))
                await self._answer(head, body, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    async def _answer(self, head: dict[str, str], body: bytes, writer: asyncio.StreamWriter) -> None:
        if head.get("authorization") != f"Bearer {KEY}":
            refusal = Unauthenticated("who are you?", hint="a key")
            writer.write(_json(401, refusal.envelope()))
        elif head["path"] == "/v1/models":
            writer.write(_json(200, {"data": self.served}))
        elif self.behave == "overloaded":
            writer.write(_json(503, Overloaded("too many", hint="later").envelope()))
        elif self.behave == "html":
            writer.write(b"HTTP/1.1 502 Bad\r\nContent-Length: 6\r\n\r\n<html>")
        else:
            self.bodies.append(json.loads(body))
            await self._stream(self.bodies[-1], writer)
        await writer.drain()

    async def _stream(self, asked: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        if self.behave == "silent":
            await self.gate.wait()
        prompt = asked.get("prompt", [])
        count = asked.get("max_tokens", 3) if "prompt" in asked else len(self.text.split(" "))
        writer.write(usage_line(len(prompt), len(prompt) // 2, 0))
        for n in range(count):
            writer.write(tokens_line(0, [500 + n]) + event(self._data(asked, n), EventId("e", (n + 1,), (False,))))
            if self.behave in ("lost", "cut") and n == 0:
                writer.write(
                    event(json.dumps(ReplicaLost("it died").envelope()).encode()) if self.behave == "lost" else b""
                )
                writer.close()
                return
        writer.write(usage_line(len(prompt), len(prompt) // 2, count))
        writer.write(event(b'{"choices":[]}', EventId("e", (count,), (True,))) + DONE)
        await writer.drain()
        writer.close()

    def _data(self, asked: dict[str, Any], n: int) -> bytes:
        if "prompt" in asked:
            return json.dumps({"choices": [{"index": 0, "text": "x"}]}).encode()
        words = self.text.split(" ")
        piece = words[n] + (" " if n + 1 < len(words) else "")
        choice = {"index": 0, "delta": {"content": piece}, "finish_reason": "stop" if n + 1 == len(words) else None}
        return json.dumps({"id": "chatcmpl-1", "model": asked["model"], "choices": [choice]}).encode()


async def _head(reader: asyncio.StreamReader) -> dict[str, str]:
    line = await reader.readline()
    if not line:
        return {}
    head = {"path": line.decode().split(" ")[1]}
    while (line := (await reader.readline()).strip()) != b"":
        name, _, value = line.decode().partition(":")
        head[name.lower()] = value.strip()
    return head


def _json(status: int, body: object) -> bytes:
    data = json.dumps(body).encode()
    return b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
        status,
        len(data),
        data,
    )


@asynccontextmanager
async def serving() -> AsyncIterator[Server]:
    server = Server()
    listening = await asyncio.start_server(server.connection, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    async with listening:
        yield server
        server.gate.set()
