"""What the gateway refuses, and that each refusal is typed and ends where it should."""

from __future__ import annotations

import socket

import pytest
from gateway_house import KEY, House, post_bytes, until

from colonnade.gateway.plane import Limits
from colonnade.wire.errors import BadSetting
from colonnade.wire.settings import GatewaySettings, HttpSettings

POST = "POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\n" + f"Authorization: Bearer {KEY}\r\n"


@pytest.mark.parametrize(
    "attack",
    [
        POST + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        POST + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        POST + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        POST + "Content-Length: 5, 5\r\n\r\nhello",
        POST + "Content-Length: +5\r\n\r\nhello",
        POST + "Content-Length: 0x5\r\n\r\nhello",
        POST + "Content-Length: -5\r\n\r\nhello",
        POST + "Content-Length: 99999999999999999999999\r\n\r\nhello",
        POST + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        POST + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        POST + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        POST + "Transfer-Encoding: chunked\r\n\r\n5;\r\nhello\r\n-1\r\n\r\n",
        POST + "Transfer-Encoding: chunked\r\n\r\nZ\r\n\r\n",
        POST + "X: a\r\n folded\r\nContent-Length: 0\r\n\r\n",
        POST + "X: a\nContent-Length: 0\r\n\r\n",
        POST + "X: a\0b\r\nContent-Length: 0\r\n\r\n",
        POST + "Host: other\r\nContent-Length: 0\r\n\r\n",
        "POST /v1/chat/completions HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
        "POST /v1/chat/completions HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /v1/chat/completions HTTP/2.0\r\nHost: g\r\n\r\n",
        "GET /live HTTP/1.1\r\nHost: g\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        "CONNECT g:80 HTTP/1.1\r\nHost: g\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        "no such thing\r\n\r\n",
    ],
)
async def test_ambiguous_framing_is_refused_and_ends_the_connection(house: House, attack: str) -> None:
    worker = await house.worker()
    gateway = await house.gateway(worker)
    client = await house.client(gateway)
    client.write(attack.encode("latin-1") + post_bytes())
    reply = await client.reply()
    assert (reply.status, reply.code) == (400, "bad_http")
    assert reply.headers["colonnade-request-id"]
    assert reply.headers["connection"] == "close"
    assert await client.ended()
    assert not worker.requests


async def test_a_refusal_waits_for_the_answer_before_it(house: House) -> None:
    gateway = await house.gateway(await house.worker())
    client = await house.client(gateway)
    client.write(post_bytes() + b"nonsense\r\n\r\n")
    assert (await client.reply()).status == 200
    assert (await client.reply()).code == "bad_http"
    assert await client.ended()


async def test_a_head_that_is_too_large(house: House) -> None:
    gateway = await house.gateway(await house.worker(), limits=Limits(head=2000, tick=0.02))
    for pause in (False, True):
        client = await house.client(gateway)
        client.write(b"GET /live HTTP/1.1\r\nHost: g\r\nX-Long: " + b"x" * 3000)
        client.write(b"" if pause else b"\r\n\r\n")
        assert (await client.reply()).code == "head_too_large"
        assert await client.ended()
    client = await house.client(gateway)
    client.post(text="x" * 5000)
    assert (await client.reply()).status == 200, "a body is not a head"


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_that_is_too_large(house: House, chunked: bool) -> None:
    worker = await house.worker()
    gateway = await house.gateway(worker, http=HttpSettings(body_limit=1000))
    client = await house.client(gateway)
    data = b"x" * 100_000
    if chunked:
        client.write(
            f"{POST}Transfer-Encoding: chunked\r\n\r\n".encode() + b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data)
        )
    else:
        client.post(body=data)
    reply = await client.reply()
    assert (reply.status, reply.code) == (413, "body_too_large")
    assert "--body-limit" in reply.json()["error"]["hint"]
    assert await client.ended()
    assert not worker.requests


@pytest.mark.parametrize("begun", ["", "POST /v1/chat", POST, POST + "Content-Length: 9\r\n\r\n{"])
async def test_a_slow_request_is_ended(house: House, begun: str) -> None:
    gateway = await house.gateway(await house.worker(), http=HttpSettings(request_timeout=0.1))
    client = await house.client(gateway)
    client.write(begun.encode())
    if begun:
        reply = await client.reply()
        assert (reply.status, reply.code) == (408, "request_timeout")
    assert await client.ended()


async def test_an_idle_connection_is_closed(house: House) -> None:
    gateway = await house.gateway(await house.worker(), http=HttpSettings(idle_timeout=0.1))
    client = await house.client(gateway)
    client.post()
    assert (await client.reply()).status == 200
    assert await client.ended()


