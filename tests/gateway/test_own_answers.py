"""What the gateway answers itself: health, metrics, models."""

from __future__ import annotations

import pytest
from fake_worker import Connection, Got, response
from gateway_house import House, until
from prometheus_client.parser import text_string_to_metric_families

from colonnade.gateway.endpoints import RELAYED, ROUTES, named_in
from colonnade.gateway.fetch import FetchFailed, get
from colonnade.gateway.plane import Limits
from colonnade.wire.errors import BadSetting
from colonnade.wire.settings import GatewaySettings


async def test_live_and_ready(house: House) -> None:
    gateway = await house.gateway(await house.worker())
    client = await house.client(gateway)
    for path in ("/live", "/ready"):
        client.get(path, key="")
        reply = await client.reply()
        assert reply.status == 200
        assert reply.headers["colonnade-request-id"]
        client.get(path, key="", method="HEAD")
        assert (await client.reply(bodiless=True)).headers["content-length"] == str(len(reply.body))


@pytest.mark.parametrize(
    ("more", "reason"),
    [({}, "no replica is ready"), ({"keys": ()}, "no API keys yet"), ({"auth": False}, "no replica")],
)
async def test_not_ready_says_why(house: House, more: dict[str, object], reason: str) -> None:
    gateway = await house.gateway(**more)
    client = await house.client(gateway)
    client.get("/ready", key="")
    reply = await client.reply()
    assert (reply.status, reply.code) == (503, "not_ready")
    assert reason in reply.json()["error"]["message"]
    client.get("/live", key="")
    assert (await client.reply()).status == 200
    client.get("/ready", key="", method="HEAD")
    assert (await client.reply(bodiless=True)).status == 503


async def test_a_gateway_that_leaves_or_knows_nothing_is_not_ready(house: House) -> None:
    gateway = await house.gateway(await house.worker())
    plane = gateway.plane
    assert plane.reason_not_ready() == ""
    plane.draining = True
    assert plane.reason_not_ready() == "draining"
    plane.draining = False
    plane.keys = type(plane.keys)()
    assert "no routes" in plane.reason_not_ready()


async def test_metrics(house: House) -> None:
    gateway = await house.gateway(await house.worker(), models=("tiny", "later"))
    for fields in (
        {},
        {"stream": True},
        {"key": "wrong"},
        {"body": {"model": "later"}},
        {"body": {"model": "made-up"}},
    ):
        await house.ask(gateway, **fields)
    client = await house.client(gateway)
    client.get("/metrics", key="")
    reply = await client.reply()
    assert reply.headers["content-type"].startswith("text/plain; version=")
    families = {family.name: family for family in text_string_to_metric_families(reply.body.decode())}
    counted = {tuple(s.labels.values()): s.value for s in families["colonnade_gateway_requests"].samples}
    assert counted == {("tiny", "200"): 2, ("", "401"): 1, ("", "503"): 1, ("", "400"): 1}
    refused = {s.labels["code"]: s.value for s in families["colonnade_gateway_refused"].samples}
    assert refused == {"invalid_api_key": 1, "no_replica": 1, "model_not_found": 1}
    assert families["colonnade_gateway_ready"].samples[0].value == 1
    whole = families["colonnade_gateway_duration_seconds"].samples
    assert next(s.value for s in whole if s.name.endswith("_count")) == 2


async def test_metrics_are_for_this_machine(house: House) -> None:
    gateway = await house.gateway(await house.worker())
    client = await house.client(gateway)
    client.get("/metrics", headers="X-Forwarded-For: 10.0.0.1\r\n")
    assert (await client.reply()).status == 404
    (side,) = gateway.plane.clients
    for peer in ("10.0.0.1", ""):
        side.peer = peer  # pyright: ignore[reportAttributeAccessIssue]
        client.get("/metrics")
        assert (await client.reply()).status == 404


