"""A raw HTTP/1.1 worker for tests and the throughput script: fast, and as badly behaved as it is told to be.

python fake_worker.py [PORT]     a worker that answers every POST with 300 bytes, or a short event stream
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import httptools
import msgspec
import uvloop

from colonnade.wire.stream import DONE, EventId, event, tokens_line, usage_line


class Got:
    """A request that came in."""

    def __init__(self) -> None:
        self.path = ""
        self.headers: dict[str, str] = {}
        self.body = b""

    def json(self) -> Any:
        return msgspec.json.decode(self.body)


Answer = Callable[["Connection", Got], Awaitable[None]]


class Connection(asyncio.Protocol):
    """One connection of the gateway. `worker.answer` is run for each request."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.transport: asyncio.Transport
        self.lost = asyncio.get_running_loop().create_future()
        self.writable = asyncio.Event()
        self.writable.set()
        self.got = Got()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # pyright: ignore[reportAttributeAccessIssue]
        self.parser = httptools.HttpRequestParser(self)
        self.worker.connections.add(self)
        self.worker.accepted += 1
        if self.worker.killed:  # it was on its way in
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_begin(self) -> None:
        self.got = Got()

    def on_url(self, url: bytes) -> None:
        self.got.path += url.decode()

    def on_header(self, name: bytes, value: bytes) -> None:
        self.got.headers[name.decode().lower()] = value.decode()

    def on_body(self, body: bytes) -> None:
        self.got.body += body

    def on_message_complete(self) -> None:
        worker = self.worker
        if worker.fixed is not None:
            self.transport.write(worker.fixed)
            return
        worker.requests.append(self.got)
        task = asyncio.get_running_loop().create_task(worker.answer(self, self.got))
        worker.tasks.add(task)
        task.add_done_callback(worker.tasks.discard)

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.worker.connections.discard(self)
        self.writable.set()
        if not self.lost.done():
            self.lost.set_result(None)

    def write(self, data: bytes) -> None:
        self.transport.write(data)

    async def send(self, data: bytes) -> bool:
        """Write at the reader's pace. False when it is gone."""
        await self.writable.wait()
        if self.lost.done():
            return False
        self.transport.write(data)
        return True


class Worker:
    """`answer` decides what a request gets; by default what its body asks for, in the contract's form."""

    def __init__(self, answer: Answer | None = None, *, epoch: str = "w0", model: str = "tiny") -> None:
        self.answer: Answer = answer or by_contract
        self.fixed: bytes | None = None
        self.epoch = epoch
        self.model = model
        self.requests: list[Got] = []
        self.connections: set[Connection] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.accepted = 0
        self.killed = False
        self._server: asyncio.Server | None = None

    async def start(self, port: int = 0) -> Worker:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self), "127.0.0.1", port, backlog=4096)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    def kill(self) -> None:
        """As a process that dies: no more listening, every connection gone."""
        self.killed = True
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in list(self.connections):
            connection.transport.abort()

    async def stop(self) -> None:
        self.kill()
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


def response(body: bytes, status: str = "200 OK", content_type: str = "application/json", more: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body


STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n"
    b"Colonnade-Epoch: w0\r\n\r\n"
)


def chunked(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def contract_events(request_id: str, created: int, epoch: str, words: list[str]) -> list[bytes]:
    """A chat stream's blocks, `[DONE]` included."""
    base = {"id": f"chatcmpl-{request_id}", "object": "chat.completion.chunk", "created": created, "model": "tiny"}
    blocks: list[bytes] = []
    for number, word in enumerate(words, 1):
        delta = {"index": 0, "delta": {"role": "assistant", "content": word}, "finish_reason": None}
        data = msgspec.json.encode({**base, "choices": [delta]})
        usage = usage_line(3, 0, number) if number == 1 else b""
        blocks.append(tokens_line(0, [number]) + usage + event(data, EventId(epoch, (number,), (False,))))
    last = {"index": 0, "delta": {}, "finish_reason": "stop"}
    data = msgspec.json.encode({**base, "choices": [last]})
    blocks.append(usage_line(3, 0, len(words)) + event(data, EventId(epoch, (len(words),), (True,))))
    return [*blocks, DONE]


async def by_contract(connection: Connection, got: Got) -> None:
    """Six words as a stream, or as one answer."""
    headers = got.headers
    worker = connection.worker
    if got.path == "/v1/models":
        card = {"id": worker.model, "object": "model", "created": 1, "owned_by": "colonnade", "max_context": 99}
        connection.write(response(msgspec.json.encode({"object": "list", "data": [card]})))
        return
    words = ["one ", "two ", "three ", "four ", "five ", "six"]
    request_id, created = headers["colonnade-request-id"], int(headers["colonnade-created"])
    if got.json().get("stream"):
        connection.write(STREAM_HEAD)
        for block in contract_events(request_id, created, worker.epoch, words):
            if not await connection.send(chunked(block)):
                return
        connection.write(b"0\r\n\r\n")
        return
    choice = {"index": 0, "message": {"role": "assistant", "content": "".join(words)}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 3, "completion_tokens": 6, "total_tokens": 9}
    body = {"id": f"chatcmpl-{request_id}", "object": "chat.completion", "created": created, "model": "tiny"}
    connection.write(response(msgspec.json.encode({**body, "choices": [choice], "usage": usage})))


async def _main() -> None:
    worker = await Worker().start(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
    worker.fixed = response(b'{"id":"x","object":"chat.completion","pad":"' + b"x" * 254 + b'"}')
    sys.stdout.write(worker.url + "\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_main())
