"""/v1/chat/completions: messages to an order, and pieces to the bodies that OpenAI's clients read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from colonnade.replica.choice import Piece, TokenLogprob
from colonnade.replica.parts import Call
from colonnade.replica.requests import ChatRequest, Content, Message, ToolCall
from colonnade.replica.shape import Label, Said, Usage, call_id, floor
from colonnade.wire.errors import ColonnadeError, InvalidRequest


def conversation(request: ChatRequest) -> list[dict[str, Any]]:
    """The messages as chat templates expect them: text parts joined, arguments as objects, developer as system."""
    return [_message(index, message) for index, message in enumerate(request.messages)]


def offered_tools(request: ChatRequest) -> list[dict[str, Any]] | None:
    """The tools that the prompt tells of, as the client wrote them: none with tool_choice none."""
    return (request.tools or None) if request.tool_choice != "none" else None


def _message(index: int, message: Message) -> dict[str, Any]:
    role = "system" if message.role == "developer" else message.role
    said: dict[str, Any] = {"role": role, "content": text_of(message.content)}
    if message.name is not None:
        said["name"] = message.name
    if message.tool_call_id is not None:
        said["tool_call_id"] = message.tool_call_id
    if message.reasoning_content is not None:
        said["reasoning_content"] = message.reasoning_content
    if message.tool_calls:
        where = f"messages[{index}].tool_calls"
        said["tool_calls"] = [_call(f"{where}[{n}]", call) for n, call in enumerate(message.tool_calls)]
    return said


def text_of(content: Content) -> str:
    if isinstance(content, list):
        return "".join(part.text for part in content)
    return content or ""


def _call(where: str, call: ToolCall) -> dict[str, Any]:
    try:
        arguments = json.loads(call.function.arguments or "{}")
    except (ValueError, RecursionError) as error:
        param = f"{where}.function.arguments"
        raise InvalidRequest(f"{param}: not JSON: {error}", param=param) from error
    return {"type": "function", "id": call.id, "function": {"name": call.function.name, "arguments": arguments}}


class ChatShape:
    """Writes `chat.completion` and `chat.completion.chunk`."""

    def __init__(self, label: Label, include_usage: bool, logprobs: int | None) -> None:
        self._label = label
        self._include_usage = include_usage
        self._logprobs = logprobs

    def opening(self, choices: int, usage: Usage) -> list[Said]:
        """One event for all choices, so that each event's id is the state after it and no two are the same."""
        delta = {"role": "assistant", "content": ""}
        return [Said(self._chunk([_choice(index, delta, None, None) for index in range(choices)]))]

    def chunk(self, index: int, piece: Piece) -> dict[str, Any]:
        delta: dict[str, Any] = {"content": piece.text} if piece.text else {}
        if piece.reasoning:
            delta["reasoning_content"] = piece.reasoning
        if piece.calls:
            delta["tool_calls"] = [{"index": call.number, **self._tool_call(index, call)} for call in piece.calls]
        return self._chunk([_choice(index, delta, self._told(piece), piece.finish)])

    def events(self, index: int, piece: Piece) -> list[Said]:
        return [Said(self.chunk(index, piece))]

    def quiet(self, index: int, piece: Piece) -> None:
        """Nothing is kept of it."""

    def closing(self, usage: Usage) -> list[Said]:
        return [Said(self._chunk([]) | {"usage": usage.body()})] if self._include_usage else []

    def failure(self, error: ColonnadeError, request_id: str) -> Said:
        return Said(error.envelope(request_id))

    def whole(self, pieces: Sequence[Piece], usage: Usage) -> dict[str, Any]:
        choices = [self._whole_choice(index, piece) for index, piece in enumerate(pieces)]
        return self._around("chat.completion", choices) | {"usage": usage.body()}

    def _whole_choice(self, index: int, piece: Piece) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": piece.text or (None if piece.calls else "")}
        message["refusal"] = None
        if piece.reasoning:
            message["reasoning_content"] = piece.reasoning
        if piece.calls:
            message["tool_calls"] = [self._tool_call(index, call) for call in piece.calls]
        return {
            "index": index,
            "message": message,
            "logprobs": self._told(piece),
            "finish_reason": piece.finish,
        }

    def _chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        body = self._around("chat.completion.chunk", choices)
        return body | {"usage": None} if self._include_usage else body

    def _around(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        label = self._label
        return {
            "id": f"chatcmpl-{label.request_id}",
            "object": kind,
            "created": label.created,
            "model": label.model,
            "system_fingerprint": label.fingerprint,
            "choices": choices,
        }

    def _tool_call(self, choice: int, call: Call) -> dict[str, Any]:
        function = {"name": call.name, "arguments": call.arguments}
        return {"id": f"call_{call_id(self._label.request_id, choice, call)}", "type": "function", "function": function}

    def _told(self, piece: Piece) -> dict[str, Any] | None:
        if self._logprobs is None:
            return None
        return {"content": [self._told_token(each) for each in piece.logprobs], "refusal": None}

    def _told_token(self, each: TokenLogprob) -> dict[str, Any]:
        top = [self._token(token, logprob) for token, logprob in each.logprob.top]
        return self._token(each.logprob.token, each.logprob.logprob) | {"top_logprobs": top}

    def _token(self, token: int, logprob: float) -> dict[str, Any]:
        raw = self._label.token_bytes(token)
        return {"token": raw.decode("utf-8", "replace"), "logprob": floor(logprob), "bytes": list(raw)}


def _choice(index: int, delta: dict[str, Any], logprobs: Any, finish: str | None) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
