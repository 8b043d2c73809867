"""The HTTP face, spoken to as an ASGI server does: JSON in, JSON or a stream out, one envelope for errors."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from chain_rig import Rig, rig, until

from colonnade.chains.face import Face


@pytest.fixture
async def shop() -> AsyncIterator[Rig]:
    async with rig("inline") as made:
        yield made


class Reply:
    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.whole = False

    async def send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            assert not self.whole
            self.body += message["body"]
            self.whole = not message.get("more_body")

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.body.splitlines()]


async def ask(
    shop: Rig, step: str, body: Any = None, path: str = "/run_remote", method: str = "POST", query: str = "",
    accept: str = "", leave: asyncio.Event | None = None, keep: Any = None,
) -> Reply:  # fmt: skip
    """`leave` is when the client goes; `keep` takes the traces."""
    reply = Reply()
    data = json.dumps(body).encode() if body is not None else b""
    parts = [data[:5], data[5:]]
    scope = {"path": path, "method": method, "query_string": query.encode(), "headers": [(b"accept", accept.encode())]}

    async def receive() -> dict[str, Any]:
        if parts:
            return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}
        await (leave or asyncio.Event()).wait()
        return {"type": "http.disconnect"}

    await Face(shop.client(step), lambda: {"entry": step}, keep)(scope, receive, reply.send)
    return reply


async def test_json_in_json_out(shop: Rig) -> None:
    reply = await ask(shop, "Shop", {"what": ["a"]})
    assert (reply.status, reply.json, reply.whole) == (200, ["a", "end"], True)
    assert reply.headers["colonnade-request-id"].startswith("req_")
    basket = {"items": [{"name": "x"}], "weights": [1, 2.5], "note": "n"}
    reply = await ask(shop, "Pack", {"basket": basket, "label": base64.b64encode(b"n").decode()})
    assert reply.json == {"n0": {"items": [{"name": "x", "price": 1.0}], "weights": [1.0, 2.5], "note": "n"}}
    assert (await ask(shop, "Shop", path="/", method="GET")).json == {"entry": "Shop"}


@pytest.mark.parametrize(
    ("step", "body", "rest", "status", "code"),
    [
        ("Shop", {"what": ["missing"]}, {}, 404, "no_such_thing"),
        ("Shop", {"what": ["value"]}, {}, 500, "step_failed"),
        ("Shop", {"what": ["sleep"]}, {"query": "timeout=0.1"}, 504, "deadline_exceeded"),
        ("Shop", {"what": 3}, {}, 400, "invalid_json"),
        ("Shop", [3], {}, 400, "invalid_json"),
        ("Shop", {"what": [], "more": 1}, {}, 400, "invalid_json"),
        ("Blobs", {"data": "no base64!"}, {}, 400, "invalid_json"),
        ("Blobs", {"data": 3}, {}, 400, "invalid_json"),
        ("Shop", {"what": ["a"]}, {"query": "timeout=soon"}, 400, "invalid_value"),
        ("Shop", {"what": ["a"]}, {"path": "/other"}, 404, "not_found"),
        ("Shop", None, {"method": "GET"}, 405, "method_not_allowed"),
        ("Sum", {"start": 3}, {}, 400, "invalid_value"),
        ("Letters", {"word": "x", "times": 3, "fail": 0}, {}, 500, "step_failed"),
    ],
)
async def test_errors_have_the_one_envelope(
    shop: Rig, step: str, body: Any, rest: dict[str, Any], status: int, code: str
) -> None:
    reply = await ask(shop, step, body, **rest)
    assert (reply.status, reply.json["error"]["code"]) == (status, code)
    assert reply.json["error"]["request_id"] == reply.headers["colonnade-request-id"]


async def test_a_trace_and_the_stack_of_an_error(shop: Rig) -> None:
    reply = await ask(shop, "Shop", {"what": ["a"]}, query="trace=1")
    assert reply.json["answer"] == ["a", "end"]
    assert reply.json["trace"]["inner"][0]["step"] == "Middle"
    assert reply.json["waterfall"].startswith("Shop ")
    error = (await ask(shop, "Shop", {"what": ["value"]}, query="trace=1")).json["error"]
    assert (error["kind"], error["steps"]) == ("ValueError", ["Tail", "Middle", "Shop"])
    assert error["stack"].endswith("ValueError: bad value")


async def test_streams_say_how_they_ended(shop: Rig) -> None:
    reply = await ask(shop, "Letters", {"word": "€", "times": 2})
    assert reply.headers["content-type"] == "application/x-ndjson"
    assert reply.lines == [{"item": "€"}, {"item": "€"}, {"end": {}}]
    reply = await ask(shop, "Letters", {"word": "€", "times": 3, "fail": 1})
    assert (reply.status, reply.whole) == (200, True)
    assert [list(line) for line in reply.lines] == [["item"], ["error"]]
    reply = await ask(shop, "Letters", {"word": "€", "times": 1}, accept="text/event-stream", query="trace=1")
    first, last, rest = reply.body.decode().split("\n\n")
    assert (first, rest) == ('data: "€"', "")
    assert last.startswith('event: end\ndata: {"request_id":')
    assert (await ask(shop, "Letters", {"word": "", "times": 0})).lines == [{"end": {}}]


async def test_a_client_that_goes_cancels(shop: Rig) -> None:
    leave = asyncio.Event()
    task = asyncio.create_task(ask(shop, "Shop", {"what": ["sleep"]}, leave=leave))
    await until(lambda: shop.module.SEEN.get("asleep") == 1, "it runs")
    leave.set()
    assert (await task).status == 0
    assert shop.module.SEEN["woken"] == 1