async def test_a_refused_client_that_sends_on_is_cut_off(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("colonnade.gateway.client_side.LINGER", 0.1)
    gateway = await house.gateway(await house.worker())
    client = await house.client(gateway)
    client.write(b"nonsense\r\n\r\n")
    assert (await client.reply()).code == "bad_http"
    client.write(b"more")
    await until(lambda: not gateway.plane.clients)


async def test_too_many_requests_sent_ahead(house: House) -> None:
    gateway = await house.gateway(await house.worker(), limits=Limits(pipelined=4, tick=0.02))
    client = await house.client(gateway)
    client.write(post_bytes() * 20)
    replies = [await client.reply() for _ in range(5)]
    assert [reply.status for reply in replies] == [200] * 4 + [400]
    assert replies[-1].code == "too_many_pipelined"


async def test_too_many_connections(house: House) -> None:
    gateway = await house.gateway(await house.worker(), limits=Limits(connections=2, tick=0.02))
    first, second = await house.client(gateway), await house.client(gateway)
    for client in (first, second):
        client.get("/live")
        assert (await client.reply()).status == 200
    third = await house.client(gateway)
    reply = await third.reply()
    assert (reply.status, reply.code) == (503, "overloaded")


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "missing_api_key"),
        ({"Authorization": "Basic eHg="}, "missing_api_key"),
        ({"Authorization": "Bearer wrong"}, "invalid_api_key"),
        ({"X-Api-Key": "wrong"}, "invalid_api_key"),
        ({"X-Api-Key": KEY, "Authorization": "Bearer wrong"}, "invalid_api_key"),
    ],
)
async def test_without_a_key_that_is_known(house: House, headers: dict[str, str], code: str) -> None:
    worker = await house.worker()
    gateway = await house.gateway(worker)
    client = await house.client(gateway)
    client.post(key="", headers=headers)
    reply = await client.reply()
    assert (reply.status, reply.code) == (401, code)
    assert "colonnade keys create" in reply.json()["error"]["hint"]
    client.get("/v1/models", key="")
    assert (await client.reply()).status == 401
    assert not worker.requests
    client.post(key="", headers={"x-api-key": KEY})
    assert (await client.reply()).status == 200, "the connection lives on"


async def test_keys_can_be_off_on_loopback(house: House) -> None:
    worker = await house.worker()
    gateway = await house.gateway(worker, auth=False)
    client = await house.client(gateway)
    client.post(key="")
    assert (await client.reply()).status == 200
    assert "colonnade-tenant" not in worker.requests[0].headers


@pytest.mark.parametrize("more", [{"keys": ()}, {"auth": False}])
async def test_no_keys_and_reachable_is_refused(house: House, more: dict[str, object]) -> None:
    settings = GatewaySettings(host="0.0.0.0", port=0, shutdown_timeout=0.1)
    with pytest.raises(BadSetting) as refused:
        await house.gateway(await house.worker(), settings=settings, **more)
    assert "--host" in refused.value.hint
    with pytest.raises(BadSetting):
        await house.gateway(settings=GatewaySettings(host="0.0.0.0", port=0, auth=False))


async def test_keys_stay_on_where_others_can_reach_us(house: House, caplog: pytest.LogCaptureFixture) -> None:
    worker = await house.worker()
    gateway = await house.gateway(worker, settings=GatewaySettings(host="0.0.0.0", port=0, shutdown_timeout=0.1))
    for _ in range(2):
        house.write(house.routes(worker, auth=False))
        gateway.reload()
    assert len(caplog.records) == 1
    client = await house.client(gateway)
    client.post(key="")
    assert (await client.reply()).status == 401


async def test_an_address_that_is_taken(house: House) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(BadSetting) as refused:
            await house.gateway(settings=GatewaySettings(port=taken.getsockname()[1]))
    assert "--port" in refused.value.hint


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        (b"", None, "invalid_json"),
        (b"[]", None, "invalid_json"),
        (b'{"model": "tiny"', None, "invalid_json"),
        (b'{"model": "\xff"}', None, "invalid_json"),
        (b"{}", "model", "invalid_value"),
        (b'{"model": 5}', "model", "invalid_value"),
        (b'{"model": ""}', "model", "invalid_value"),
        (b'{"model": "x"}', "model", "model_not_found"),
    ],
)
async def test_bodies_that_name_no_model(house: House, body: bytes, param: str | None, code: str) -> None:
    gateway = await house.gateway(await house.worker())
    client = await house.client(gateway)
    client.write(f"{POST}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    error = (await client.reply()).json()["error"]
    assert (error["param"], error["code"], error["retryable"]) == (param, code, False)
    client.post()
    assert (await client.reply()).status == 200


async def test_paths_and_methods(house: House) -> None:
    gateway = await house.gateway(await house.worker())
    client = await house.client(gateway)
    for path, method, status in (
        ("/nowhere", "GET", 404),
        ("/v1/chat/completions", "GET", 405),
        ("/v1/models", "DELETE", 405),
        ("/v1/models/tiny", "PUT", 405),
        ("/v1/models/huge", "GET", 400),
        ("/live", "OPTIONS", 405),
    ):
        client.get(path, method=method)
        reply = await client.reply()
        assert (path, reply.status) == (path, status)
        assert reply.json()["error"]["request_id"] == reply.headers["colonnade-request-id"]
