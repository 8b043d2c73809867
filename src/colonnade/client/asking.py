"""What a client asks, and how it reads the answer; the same for both kinds of client. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar, cast
from urllib.parse import quote

import msgspec
from pydantic import BaseModel, TypeAdapter, ValidationError

from colonnade.wire.answer import of_envelope
from colonnade.wire.errors import Internal

T = TypeVar("T")
Messages = str | Sequence[Mapping[str, Any]]
"""A chat so far; a text alone is what the user says."""


class Asked(msgspec.Struct, frozen=True):
    """One request."""

    method: str
    path: str
    body: bytes | None = None
    headers: dict[str, str] = {}


def path_of(model: str, action: str) -> str:
    return f"/v1/models/{quote(model, safe='')}{action}"


def prediction(model: str, inputs: object) -> Asked:
    return Asked("POST", path_of(model, ":predict"), encoded(inputs))


def conversation(model: str, messages: Messages, stream: bool, options: Mapping[str, Any]) -> Asked:
    said = [{"role": "user", "content": messages}] if isinstance(messages, str) else list(messages)
    body = {"model": model, "messages": said, "stream": stream, **options}
    return Asked("POST", "/v1/chat/completions", encoded(body))


def submission(model: str, inputs: object, key: str, options: Mapping[str, Any]) -> Asked:
    body = {"model_input": _plain(inputs), **options}
    headers = {"Idempotency-Key": key} if key else {}
    return Asked("POST", path_of(model, ":async_predict"), encoded(body), headers)


def encoded(value: object) -> bytes:
    """As JSON; models of pydantic and structs of msgspec too."""
    return msgspec.json.encode(_plain(value))


def _plain(value: object) -> object:
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else value


def decoded(body: bytes, into: Any) -> Any:
    """The answer's JSON as `into` has it. Raises Internal for an answer that does not fit."""
    try:
        if into is Any:
            return msgspec.json.decode(body) if body else None
        if into is bytes:
            return body
        if _is_struct(into):
            return msgspec.json.decode(body, type=into)
        return TypeAdapter(into).validate_json(body)
    except (msgspec.DecodeError, UnicodeDecodeError, ValidationError) as error:
        name = getattr(into, "__name__", str(into))
        raise Internal(f"the answer is no {name}: {error}", code="bad_answer") from error


def _is_struct(into: Any) -> bool:
    return isinstance(into, type) and issubclass(into, msgspec.Struct)


def text_of(completion: Mapping[str, Any]) -> str:
    """What the model said."""
    return str(completion["choices"][0]["message"]["content"] or "")


def pieces_of(events: Iterable[str]) -> Iterable[str]:
    """Of the data of a streamed chat, the text that each brings. Raises the error that one may be."""
    for data in events:
        if not data or data == "[DONE]":
            continue
        said = msgspec.json.decode(data)
        if "error" in said:
            raise of_envelope(said["error"])
        for choice in cast(list[dict[str, Any]], said.get("choices", [])):
            if text := choice.get("delta", {}).get("content"):
                yield str(text)
