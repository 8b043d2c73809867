"""What the gateway's tests share: a house of workers and one gateway, and a client that sees every byte."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import msgspec
from fake_worker import Answer, Worker

from colonnade.gateway.plane import Limits
from colonnade.gateway.server import Gateway, Source
from colonnade.wire.routes import KeyRecord, Route, Routes
from colonnade.wire.settings import GatewaySettings, HttpSettings

KEY = "ck-" + "a" * 43
PEPPER = bytes(32)


def record(key: str = KEY, tenant: str = "acme") -> KeyRecord:
    return KeyRecord("test", hmac.digest(PEPPER, key.encode(), "sha256").hex(), tenant)


async def until(true: Callable[[], Any], seconds: float = 60.0) -> None:
    """Waits for a condition of this event loop; fails when it does not come."""
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0)


class Listening(Protocol):
    url: str


class House:
    """Workers by epoch, and the gateway in front of them."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "routes.json"
        self.workers: list[Worker] = []
        self.gateways: list[Gateway] = []
        self.clients: list[Client] = []
        self.revision = 0

    async def worker(self, answer: Answer | None = None, model: str = "tiny") -> Worker:
        worker = await Worker(answer, epoch=f"w{len(self.workers)}", model=model).start()
        self.workers.append(worker)
        return worker

    def routes(self, *workers: Worker, **more: Any) -> Routes:
        self.revision += 1
        routes = tuple(Route(f"{w.model}-{w.epoch}", w.epoch, w.url, w.model) for w in workers)
        given = {"routes": routes, "keys": (record(),), "pepper": PEPPER.hex(), "models": ("tiny",), **more}
        return Routes(revision=self.revision, **given)

    async def gateway(
        self,
        *workers: Worker,
        limits: Limits | None = None,
        http: HttpSettings | None = None,
        settings: GatewaySettings | None = None,
        **more: Any,
    ) -> Gateway:
        self.write(self.routes(*workers, **more))
        gateway = Gateway(
            Source(file=self.file),
            http or HttpSettings(),
            settings or GatewaySettings(port=0, shutdown_timeout=0.2, hold_timeout=0.0),
            limits=limits or Limits(tick=0.02),
        )
        await gateway.start()
        self.gateways.append(gateway)
        return gateway

    def write(self, routes: Routes) -> None:
        self.file.write_bytes(msgspec.json.encode(routes))

    async def client(self, gateway: Listening) -> Client:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(gateway.url.rpartition(":")[2]))
        client = Client(reader, writer)
        self.clients.append(client)
        return client

    async def ask(self, gateway: Gateway, **fields: Any) -> Reply:
        """One request on a connection of its own."""
        client = await self.client(gateway)
        client.post(**fields)
        return await client.reply()

    async def close(self) -> None:
        for client in self.clients:
            client.writer.transport.abort()
        for gateway in self.gateways:
            await gateway.stop()
        for worker in self.workers:
            await worker.stop()


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes
    whole: bool = True
    """The body ended as its head said it would."""

    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def code(self) -> str:
        return self.json()["error"]["code"]


def post_bytes(
    *,
    path: str = "/v1/chat/completions",
    key: str = KEY,
    body: Any = None,
    headers: dict[str, str] | None = None,
    version: str = "1.1",
    **fields: Any,
) -> bytes:
    content = (
        body if isinstance(body, bytes) else msgspec.json.encode(body or {"model": "tiny", "messages": [], **fields})
    )
    head = {"Host": "gateway", "Content-Type": "application/json", "Content-Length": str(len(content))}
    head |= {"Authorization": f"Bearer {key}"} if key else {}
    lines = "".join(f"{name}: {value}\r\n" for name, value in (head | (headers or {})).items() if value)
    return f"POST {path} HTTP/{version}\r\n{lines}\r\n".encode() + content


class Client:
    """One connection; replies are read by the rules of RFC 9112, by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def write(self, data: bytes) -> None:
        self.writer.write(data)

    def post(self, **fields: Any) -> None:
        self.write(post_bytes(**fields))

    def get(self, path: str, key: str = KEY, method: str = "GET", headers: str = "") -> None:
        bearer = f"Authorization: Bearer {key}\r\n" if key else ""
        self.write(f"{method} {path} HTTP/1.1\r\nHost: gateway\r\n{bearer}{headers}\r\n".encode())

    async def head(self) -> tuple[int, dict[str, str]]:
        async with asyncio.timeout(180):
            raw = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = raw.strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return int(first.split()[1]), headers

    async def chunk(self) -> bytes:
        """One chunk's data; b"" for the last."""
        async with asyncio.timeout(180):
            size = int((await self.reader.readuntil(b"\r\n")).strip(), 16)
            data = await self.reader.readexactly(size + 2)
        return data[:-2]

    async def reply(self, *, bodiless: bool = False) -> Reply:
        status, headers = await self.head()
        if bodiless:
            return Reply(status, headers, b"")
        if headers.get("transfer-encoding") != "chunked":
            async with asyncio.timeout(180):
                if "content-length" not in headers:
                    return Reply(status, headers, await self.reader.read())
                return Reply(status, headers, await self.reader.readexactly(int(headers["content-length"])))
        chunks: list[bytes] = []
        try:
            while data := await self.chunk():
                chunks.append(data)
        except asyncio.IncompleteReadError:
            return Reply(status, headers, b"".join(chunks), whole=False)
        return Reply(status, headers, b"".join(chunks))

    async def ended(self) -> bool:
        """The gateway closed the connection, and sent nothing more before."""
        async with asyncio.timeout(180):
            try:
                return await self.reader.read(1) == b""
            except ConnectionError:
                return True

    def leave(self) -> None:
        self.writer.transport.abort()
