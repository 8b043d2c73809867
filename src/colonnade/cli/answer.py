"""A streamed chat answer, put together from its events. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from colonnade.wire.answer import of_envelope
from colonnade.wire.errors import ReplicaLost
from colonnade.wire.stream import Event


@dataclass(slots=True)
class Answer:
    text: str = ""
    finish: str | None = None
    id: str = ""
    model: str = ""
    usage: dict[str, Any] | None = None
    calls: dict[int, dict[str, str]] = field(default_factory=dict[int, dict[str, str]])
    done: bool = False

    def take(self, event: Event) -> str:
        """The text that an event brought. Raises the error that an error event stands for."""
        if event.data == "[DONE]":
            self.done = True
            return ""
        if not event.data:
            return ""
        body = msgspec.json.decode(event.data)
        if "error" in body:
            raise of_envelope(body["error"])
        self.id, self.model = body.get("id") or self.id, body.get("model") or self.model
        self.usage = body.get("usage") or self.usage
        return "".join(self._choice(choice) for choice in body.get("choices") or ())

    def whole(self) -> dict[str, Any]:
        """Raises ReplicaLost when the stream ended without its end."""
        if not self.done:
            raise ReplicaLost("the answer broke off", hint="ask again", code="stream_broken")
        calls = {"tool_calls": list(self.calls.values())} if self.calls else {}
        said = {"id": self.id, "model": self.model, "text": self.text, "finish_reason": self.finish}
        return {**said, **calls, "usage": self.usage}

    def _choice(self, choice: dict[str, Any]) -> str:
        self.finish = choice.get("finish_reason") or self.finish
        delta = choice.get("delta") or {}
        piece = (delta.get("content") or "") + "".join(self._call(part) for part in delta.get("tool_calls") or ())
        self.text += delta.get("content") or ""
        return piece

    def _call(self, part: dict[str, Any]) -> str:
        """A tool call, shown as it comes: `name(arguments`."""
        function = part.get("function") or {}
        call = self.calls.setdefault(part.get("index", 0), {"name": "", "arguments": ""})
        for name in call:
            call[name] += function.get(name) or ""
        head = f"\n{function['name']} " if function.get("name") else ""
        return head + (function.get("arguments") or "")
