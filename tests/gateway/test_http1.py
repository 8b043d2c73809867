"""Heads: what makes a request's length certain, what goes on, what comes back."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.gateway.http1 import answer, chunk, error_answer, read_head, relayed_head
from colonnade.wire.errors import InvalidRequest, Overloaded, Unauthenticated

HOST = (b"Host", b"g")


def head(*headers: tuple[bytes, bytes], version: str = "1.1"):
    return read_head(b"POST", b"/p?q", version, [HOST, *headers])


lengths = st.sampled_from([b"0", b"5", b"5 ", b"+5", b"5,5", b"", b"x", b"5" * 19])
codings = st.sampled_from([b"chunked", b"Chunked", b"gzip", b"chunked, chunked", b"gzip, chunked", b""])
framing = st.one_of(
    st.tuples(st.sampled_from([b"Content-Length", b"content-length"]), lengths),
    st.tuples(st.sampled_from([b"Transfer-Encoding", b"transfer-encoding"]), codings),
    st.tuples(st.sampled_from([b"Host", b"host", b"X-Other"]), st.just(b"h")),
)


@given(st.lists(framing, max_size=4), st.sampled_from(["1.0", "1.1", "2.0"]))
def test_a_head_has_one_length_or_is_refused(headers: list[tuple[bytes, bytes]], version: str) -> None:
    """Against the rules written down as plainly as can be."""
    sizes = [value for name, value in headers if name.lower() == b"content-length"]
    coded = [value for name, value in headers if name.lower() == b"transfer-encoding"]
    hosts = sum(name.lower() == b"host" for name, _ in headers)
    good = (
        version in ("1.0", "1.1")
        and (hosts == 1 or (hosts == 0 and version == "1.0"))
        and not (sizes and coded)
        and all(value.lower() == b"chunked" for value in coded)
        and len(coded) <= (version == "1.1")
        and len(sizes) <= 1
        and all(value.strip().isdigit() and len(value) < 19 for value in sizes)
    )
    if not good:
        with pytest.raises(InvalidRequest) as refused:
            read_head(b"POST", b"/", version, headers)
        assert refused.value.reason == "bad_http"
        return
    read = read_head(b"POST", b"/", version, headers)
    assert read.length == (None if coded else int(sizes[0]) if sizes else 0)


def test_what_a_head_says() -> None:
    read = head(
        (b"authorization", b"BEARER  abc "),
        (b"X-Api-Key", b"other"),
        (b"Colonnade-Request-Id", b"r1"),
        (b"Last-Event-ID", b"w0/3"),
        (b"Expect", b"100-Continue"),
        (b"X-Forwarded-For", b"10.0.0.1"),
        (b"Cookie", b"no"),
    )
    assert (read.path, read.key, read.request_id, read.last_event_id) == (b"/p", b"abc", b"r1", b"w0/3")
    assert (read.expects, read.proxied, read.old) == (True, True, False)
    assert read.forward == b"Last-Event-ID: w0/3\r\n"
    assert not head((b"Expect", b"something")).expects
    assert head((b"Forwarded", b"for=1")).proxied
    assert head((b"x-api-key", b"k"), (b"Authorization", b"Basic eA==")).key == b"k"


def test_what_goes_back() -> None:
    sent = [
        (b"Content-Type", b"TEXT/event-stream; charset=utf-8"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Connection", b"keep-alive, X-Hop"),
        (b"X-Hop", b"1"),
        (b"Keep-Alive", b"timeout=5"),
        (b"Colonnade-Request-Id", b"theirs"),
        (b"Colonnade-Epoch", b"w0"),
    ]
    back = relayed_head(200, sent, b"r1", old=False, close=False)
    assert back.head == (
        b"HTTP/1.1 200 OK\r\nContent-Type: TEXT/event-stream; charset=utf-8\r\nColonnade-Epoch: w0\r\n"
        b"Colonnade-Request-Id: r1\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    assert (back.chunked, back.events, back.close) == (True, True, False)
    sized = [(b"content-length", b"9"), *sent[:1]]
    assert b"Length" not in relayed_head(200, sized, b"r1", old=False, close=False).head
    old = relayed_head(418, sent, b"r1", old=True, close=False)
    assert old.head.startswith(b"HTTP/1.1 418 Status\r\n")
    assert old.head.endswith(b"Colonnade-Request-Id: r1\r\nConnection: close\r\n\r\n")
    assert (old.chunked, old.close) == (False, True)


@pytest.mark.parametrize(("status", "headers"), [(204, []), (304, []), (200, [(b"content-length", b"0")])])
def test_bodies_of_known_length_are_not_chunked(status: int, headers: list[tuple[bytes, bytes]]) -> None:
    assert not relayed_head(status, headers, b"r", old=False, close=True).chunked


def test_chunks_and_answers() -> None:
    assert chunk(b"x" * 16) == b"10\r\n" + b"x" * 16 + b"\r\n"
    with pytest.raises(AssertionError):
        chunk(b"")
    assert answer(200, b"{}", b"a/b") == b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nContent-Length: 2\r\n\r\n{}"
    busy = error_answer(Overloaded("full"), b"r1", close=True)
    assert b"Retry-After: 1\r\nConnection: close\r\n\r\n" in busy
    assert msgspec.json.decode(busy.partition(b"\r\n\r\n")[2])["error"]["request_id"] == "r1"
    assert b"Retry-After" not in error_answer(Unauthenticated("no"), b"r1")
