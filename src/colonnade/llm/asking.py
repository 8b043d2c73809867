"""What is asked of an engine, and how its answer is read; the same for both ways of asking. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from pydantic import TypeAdapter

COMPLETIONS = "/v1/completions"
CHAT = "/v1/chat/completions"
EMBEDDINGS = "/v1/embeddings"

Prompt = str | Sequence[int]
Messages = str | Sequence[Mapping[str, Any]]
"""A chat so far; a text alone is what the user says."""


class Answer(msgspec.Struct, frozen=True):
    """`body` is what the HTTP API answers; the rest is of its first choice."""

    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    body: dict[str, Any]

    @property
    def value(self) -> Any:
        """The text's JSON, as a schema asked for it. Raises ValueError where it was cut short."""
        return json.loads(self.text)


def completion(model: str, prompt: Prompt, schema: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    said = prompt if isinstance(prompt, str) else list(prompt)
    return {"model": model, "prompt": said, **_form(schema), **options}


def conversation(model: str, messages: Messages, schema: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    said = [{"role": "user", "content": messages}] if isinstance(messages, str) else list(messages)
    return {"model": model, "messages": said, **_form(schema), **options}


def _form(schema: Any) -> dict[str, Any]:
    """`schema`: a JSON schema, or a type that pydantic makes one of."""
    if schema is None:
        return {}
    return {"json_schema": schema if isinstance(schema, dict) else TypeAdapter(schema).json_schema()}


def answer_of(body: dict[str, Any]) -> Answer:
    choice = body["choices"][0]
    text = choice["text"] if "text" in choice else choice["message"]["content"]
    usage = body["usage"]
    return Answer(text or "", choice["finish_reason"], usage["prompt_tokens"], usage["completion_tokens"], body)


def text_of(event: Mapping[str, Any]) -> str:
    """What a streamed event adds to the first choice."""
    for choice in event.get("choices", []):
        if choice["index"] == 0:
            return choice.get("text") or choice.get("delta", {}).get("content") or ""
    return ""