async def test_models_are_what_the_replicas_say(house: House) -> None:
    async def broken(connection: Connection, got: Got) -> None:
        connection.write(response(b"{", "200 OK"))

    async def refusing(connection: Connection, got: Got) -> None:
        connection.write(response(b"{}", "500 Oh"))

    tiny, silent, odd = await house.worker(), await house.worker(broken, "b"), await house.worker(refusing, "c")
    gateway = await house.gateway(tiny, silent, odd, models=("tiny", "later"))
    client = await house.client(gateway)
    for _ in range(2):
        client.get("/v1/models")
        models = {model["id"]: model for model in (await client.reply()).json()["data"]}
        assert models["tiny"]["max_context"] == 99
        assert {name: model.get("ready") for name, model in models.items()} == {
            "tiny": None,
            "later": False,
            "b": True,
            "c": True,
        }
    assert len(tiny.requests) == 1, "a replica says the same all its life"
    client.get("/v1/models/tiny")
    assert (await client.reply()).json()["id"] == "tiny"


async def test_a_client_that_leaves_while_models_are_asked(house: House) -> None:
    async def wait(connection: Connection, got: Got) -> None:
        await connection.lost

    worker = await house.worker(wait)
    gateway = await house.gateway(worker)
    client = await house.client(gateway)
    client.get("/v1/models")
    await until(lambda: worker.requests)
    client.leave()
    await until(lambda: not worker.connections)


async def test_a_gateway_that_leaves_while_models_are_asked(house: House) -> None:
    async def wait(connection: Connection, got: Got) -> None:
        await connection.lost

    worker = await house.worker(wait)
    gateway = await house.gateway(worker)
    client = await house.client(gateway)
    client.get("/v1/models")
    await until(lambda: worker.requests)
    await gateway.stop()
    house.gateways.clear()
    assert (await client.reply()).code == "draining"


async def test_fetching(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async def answer(connection: Connection, got: Got) -> None:
        if got.path == "/silent":
            return
        if got.path == "/broken":
            connection.transport.abort()
        connection.write(response(got.path.encode() + got.headers.get("authorization", "").encode()))

    worker = await house.worker(answer)
    assert await get(f"{worker.url}/a?b=1", 5, "tok") == (200, b"/a?b=1Bearer tok")
    for path, why in (("/silent", "no answer within"), ("/broken", "closed")):
        with pytest.raises(FetchFailed, match=why):
            await get(worker.url + path, 0.1)
    with pytest.raises(BadSetting):
        await get(worker.url, 1, "a\r\nb")
    monkeypatch.setattr("colonnade.gateway.fetch.LIMIT", 3)
    with pytest.raises(FetchFailed, match="larger"):
        await get(worker.url + "/long", 5)
    worker.kill()
    with pytest.raises(FetchFailed):
        await get(worker.url, 5)


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        (b"POST", b"/v1/models/m:predict", "m"),
        (b"POST", b"/v1/models/m:predict_binary", "m"),
        (b"GET", b"/v1/models/m.1-b/loaded", "m.1-b"),
        (b"GET", b"/v1/models/m/schema", "m"),
        (b"GET", b"/v1/models/m:predict", None),
        (b"POST", b"/v1/models/m/loaded", None),
        (b"GET", b"/v1/models/m", None),
        (b"POST", b"/v1/models/:predict", None),
        (b"POST", b"/v1/models/a/b:predict", None),
        (b"POST", b"/v1/chat/completions", None),
    ],
)
def test_packages_are_named_by_the_path(method: bytes, path: bytes, name: str | None) -> None:
    assert named_in(method, path) == name


def test_the_table_of_endpoints() -> None:
    assert {(b"POST", b"/v1/chat/completions"), (b"POST", b"/v1/completions")} < RELAYED
    assert {method for method, _ in RELAYED} == {b"POST"}
    assert len({path for _, path, _ in ROUTES}) == len(ROUTES)


async def test_an_access_log_line_says_nothing_of_what_was_said(house: House) -> None:
    gateway = await house.gateway(await house.worker(), limits=Limits(tick=0.02), settings=GatewaySettings(port=0))
    lines = []
    gateway.plane.access = lines.append
    await house.ask(gateway, headers={"Colonnade-Request-Id": "r1"}, secret="words")
    (line,) = lines
    assert (line.request_id, line.model, line.tenant, line.replica, line.status) == (
        "r1",
        "tiny",
        "acme",
        "tiny-w0",
        200,
    )
    assert "words" not in repr(line)
