"""Between bytes and a model's values: what comes in becomes inputs, what comes out becomes a response."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec
from pydantic import BaseModel, ValidationError
from starlette.responses import Response

from colonnade.packages.binary import from_binary, to_binary, to_json
from colonnade.packages.contract import Contract
from colonnade.replica.connection import Message, Receive, Send
from colonnade.replica.package.pieces import Pieces, StreamFailed
from colonnade.replica.package.refusals import Refused, labels, model_failed, unreadable
from colonnade.replica.package.watching import until_gone

BINARY = "application/octet-stream"


def inputs_of(contract: Contract, headers: Mapping[str, str], body: bytes) -> Any:
    """Raises Refused with what is wrong in the client's words."""
    wanted = contract.schema.inputs if contract.schema else None
    try:
        value = from_binary(body) if is_binary(headers) else _decode(body)
        return value if wanted is None else wanted.model_validate(value)
    except ValidationError as error:
        raise unreadable(error) from error
    except json.JSONDecodeError as error:
        if wanted is not None:
            raise Refused(400, f"Input Parsing Error:\n  `__root__`: {error}.", "700") from error
        raise Refused(400, f"Invalid JSON payload: {error}", "700") from error
    except (ValueError, RecursionError) as error:
        raise Refused(400, str(error), "700") from error


def is_binary(headers: Mapping[str, str]) -> bool:
    return headers.get("content-type", "").partition(";")[0].strip().lower() == BINARY


def _decode(body: bytes) -> Any:
    """The standard library's reader for what the quick one refuses: its words, and its NaN, are what clients know."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return json.loads(body)


async def answer(
    result: Any, headers: Mapping[str, str], body: bytes, scope: Message, receive: Receive, send: Send
) -> None:
    """Raises Refused before anything is sent, StreamFailed after."""
    if isinstance(result, Pieces):
        if _wants_whole(headers, body):
            await _whole(result, send)
        else:
            await _stream(result, receive, send)
        return
    if isinstance(result, Response):
        if result.status_code >= 300:
            result.headers.update(labels("700"))
        await result(scope, receive, send)
        return
    await _respond(send, *encoded(result, is_binary(headers)))


def encoded(result: Any, binary: bool) -> tuple[bytes, bytes]:
    """Body and content type. Raises TypeError for what has no such form, which is the package's fault."""
    if binary:
        value = result.model_dump(mode="python") if isinstance(result, BaseModel) else result
        return (value if isinstance(value, bytes) else to_binary(value)), BINARY.encode()
    text = result.model_dump_json().encode() if isinstance(result, BaseModel) else to_json(result)
    return text, b"application/json"


async def _respond(send: Send, body: bytes, kind: bytes) -> None:
    length = str(len(body)).encode()
    headers = [(b"content-length", length), (b"content-type", kind)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _wants_whole(headers: Mapping[str, str], body: bytes) -> bool:
    """`Accept: application/json` asks for the stream as one JSON text; OpenAI's clients send it with every request,
    and say in the body that they want a stream."""
    if headers.get("accept") != "application/json":
        return False
    try:
        return msgspec.json.decode(body, type=_Asks).stream is not True
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return True


class _Asks(msgspec.Struct):
    stream: Any = None


async def _whole(pieces: Pieces, send: Send) -> None:
    try:
        first = await pieces.first()
        parts = [] if first is None else [first, *[piece async for piece in pieces.rest()]]
    except StreamFailed as error:
        raise model_failed() from error
    finally:
        await pieces.stop()
    await _respond(send, to_json(b"".join(parts).decode("utf-8", "replace")), b"application/json")


async def _stream(pieces: Pieces, receive: Receive, send: Send) -> None:
    """The head goes with the first piece, so that a failure before it has its status. When the client goes, so does
    the generator."""
    try:
        async with until_gone(receive):
            try:
                first = await pieces.first()
            except StreamFailed as error:
                raise Refused(504, "The stream did not begin in time.", "600") from error
            await _send_pieces(pieces, first, send)
    finally:
        await pieces.stop()


async def _send_pieces(pieces: Pieces, first: bytes | None, send: Send) -> None:
    headers = [(b"content-type", BINARY.encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if first is not None:
        await send({"type": "http.response.body", "body": first, "more_body": True})
        async for piece in pieces.rest():
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
