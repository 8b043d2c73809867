"""HTTP/1.1 as the gateway keeps it: what a request head must be, what goes on to a replica, what goes back. Pure.

llhttp (httptools) does the tokenising and is strict by itself; the rules that decide where a message ends are checked
here again, so that they do not hang on another library's defaults: RFC 9112, sections 3.2, 6.1, 6.3 and 11.2.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from math import ceil, isfinite

import msgspec

from colonnade.wire.errors import ColonnadeError, InvalidRequest

FORWARDED = frozenset(
    {
        b"accept",
        b"anthropic-beta",
        b"anthropic-version",
        b"baggage",
        b"colonnade-resume",
        b"content-type",
        b"last-event-id",
        b"user-agent",
        b"x-baseten-request-id",
    }
)
"""What a replica gets of a client's head; all else (keys, cookies, hop-by-hop, unknown) stays at the gateway."""

NOT_RETURNED = frozenset(
    {
        b"colonnade-request-id",
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Of a replica's head: hop-by-hop, and the id, which the gateway writes itself."""

REASONS = {
    200: b"OK",
    400: b"Bad Request",
    401: b"Unauthorized",
    404: b"Not Found",
    405: b"Method Not Allowed",
    408: b"Request Timeout",
    409: b"Conflict",
    413: b"Content Too Large",
    429: b"Too Many Requests",
    500: b"Internal Server Error",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
}

Headers = Iterable[tuple[bytes, bytes]]


class Head(msgspec.Struct, frozen=True, gc=False):
    """A request's head, checked: its length is known without doubt."""

    method: bytes
    path: bytes  # without the query
    old: bool  # HTTP/1.0: no chunks, one request a connection
    key: bytes  # the API key as sent, b"" where there is none
    request_id: bytes  # as sent, not checked
    last_event_id: bytes
    timeout: bytes  # seconds, as sent, not checked
    length: int | None  # of the body in bytes; None: chunked
    traced: bool  # it belongs to a trace of the client's; `forward` says which
    expects: bool  # waits for "100 Continue"
    proxied: bool  # another proxy stands in front, so the peer's address is not the client's
    forward: bytes  # header lines for the replica


_TRACE = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-[!-~]*)?")
"""W3C Trace Context, section 3.2; what is not of this form is dropped, and a trace is begun."""

_PASSED, _DROPPED = b"+", b"-"
"""Kinds of header fields: passed on to the replica, of no use; the others are read, and are kinds by their own name."""
_READ = frozenset(
    {
        b"authorization",
        b"colonnade-request-id",
        b"colonnade-timeout",
        b"content-length",
        b"expect",
        b"forwarded",
        b"host",
        b"last-event-id",
        b"traceparent",
        b"tracestate",
        b"transfer-encoding",
        b"x-api-key",
        b"x-forwarded-for",
    }
)
_KINDS: dict[bytes, bytes] = {}
"""By names as they were written: clients write a few names over and over."""
_MOST_KINDS = 1024


def _kind(name: bytes) -> bytes:
    lower = name.lower()
    kind = lower if lower in _READ else _PASSED if lower in FORWARDED else _DROPPED
    if len(_KINDS) < _MOST_KINDS:
        _KINDS[name] = kind
    return kind


def bad_framing(message: str) -> InvalidRequest:
    return InvalidRequest(message, hint="the connection is closed, because its framing is in doubt", code="bad_http")


_ONCE = {
    b"content-length": "Content-Length is given more than once",
    b"host": "exactly one Host header is wanted",
    b"transfer-encoding": "the only Transfer-Encoding is chunked, once",
}
"""What decides where a message ends and whose it is; of all else that is read the last one counts."""

Said = dict[bytes, bytes]
"""What a head says, of the kinds that are read."""


def read_head(method: bytes, target: bytes, version: str, headers: Headers) -> Head:
    """Raises InvalidRequest for a head whose framing or target can be read in two ways."""
    if version not in ("1.1", "1.0"):
        raise bad_framing(f"HTTP version {version} is not served here")
    said: Said = {}
    forward: list[bytes] = []
    for name, value in headers:
        kind = _KINDS.get(name) or _kind(name)
        if kind is _PASSED:
            forward += (name, b": ", value, b"\r\n")
        elif kind is not _DROPPED:
            if kind in said and kind in _ONCE:
                raise bad_framing(_ONCE[kind])
            said[kind] = value
    old = version == "1.0"
    if b"host" not in said and not old:
        raise bad_framing(_ONCE[b"host"])
    return _head(method, target.partition(b"?")[0], old, said, forward)


def _head(method: bytes, path: bytes, old: bool, said: Said, forward: list[bytes]) -> Head:
    """`forward`: lines that go on as they are."""
    ask = said.get
    last_event_id, trace = ask(b"last-event-id", b""), ask(b"traceparent", b"")
    if last_event_id:
        forward += (b"Last-Event-ID: ", last_event_id, b"\r\n")
    traced = _TRACE.fullmatch(trace) is not None
    if traced:
        forward += (b"traceparent: ", trace, b"\r\n")
        forward += (b"tracestate: ", state, b"\r\n") if (state := ask(b"tracestate")) else ()
    bearer = ask(b"authorization", b"")
    return Head(
        method,
        path,
        old,
        key=bearer[7:].strip() if bearer[:7].lower() == b"bearer " else ask(b"x-api-key", b""),
        request_id=ask(b"colonnade-request-id", b""),
        last_event_id=last_event_id,
        timeout=ask(b"colonnade-timeout", b""),
        length=_length(said, old),
        traced=traced,
        expects=ask(b"expect", b"").lower() == b"100-continue",
        proxied=b"forwarded" in said or b"x-forwarded-for" in said,
        forward=b"".join(forward),
    )


def _length(said: Said, old: bool) -> int | None:
    """The one length that the head states; 0 where it states none."""
    coding, text = said.get(b"transfer-encoding"), said.get(b"content-length")
    if coding is not None:
        if text is not None:
            raise bad_framing("Content-Length and Transfer-Encoding are both given")
        if coding.strip().lower() != b"chunked":
            raise bad_framing(_ONCE[b"transfer-encoding"])
        if old:
            raise bad_framing("HTTP/1.0 has no Transfer-Encoding")
        return None
    if text is None:
        return 0
    text = text.strip()
    if not text.isdigit() or len(text) > 18:
        raise bad_framing("Content-Length is not a number")
    return int(text)


class Answer(msgspec.Struct, frozen=True, gc=False):
    """A response's head, ready to be sent, and how its body is framed for this client."""

    head: bytes
    chunked: bool
    events: bool  # a text/event-stream
    close: bool  # the connection ends with the body


def relayed_head(status: int, headers: Headers, request_id: bytes, *, old: bool, close: bool) -> Answer:
    """A replica's head for the client: hop-by-hop fields dropped, the length kept where it holds."""
    events = False
    length = b""
    lines: list[bytes] = [_status_line(status)]
    for name, value in headers:
        kind = name.lower()
        if kind in NOT_RETURNED:
            if kind == b"connection" and (hops := _named(value)):
                rest = [header for header in headers if header[0].lower() not in hops]
                return relayed_head(status, rest, request_id, old=old, close=close)
            continue
        if kind == b"content-type":
            events = value[:17].lower() == b"text/event-stream"
        elif kind == b"content-length":
            length = b"Content-Length: %b\r\n" % value
            continue
        lines += (name, b": ", value, b"\r\n")
    if events:
        length = b""  # half an event at its end is not passed on
    sized = length or status in (204, 304)
    lines.append(length)
    close = close or old
    chunked = not sized and not old
    lines += (b"Colonnade-Request-Id: ", request_id, b"\r\n")
    lines.append(_TAILS[chunked, close])
    return Answer(b"".join(lines), chunked, events, close)


_TAILS = {
    (False, False): b"\r\n",
    (False, True): b"Connection: close\r\n\r\n",
    (True, False): b"Transfer-Encoding: chunked\r\n\r\n",
    (True, True): b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
}


def _named(value: bytes) -> frozenset[bytes]:
    """The fields that a Connection field names, itself among them: for the next hop alone (RFC 9110, 7.6.1)."""
    named = {token.strip() for token in value.lower().split(b",")} - {b"close", b"keep-alive", b""}
    return frozenset(named | {b"connection"}) if named else frozenset()


_LINES = {status: b"HTTP/1.1 %d %b\r\n" % (status, reason) for status, reason in REASONS.items()}


def _status_line(status: int) -> bytes:
    return _LINES.get(status) or b"HTTP/1.1 %d Status\r\n" % status


def chunk(data: bytes) -> bytes:
    """`data` as one chunk; it must not be empty, since that would end the body."""
    assert data
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST_CHUNK = b"0\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def answer(
    status: int, body: bytes, content_type: bytes, *, request_id: bytes = b"", close: bool = False, more: bytes = b""
) -> bytes:
    """A whole response of the gateway's own. `more` are header lines, each with its line end."""
    identity = b"Colonnade-Request-Id: %b\r\nX-Request-Id: %b\r\n" % (request_id, request_id) if request_id else b""
    return b"%bContent-Type: %b\r\nContent-Length: %d\r\n%b%b%b%b" % (
        _status_line(status),
        content_type,
        len(body),
        identity,
        more,
        _TAILS[False, close],
        body,
    )


def error_answer(
    error: ColonnadeError, request_id: bytes, *, path: bytes = b"", close: bool = False, more: bytes = b""
) -> bytes:
    """`error` in the envelope of the path; refusals for want of capacity say when to come back, and any that knows."""
    body = msgspec.json.encode(error.enveloped(path.decode("latin-1"), request_id.decode("latin-1")))
    after = 1.0 if error.after is None else error.after
    known = error.after is not None or (error.retryable and error.status in (429, 502, 503))
    if known and isfinite(after):
        more += b"Retry-After: %d\r\n" % max(1, ceil(after))
    return answer(error.status, body, b"application/json", request_id=request_id, close=close, more=more)
