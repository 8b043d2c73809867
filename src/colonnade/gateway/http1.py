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


def read_head(method: bytes, target: bytes, version: str, headers: Headers) -> Head:
    """Raises InvalidRequest for a head whose framing or target can be read in two ways."""
    if version not in ("1.1", "1.0"):
        raise bad_framing(f"HTTP version {version} is not served here")
    lengths: list[bytes] = []
    hosts = 0
    chunked = expects = proxied = False
    bearer = key = request_id = last_event_id = timeout = traceparent = tracestate = b""
    forward: list[bytes] = []
    for name, value in headers:
        kind = _KINDS.get(name) or _kind(name)
        if kind is _PASSED:
            forward += (name, b": ", value, b"\r\n")
        elif kind is _DROPPED:
            continue
        elif kind == b"host":
            hosts += 1
        elif kind == b"content-length":
            lengths.append(value)
        elif kind == b"authorization":
            bearer = value
        elif kind == b"x-api-key":
            key = value
        elif kind == b"colonnade-request-id":
            request_id = value
        elif kind == b"last-event-id":
            last_event_id = value
            forward += (name, b": ", value, b"\r\n")
        elif kind == b"colonnade-timeout":
            timeout = value
        elif kind == b"traceparent":
            traceparent = value
        elif kind == b"tracestate":
            tracestate = value
        elif kind == b"transfer-encoding":
            _check_coding(value, again=chunked)
            chunked = True
        elif kind == b"expect":
            expects = value.lower() == b"100-continue"
        else:
            proxied = True
    traced = bool(_TRACE.fullmatch(traceparent))
    if traced:
        forward += (b"traceparent: ", traceparent, b"\r\n")
        forward += (b"tracestate: ", tracestate, b"\r\n") if tracestate else ()
    old = version == "1.0"
    if hosts != 1 and not (old and hosts == 0):
        raise bad_framing("exactly one Host header is wanted")
    if chunked and old:
        raise bad_framing("HTTP/1.0 has no Transfer-Encoding")
    length = _length(lengths, chunked)
    path = target.partition(b"?")[0]
    if bearer[:7].lower() == b"bearer ":
        key = bearer[7:].strip()
    return Head(
        method=method,
        path=path,
        old=old,
        key=key,
        request_id=request_id,
        last_event_id=last_event_id,
        timeout=timeout,
        length=length,
        traced=traced,
        expects=expects,
        proxied=proxied,
        forward=b"".join(forward),
    )


def _check_coding(value: bytes, *, again: bool) -> None:
    if again or value.strip().lower() != b"chunked":
        raise bad_framing("the only Transfer-Encoding is chunked, once")


def _length(values: list[bytes], chunked: bool) -> int | None:
    """The one length that the head states; 0 where it states none."""
    if chunked:
        if values:
            raise bad_framing("Content-Length and Transfer-Encoding are both given")
        return None
    if not values:
        return 0
    if len(values) > 1:
        raise bad_framing("Content-Length is given more than once")
    text = values[0].strip()
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
    """`error` in the envelope of the path; refusals for want of capacity say when to come back."""
    body = msgspec.json.encode(error.enveloped(path.decode("latin-1"), request_id.decode("latin-1")))
    after = 1.0 if error.after is None else error.after
    if error.retryable and error.status in (429, 502, 503) and isfinite(after):
        more += b"Retry-After: %d\r\n" % max(1, ceil(after))
    return answer(error.status, body, b"application/json", request_id=request_id, close=close, more=more)
