"""What a foreign server answers, in our words: streams by docs/stream-contract.md, whole bodies, refusals. Pure.

Where the engine tells token ids, tokens lines are of them and positions count them. Where it does not, there are no
tokens lines, and positions count a choice's events: enough for a client to reconnect here, and no other replica takes
such a stream for one that it could go on with.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from colonnade.replica.foreign.asking import Asked
from colonnade.replica.foreign.values import fields_of, items_of
from colonnade.replica.writer import Written
from colonnade.wire.errors import (
    ColonnadeError,
    ContextTooLong,
    Internal,
    InvalidRequest,
    Overloaded,
    RateLimited,
    ReplicaLost,
)
from colonnade.wire.stream import DONE, EventId, event, tokens_line, usage_line

PREFIXES = {"/v1/chat/completions": "chatcmpl-", "/v1/completions": "cmpl-"}
"""Of an answer's id, by endpoint."""


@dataclass(frozen=True, slots=True)
class Heading:
    """What stands in every chunk of an answer."""

    id: str
    created: int
    model: str

    def fields(self) -> dict[str, Any]:
        return {"id": self.id, "created": self.created, "model": self.model}


class Telling(Protocol):
    """Takes an answer's pieces as they come."""

    done: bool
    tokens: int

    @property
    def counted(self) -> tuple[int, int, int]:
        """As `counts` has it."""
        ...

    def take(self, data: str) -> list[Written]: ...


class StreamTelling:
    """Events of the server's stream to ours. `tokens`: how many were told, for progress and metrics."""

    def __init__(self, heading: Heading, epoch: str, asked: Asked) -> None:
        self.done = False
        self.tokens = 0
        self._heading = heading
        self._epoch = epoch
        self._asked = asked
        self._positions = [0] * asked.choices
        self._finished = [False] * asked.choices
        self._usage: dict[str, Any] = {}
        self._held: tuple[bytes, dict[str, Any]] | None = None  # it may be the last one, which carries the usage
        self._opened = False

    @property
    def counted(self) -> tuple[int, int, int]:
        prompt, cached, completion = counts(self._usage)
        return prompt, cached, completion or self.tokens

    def take(self, data: str) -> list[Written]:
        """One event's data. Raises what the server says is wrong, and Internal for what is no chunk."""
        if data == "[DONE]":
            self.done = True
            return [*self._release(self._usage_line()), Written(DONE)]
        chunk = _object(data.encode())
        if _is_error(chunk):
            raise refusal(_status(chunk), chunk)
        self._usage = fields_of(chunk.pop("usage", None)) or self._usage
        choices = list(_choices(chunk))
        return self._go_on(chunk, choices) if choices else self._last(chunk)

    def _go_on(self, chunk: dict[str, Any], choices: list[dict[str, Any]]) -> list[Written]:
        before = self._release(b"")
        lines = b"".join(self._count(choice) for choice in choices)
        if not self._asked.ids:
            chunk.pop("prompt_token_ids", None)
        if not self._opened:
            lines += self._usage_line()
            self._opened = True
        if not any(choice.get("finish_reason") for choice in choices):
            return [*before, self._event(lines, chunk)]
        self._held = lines, chunk
        return before

    def _count(self, choice: dict[str, Any]) -> bytes:
        """The tokens line of one choice's part, "" where there is none."""
        index = choice.get("index", 0)
        if index not in range(len(self._positions)):
            raise Internal(f"the engine answered with choice {index}, and was asked for {len(self._positions)}")
        ids = items_of(choice.get("token_ids") if self._asked.ids else choice.pop("token_ids", None))
        new = len(ids or ()) if self._asked.numbered else 1
        self._finished[index] = self._finished[index] or bool(choice.get("finish_reason"))
        self._positions[index] += new
        self.tokens += new
        return tokens_line(index, ids) if ids and self._asked.numbered else b""

    def _last(self, chunk: dict[str, Any]) -> list[Written]:
        """A chunk without choices: the usage, which goes on where the client asked for it."""
        if not self._asked.usage or not self._usage:
            return []
        return [*self._release(b""), self._event(self._usage_line(), {**chunk, "choices": [], "usage": self._usage})]

    def _release(self, usage: bytes) -> list[Written]:
        if self._held is None:
            return []
        (lines, chunk), self._held = self._held, None
        return [self._event(lines if usage in lines else lines + usage, chunk)]

    def _event(self, lines: bytes, chunk: dict[str, Any]) -> Written:
        told = EventId(self._epoch, tuple(self._positions), tuple(self._finished))
        return Written(lines + event(msgspec.json.encode({**chunk, **self._heading.fields()}), told), str(told))

    def _usage_line(self) -> bytes:
        return usage_line(*counts(self._usage)) if self._usage else b""


