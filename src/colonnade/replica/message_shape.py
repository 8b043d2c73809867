"""Writes what /v1/messages answers: one message of blocks, whole or as Anthropic's sequence of events. Pure.

    message_start
    content_block_start, content_block_delta …, content_block_stop      for each block, in turn
    message_delta, message_stop

Several events come of the same tokens; their ids tell them apart (docs/stream-contract.md), so that a stream that
breaks between two of them goes on with the second.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from colonnade.replica.choice import Piece
from colonnade.replica.parts import Call, Part, Text, Thought
from colonnade.replica.shape import Label, Said, Usage, call_id
from colonnade.wire.errors import ColonnadeError

_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}


class MessageShape:
    """An answer has one choice. `_open` is the kind of the block that goes on, `_index` its number."""

    def __init__(self, label: Label) -> None:
        self._label = label
        self._open: type[Part] | None = None
        self._index = -1
        self._last = Piece(())

    def opening(self, choices: int, usage: Usage) -> list[Said]:
        assert choices == 1
        return [_said("message_start", message=self._message([], None, usage))]

    def events(self, index: int, piece: Piece) -> list[Said]:
        said = [each for part in piece.parts for each in self._part(part)]
        self._last = piece
        return [*said, *self._close()] if piece.finish is not None else said

    def quiet(self, index: int, piece: Piece) -> None:
        """Nothing is kept of it."""

    def closing(self, usage: Usage) -> list[Said]:
        delta = {"stop_reason": _reason(self._last), "stop_sequence": self._last.stopped or None}
        return [_said("message_delta", delta=delta, usage=_usage(usage)), _said("message_stop")]

    def whole(self, pieces: Sequence[Piece], usage: Usage) -> dict[str, Any]:
        (piece,) = pieces
        return self._message([self._block(part) for part in piece.parts], piece, usage)

    def failure(self, error: ColonnadeError, request_id: str) -> Said:
        return Said(error.message_envelope(request_id), "error")

    def _message(self, content: list[dict[str, Any]], piece: Piece | None, usage: Usage) -> dict[str, Any]:
        return {
            "id": f"msg_{self._label.request_id}",
            "type": "message",
            "role": "assistant",
            "model": self._label.model,
            "content": content,
            "stop_reason": None if piece is None else _reason(piece),
            "stop_sequence": None if piece is None else piece.stopped or None,
            "usage": _usage(usage),
        }

    def _part(self, part: Part) -> list[Said]:
        """The block that the part belongs to is begun where it is another one; a call is a block of its own."""
        said: list[Said] = []
        if self._open is not type(part) or isinstance(part, Call):
            said = self._close()
            self._open, self._index = type(part), self._index + 1
            said.append(_said("content_block_start", index=self._index, content_block=self._block(part, empty=True)))
        return [*said, _said("content_block_delta", index=self._index, delta=_delta(part))]

    def _close(self) -> list[Said]:
        closed = [] if self._open is None else [_said("content_block_stop", index=self._index)]
        self._open = None
        return closed

    def _block(self, part: Part, *, empty: bool = False) -> dict[str, Any]:
        match part:
            case Text(text):
                return {"type": "text", "text": "" if empty else text}
            case Thought(text):
                return {"type": "thinking", "thinking": "" if empty else text, "signature": ""}
            case Call(name, arguments):
                called = f"toolu_{call_id(self._label.request_id, 0, part)}"
                given = msgspec.Raw(b"{}" if empty else arguments.encode())
                return {"type": "tool_use", "id": called, "name": name, "input": given}


def _said(kind: str, **fields: Any) -> Said:
    return Said({"type": kind, **fields}, kind)


def _delta(part: Part) -> dict[str, Any]:
    match part:
        case Text(text):
            return {"type": "text_delta", "text": text}
        case Thought(text):
            return {"type": "thinking_delta", "thinking": text}
        case Call():
            return {"type": "input_json_delta", "partial_json": part.arguments}


def _reason(piece: Piece) -> str | None:
    if piece.stopped and piece.finish == "stop":
        return "stop_sequence"
    return _REASONS[piece.finish] if piece.finish is not None else None


def _usage(usage: Usage) -> dict[str, Any]:
    """Tokens that were read from the cache are counted apart; nothing is charged for keeping them."""
    return {
        "input_tokens": usage.prompt - usage.cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached,
        "output_tokens": usage.completion,
    }
