"""Tool calls in the Hermes form, taken out of the text as it comes: whole calls, or nothing.

    Let me look.
    <tool_call>
    {"name": "book", "arguments": {"day": "Monday"}}
    </tool_call>

A call is given when it is whole and is what it should be; until then its text is held. What turns out not to be a
call is given as the text it is. White space before a call, and after the last one, is dropped: the chat template
writes it again. Any split of the text gives the same calls and the same text.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

OPEN = "<tool_call>"
CLOSE = "</tool_call>"


@dataclass(frozen=True, slots=True)
class Call:
    """`arguments` is a JSON object as text, in the model's own spelling."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Found:
    text: str = ""
    calls: tuple[Call, ...] = ()


class _Spoken(msgspec.Struct):
    name: str
    arguments: msgspec.Raw = msgspec.Raw(b"{}")


class ToolCallParser:
    """With `single`, all that follows the first call is dropped, and `done` says so."""

    def __init__(self, *, single: bool = False) -> None:
        self._single = single
        self._held = ""
        self._inner: int | None = None  # where in `_held` the open call's content begins
        self._searched = 0
        self._after_call = False
        self.calls = 0

    @property
    def done(self) -> bool:
        return self._single and self.calls > 0

    def feed(self, text: str) -> Found:
        """The text and the calls that are certain now."""
        self._held += text
        out: list[str] = []
        calls: list[Call] = []
        more = True
        while more and not self.done:
            more = self._advance_text(out) if self._inner is None else self._advance_call(self._inner, out, calls)
        return Found("".join(out), tuple(calls))

    def flush(self) -> Found:
        """The end of the text: a whole call that was not closed still counts."""
        held, self._held = self._held, ""
        if self.done:
            return Found()
        if self._inner is not None:
            call = _read(held[self._inner :])
            self.calls += call is not None
            return Found(text=held) if call is None else Found(calls=(call,))
        return Found(text="" if self._after_call and not held.strip() else held)

    def _advance_text(self, out: list[str]) -> bool:
        """Give what no call can swallow; True when a call opens."""
        start = self._held.find(OPEN)
        certain = len(self._held[: start if start >= 0 else _unmarked(self._held)].rstrip())
        if certain:
            out.append(self._held[:certain])
            self._held = self._held[certain:]
            self._after_call = False
        if start < 0:
            return False
        self._inner = self._searched = start - certain + len(OPEN)
        return True

    def _advance_call(self, inner: int, out: list[str], calls: list[Call]) -> bool:
        """Look for the call's end; True when there was one, its own or one inside of a string."""
        end = self._held.find(CLOSE, self._searched)
        if end < 0:
            self._searched = max(inner, len(self._held) - len(CLOSE) + 1)
            return False
        content, after = self._held[inner:end], end + len(CLOSE)
        self._searched = after
        if not _in_string(content):
            self._close(_read(content), after, out, calls)
        return True

    def _close(self, call: Call | None, after: int, out: list[str], calls: list[Call]) -> None:
        if call is None:
            out.append(self._held[:after])
        else:
            calls.append(call)
            self.calls += 1
        self._held, self._inner, self._after_call = self._held[after:], None, call is not None


def _unmarked(text: str) -> int:
    """Length of the beginning that cannot be part of a marker which is still to be finished."""
    longest = min(len(OPEN) - 1, len(text))
    return len(text) - next((n for n in range(longest, 0, -1) if text.endswith(OPEN[:n])), 0)


def _in_string(text: str) -> bool:
    """Whether a JSON string is open at the end of `text`."""
    return text.replace("\\\\", "").replace('\\"', "").count('"') % 2 == 1


def _read(text: str) -> Call | None:
    """None for what is not a call: broken JSON, no name, arguments that are not an object."""
    try:
        spoken = msgspec.json.decode(text, type=_Spoken)
        msgspec.json.decode(spoken.arguments, type=dict)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    return Call(spoken.name, bytes(spoken.arguments).decode().strip()) if spoken.name else None
