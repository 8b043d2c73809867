"""The control plane over HTTP: the token, the envelope, and every endpoint."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from colonnade.fleet.api import BODY_LIMIT, ROUTES, application
from colonnade.fleet.control import ControlPlane
from colonnade.fleet.run import listen, server_of
from colonnade.fleet.sqlite import SqliteStore
from colonnade.wire.routes import Desired, Observed, ReplicaStatus, Routes

TOKEN = "the-admin-token"
READY = ReplicaStatus("tiny-0", "tiny", "e1", "ready", url="http://x")


@dataclass
class Answer:
    status_code: int
    content: bytes

    @property
    def text(self) -> str:
        return self.content.decode()

    def json(self) -> Any:
        return msgspec.json.decode(self.content)


@dataclass
class Client:
    session: aiohttp.ClientSession
    url: str

    async def request(self, method: str, path: str, **more: Any) -> Answer:
        async with self.session.request(method, self.url + path, **more) as response:
            return Answer(response.status, await response.read())

    async def get(self, path: str) -> Answer:
        return await self.request("GET", path)

    async def delete(self, path: str) -> Answer:
        return await self.request("DELETE", path)

    async def put(self, path: str, **more: Any) -> Answer:
        return await self.request("PUT", path, **more)

    async def patch(self, path: str, **more: Any) -> Answer:
        return await self.request("PATCH", path, **more)

    async def post(self, path: str, **more: Any) -> Answer:
        return await self.request("POST", path, **more)


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    store = await SqliteStore.open(tmp_path / "state.db")
    server = server_of(application(await ControlPlane.open(store), TOKEN))
    listener = listen(0, fallback=False)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    headers = {"authorization": f"Bearer {TOKEN}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        yield Client(session, f"http://127.0.0.1:{listener.getsockname()[1]}")
    server.should_exit = True
    await serving
    await store.close()


def error_of(response: Answer) -> dict[str, Any]:
    error = response.json()["error"]
    assert {"message", "type", "param", "code", "retryable", "hint", "request_id"} <= set(error)
    return error


async def test_all_but_live_and_ready_ask_for_the_token(client: Client) -> None:
    for method, path, summary in ROUTES:
        assert summary
        for authorization in ("", "Bearer wrong", f"Basic {TOKEN}"):
            response = await client.request(method, path, headers={"authorization": authorization})
            assert response.status_code == (200 if path in {"/live", "/ready"} else 401)


async def test_deployments(client: Client) -> None:
    assert (await client.get("/v1/deployments")).json() == {"data": []}
    made = await client.put("/v1/deployments/tiny", json={"model": "m", "replicas": 2, "settings": {"threads": "2"}})
    assert made.json() == {"name": "tiny", "model": "m", "replicas": 2, "settings": {"threads": "2"}}
    assert (await client.get("/v1/deployments/tiny")).json() == made.json()
    conflict = await client.put("/v1/deployments/tiny", json={"model": "m", "generation": 7})
    assert (conflict.status_code, error_of(conflict)["code"]) == (409, "generation_conflict")
    assert (await client.delete("/v1/deployments/tiny")).json() == {"removed": "tiny"}
    missing = await client.get("/v1/deployments/tiny")
    assert (missing.status_code, error_of(missing)["code"]) == (404, "no_such_deployment")


@pytest.mark.parametrize("body", [b"{", b'{"model": 1}', b'{"model": "m", "replica": 2}', b"[]"])
async def test_bodies_that_do_not_hold_are_refused(client: Client, body: bytes) -> None:
    response = await client.put("/v1/deployments/tiny", data=body)
    assert response.status_code == 400
    assert error_of(response)["message"].startswith("the body does not hold")


async def test_a_body_without_end_is_cut_off(client: Client) -> None:
    response = await client.put("/v1/deployments/tiny", data=io.BytesIO(b"x" * (BODY_LIMIT + 1)))
    assert (response.status_code, error_of(response)["code"]) == (413, "body_too_large")


async def test_an_agents_report_becomes_replicas_and_routes(client: Client) -> None:
    await client.put("/v1/deployments/tiny", json={"model": "m"})
    observed = msgspec.json.encode(Observed("local", -1, (READY,), "a1", 1))
    response = await client.post("/v1/clusters/local/sync", data=observed)
    desired = msgspec.json.decode(response.content, type=Desired)
    assert [each.name for each in desired.deployments] == ["tiny"]
    (replica,) = (await client.get("/v1/replicas")).json()["data"]
    assert (replica["id"], replica["cluster"], replica["state"]) == ("tiny-0", "local", "ready")
    response = await client.get("/v1/routes?since=-1")
    routes = msgspec.json.decode(response.content, type=Routes)
    assert [route.url for route in routes.routes] == ["http://x"]
    same = await client.get(f"/v1/routes?since={routes.revision}&wait=0")
    assert same.content == response.content
    wrong = await client.post("/v1/clusters/east/sync", data=observed)
    assert error_of(wrong)["param"] == "cluster"
    assert [each["name"] for each in (await client.get("/v1/clusters")).json()["data"]] == ["local"]
    assert (await client.delete("/v1/clusters/local")).json() == {"forgotten": "local"}


async def test_a_key_is_shown_once(client: Client) -> None:
    made = (await client.post("/v1/keys", json={"name": "crm"})).json()
    assert made["key"].startswith("cln_")
    listed = (await client.get("/v1/keys")).text
    assert "crm" in listed
    assert made["key"] not in listed
    limited = (await client.patch("/v1/keys/crm", json={"tokens_per_minute": 5})).json()
    assert (limited["requests_per_minute"], limited["tokens_per_minute"], limited["weight"]) == (None, 5, 1.0)
    assert (await client.patch("/v1/keys/crm", json={"tokens": 5})).status_code == 400
    assert (await client.delete("/v1/keys/crm")).json() == {"revoked": "crm"}
    events = (await client.get("/v1/events?limit=5000")).json()["data"]
    assert [event["kind"] for event in events] == ["key created", "key limited", "key revoked"]
    assert made["key"] not in str(events)
    later = (await client.get(f"/v1/events?after={events[0]['id']}")).json()["data"]
    assert [event["kind"] for event in later] == ["key limited", "key revoked"]


async def test_what_is_not_there_is_told_in_the_envelope(client: Client) -> None:
    for method, path, status, code in (
        ("GET", "/v2", 404, "not_found"),
        ("PATCH", "/v1/keys", 405, "method_not_allowed"),
        ("GET", "/v1/routes?since=soon", 400, "invalid_value"),
    ):
        response = await client.request(method, path)
        assert (response.status_code, error_of(response)["code"]) == (status, code)


async def test_a_fault_of_ours_is_an_internal_error(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: ControlPlane) -> list[object]:
        raise ZeroDivisionError

    monkeypatch.setattr(ControlPlane, "clusters", broken)
    response = await client.get("/v1/clusters")
    assert (response.status_code, error_of(response)["code"]) == (500, "internal_error")
