"""The websocket method, over ASGI: what any server of websockets hands to the application."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest
from package_process import FOLDERS

from colonnade.packages.folder import open_package
from colonnade.packages.loading import construct
from colonnade.replica.package.app import PackageApp
from colonnade.replica.package.face import PackageFace
from colonnade.wire.settings import HttpSettings, ReplicaSettings

Message = MutableMapping[str, Any]


async def talk(name: str, *texts: str) -> list[Message]:
    """What the application sends to a client that says `texts`."""
    face = PackageFace(open_package(FOLDERS / name), name, "e1", HttpSettings(), ReplicaSettings())
    model, contract = construct(face.package)
    face.model = model
    face._loaded(contract)
    said: list[Message] = [{"type": "websocket.connect"}, *({"type": "websocket.receive", "text": t} for t in texts)]
    incoming = iter([*said, {"type": "websocket.disconnect", "code": 1000}])
    sent: list[Message] = []

    async def receive() -> Message:
        await asyncio.sleep(0)
        return next(incoming)

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": "/v1/websocket", "headers": [], "query_string": b"", "subprotocols": []}
    try:
        await PackageApp(face)(scope, receive, send)
    finally:
        await face.stop()
    return sent


@pytest.mark.parametrize(
    ("name", "texts", "said", "code"),
    [
        ("talks", ("hello", "stop"), ["HELLO"], 1000),
        ("talks", ("a", "fail"), ["A"], 1011),
        ("talks", ("a",), ["A"], None),
        ("typed", ("a",), [], 1003),
    ],
)
async def test_websocket(name: str, texts: tuple[str, ...], said: list[str], code: int | None) -> None:
    sent = await talk(name, *texts)
    assert sent[0]["type"] == "websocket.accept"
    assert [message["text"] for message in sent if message["type"] == "websocket.send"] == said
    assert [message["code"] for message in sent if message["type"] == "websocket.close"] == ([code] if code else [])
