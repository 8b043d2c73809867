"""A head that is nearly the last one is read without the parser, and never otherwise than the parser would."""

from __future__ import annotations

import pytest
from gateway_house import House, post_bytes
from hypothesis import given
from hypothesis import strategies as st

from colonnade.gateway.http1 import Head, read_head
from colonnade.gateway.repeat import Repeat, learn
from colonnade.wire.settings import HttpSettings

KEPT = b"POST /v1/x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nX-A: 1\r\n\r\n"


def head_of(*fields: tuple[bytes, bytes], version: str = "1.1") -> Head:
    return read_head(b"POST", b"/v1/x", version, ((b"Host", b"a"), *fields))


def learnt(data: bytes = KEPT + b"hello", body: bytes = b"hello") -> Repeat | None:
    return learn(data, head_of((b"Content-Length", b"5")), body, True)


@given(st.binary(max_size=40))
def test_another_length_and_another_body(body: bytes) -> None:
    known = learnt()
    assert known is not None
    assert known.body(KEPT.replace(b"5", b"%d" % len(body), 1) + body) == body


@pytest.mark.parametrize(
    "data",
    [
        b"",
        KEPT,
        KEPT + b"hell",
        KEPT + b"hello!",
        KEPT + b"helloPOST",
        KEPT.replace(b" 5", b" +5") + b"hello",
        KEPT.replace(b" 5", b" ") + b"",
        KEPT.replace(b" 5", b" 0000000005") + b"hello",
        KEPT.replace(b"X-A: 1", b"X-A: 2") + b"hello",
        KEPT.replace(b"X-A: 1", b"Content-Length: 5") + b"hello",
        KEPT.replace(b"Host: a", b"Host: b") + b"hello",
        KEPT.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n") + b"hello",
    ],
)
def test_anything_else_is_for_the_parser(data: bytes) -> None:
    known = learnt()
    assert known is not None
    assert known.body(data) is None


@pytest.mark.parametrize(
    ("data", "head"),
    [
        (b"\r\n" + KEPT + b"hello", head_of((b"Content-Length", b"5"))),
        (b"POST\r\n\r\n" + KEPT + b"hello", head_of((b"Content-Length", b"5"))),
        (KEPT + b"hello", head_of((b"Transfer-Encoding", b"chunked"))),
        (KEPT + b"hello", head_of((b"Content-Length", b"5"), (b"Expect", b"100-continue"))),
        (KEPT + b"hello", head_of((b"Content-Length", b"5"), version="1.0")),
        (KEPT.replace(b"Content-Length", b"Content-Size") + b"hello", head_of((b"Content-Length", b"5"))),
        (KEPT.replace(b": 5", b": 6") + b"hello", head_of((b"Content-Length", b"5"))),
        (KEPT.replace(b"X-A: 1", b"Content-Length: 5") + b"hello", head_of((b"Content-Length", b"5"))),
        (KEPT[:-2] + b"hello", head_of((b"Content-Length", b"5"))),
    ],
)
def test_what_is_not_learnt(data: bytes, head: Head) -> None:
    assert learn(data, head, b"hello", True) is None


async def test_requests_of_all_lengths_on_one_connection(house: House) -> None:
    """Whole, in two pieces, two at once, with another head between: each body arrives as it was."""
    worker = await house.worker()
    client = await house.client(await house.gateway(worker))
    sent: list[bytes] = []
    for number in range(12):
        body = b'{"model":"tiny","pad":"%b"}' % (b"x" * number * 37)
        data = post_bytes(body=body, headers={"User-Agent": "b"} if number == 7 else None)
        if number % 3 == 2:
            client.write(data[: len(data) - 5])
            await house.ask(house.gateways[0])
            client.write(data[len(data) - 5 :])
        else:
            client.write(data)
        assert (await client.reply()).status == 200
        sent.append(body)
    client.write(post_bytes(body=sent[0]) + post_bytes(body=sent[1]))
    assert [(await client.reply()).status for _ in range(2)] == [200, 200]
    got = [request.body for request in worker.requests if b"pad" in request.body]
    assert got == [*sent, *sent[:2]]


async def test_a_body_over_the_limit_is_refused_on_a_known_head(house: House) -> None:
    gateway = await house.gateway(await house.worker(), http=HttpSettings(body_limit=100))
    client = await house.client(gateway)
    client.post(body=b'{"model":"tiny"}')
    assert (await client.reply()).status == 200
    client.post(body=b'{"model":"tiny","pad":"%b"}' % (b"x" * 200))
    assert (await client.reply()).status == 413