class WholeTelling:
    """An answer that is no stream."""

    def __init__(self, heading: Heading, asked: Asked) -> None:
        self.done = False
        self.tokens = 0
        self.counted = (0, 0, 0)
        self._heading = heading
        self._asked = asked

    def take(self, data: str) -> list[Written]:
        """All of it. Raises Internal for what is no answer."""
        body = _object(data.encode())
        if _is_error(body):
            raise refusal(_status(body), body)
        self.done = True
        self.counted = counts(body.get("usage"))
        self.tokens = self.counted[2]
        if not self._asked.ids:
            _strip(body)
        return [Written(msgspec.json.encode({**body, **self._heading.fields()}))]


def counts(usage: Any) -> tuple[int, int, int]:
    """Tokens of the prompt, of it cached, and of the answer; 0 where it does not say."""
    told = fields_of(usage) or {}
    details = fields_of(told.get("prompt_tokens_details")) or {}
    return told.get("prompt_tokens") or 0, details.get("cached_tokens") or 0, told.get("completion_tokens") or 0


def refusal(status: int, body: Any) -> ColonnadeError:
    """What a server says is wrong, as an error of ours: whose fault it is, and whether to try again, by its status."""
    message, code, param = _said(body)
    told = f"the engine says: {message}" if message else f"the engine answered {status}"
    match status:
        case 401 | 403:
            return Internal(told, hint="engine_key_file names the file with the key that it asks for")
        case 429:
            return RateLimited(told, hint="send the request again in a moment")
        case 503:
            return Overloaded(told, hint="send the request again in a moment")
        case 502 | 504:
            return ReplicaLost(told, hint="send the request again")
        case _ if 400 <= status < 500:
            kind = ContextTooLong if _too_long(message, code) else InvalidRequest
            return kind(told, param=param)
        case _:
            return Internal(told, hint="the engine's log says more")


def failure(body: bytes, status: int) -> ColonnadeError:
    """The same, of an answer's bytes."""
    try:
        said = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        said = body[:200].decode("utf-8", "replace")
    return refusal(status, said)


def _said(body: Any) -> tuple[str, str, str | None]:
    """Message, code and field of an error body: OpenAI's envelope, FastAPI's `detail`, vLLM's older flat one."""
    named = fields_of(body)
    said = body if named is None else named.get("error", named)
    found = fields_of(said)
    if found is None:
        return str(said or ""), "", None
    param = found.get("param")
    message = found.get("message") or found.get("detail") or ""
    code = next((each for each in (found.get("code"), found.get("type")) if isinstance(each, str)), "")
    return str(message), code, param if isinstance(param, str) else None


def _too_long(message: str, code: str) -> bool:
    return code in ("context_length_exceeded", "exceed_context_size_error") or "context length" in message.lower()


def _is_error(body: dict[str, Any]) -> bool:
    return "error" in body or body.get("object") == "error"


def _status(body: dict[str, Any]) -> int:
    """Of an error inside an answer: its code where that is a status; else the engine broke it off."""
    code = (fields_of(body.get("error", body)) or {}).get("code")
    return code if isinstance(code, int) and 400 <= code < 600 else 502


def _object(data: bytes) -> dict[str, Any]:
    try:
        found = fields_of(msgspec.json.decode(data))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Internal(f"the engine's answer is not JSON: {error}", hint="engine_kind says what it is") from error
    if found is None:
        raise Internal("the engine's answer is not a JSON object", hint="engine_kind says what it is")
    return found


def _strip(body: dict[str, Any]) -> None:
    body.pop("prompt_token_ids", None)
    for choice in _choices(body):
        choice.pop("token_ids", None)
        choice.pop("prompt_token_ids", None)


def _choices(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    return (choice for each in items_of(body.get("choices")) or [] if (choice := fields_of(each)) is not None)
