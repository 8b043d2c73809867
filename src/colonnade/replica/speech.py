"""What a model says, taken apart as it comes: reasoning, text, and calls of functions. Pure.

    <think>She wants a table.</think>Let me look.
    <tool_call>
    {"name": "book", "arguments": {"day": "Monday"}}
    </tool_call>

One machine for all families of models; `families` describes how each writes. A call is given when it is whole and is
what it should be; until then its text is held, and what turns out not to be one is given as the text that it is. White
space before a call, after the last one and around reasoning is dropped: the chat template writes it again. Any split
of the text gives the same parts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from colonnade.replica.families import Family, Form
from colonnade.replica.parts import Call, Part, Text, Thought
from colonnade.replica.value import ValueEnd

SPACE = " \t\r\n"


@dataclass(frozen=True, slots=True)
class Listening:
    """What is looked for. `tools`: None, or whether several calls are allowed. `thinking`: the prompt has opened the
    reasoning already."""

    family: Family
    tools: bool | None = None
    reasoning: bool = False
    thinking: bool = False


class SpeechParser:
    """When one call alone is allowed, all that follows the first is dropped, and `done` says so."""

    def __init__(self, listening: Listening) -> None:
        family = listening.family
        self._single = listening.tools is False
        self._forms = () if listening.tools is None else family.forms
        self._dropped = () if listening.tools is None else family.dropped
        self._markers = (*(form.opens for form in self._forms if form.opens), *self._dropped)
        self._open, self._close = family.reasoning
        self._may_think = listening.reasoning and not listening.thinking
        self._state: Callable[[], bool] = self._thought if listening.reasoning and listening.thinking else self._start
        self._ignored = SPACE  # at a beginning: what may stand before reasoning or a call without a marker
        self._fresh: bool = listening.thinking  # white space that comes next is dropped
        self._held: str = ""
        self._form: Form | None = None
        self._inner = self._searched = (
            0  # of the open call: where its content begins, and how far it was looked through
        )
        self._end = ValueEnd()
        self._after_call = False
        self._out: list[Part] = []
        self.calls = 0

    @property
    def done(self) -> bool:
        return self._single and self.calls > 0

    def feed(self, text: str) -> list[Part]:
        """The parts that are certain now."""
        self._held += text
        while not self.done and self._state():
            pass
        return self._take()

    def flush(self) -> list[Part]:
        """The end of the text: a whole call that was not closed still counts."""
        held, self._held = self._held, ""
        if self.done:
            return []
        if self._form is not None:
            found = self._form.read(held[self._inner :])
            self._say(Text(held)) if found is None else self._call(found)
        elif self._state == self._thought:
            self._say(Thought(self._begun(held).rstrip(SPACE)))
        else:
            held = held.lstrip(SPACE) if self._fresh else held
            self._say(Text("" if self._after_call and not held.strip(SPACE) else held))
        return self._take()

    def _take(self) -> list[Part]:
        out, self._out = self._out, []
        return out

    def _say(self, part: Text | Thought) -> None:
        """Neighbours of one kind are one part."""
        last = self._out[-1] if self._out else None
        if isinstance(part, Text) and isinstance(last, Text):
            self._out[-1] = Text(last.text + part.text)
        elif part.text:
            self._out.append(part)

    def _call(self, found: list[tuple[str, str]]) -> None:
        for name, arguments in found[:1] if self._single else found:
            self._out.append(Call(name, arguments, self.calls))
            self.calls += 1

    # The states: each takes from what is held, and says whether there is more to do.

    def _start(self) -> bool:
        """Reasoning, or a call that no marker opens, stands at the very beginning or nowhere."""
        head = self._held.lstrip(self._ignored)
        if self._may_think and (not head or (self._open.startswith(head) and head != self._open)):
            return False
        if self._may_think and head.startswith(self._open):
            self._held, self._state, self._fresh = head[len(self._open) :], self._thought, True
            return True
        bare = tuple(form for form in self._forms if form.begins)
        if bare and not head:
            return False
        for form in bare:
            if form.begins and head[0] == form.begins:
                self._begin_call(form, len(self._held) - len(head))
                return True
        if self._fresh and not head:
            return False
        self._held = head if self._fresh else self._held
        self._state, self._fresh = self._text, False
        return True

    def _thought(self) -> bool:
        end = self._held.find(self._close)
        if end >= 0:
            self._say(Thought(self._begun(self._held[:end]).rstrip(SPACE)))
            self._held = self._held[end + len(self._close) :]
            self._state, self._may_think, self._fresh = self._start, False, True
            return True
        certain = len(self._held[: _unmarked(self._held, (self._close,))].rstrip(SPACE))
        if certain:
            self._say(Thought(self._begun(self._held[:certain])))
            self._held = self._held[certain:]
        return False

    def _begun(self, text: str) -> str:
        """Without the white space at the beginning of the reasoning."""
        text = text.lstrip(SPACE) if self._fresh else text
        self._fresh = self._fresh and not text
        return text

    def _text(self) -> bool:
        """Give what no marker can swallow."""
        found = [(at, marker) for marker in self._markers if (at := self._held.find(marker)) >= 0]
        start, marker = min(found, key=lambda each: (each[0], -len(each[1])), default=(-1, ""))
        safe = start if start >= 0 else _unmarked(self._held, self._markers)
        certain = len(self._held[:safe].rstrip(SPACE)) if self._markers else safe
        if certain:
            self._say(Text(self._held[:certain]))
            self._held = self._held[certain:]
            self._after_call = False
        if start < 0:
            return False
        if marker in self._dropped:
            self._held = self._held[start - certain + len(marker) :]
            return True
        form = next(form for form in self._forms if form.opens == marker)
        self._begin_call(form, start - certain + len(marker))
        return True

    def _begin_call(self, form: Form, inner: int) -> None:
        self._form, self._inner, self._searched, self._end = form, inner, inner, ValueEnd()
        self._state = self._content

    def _content(self) -> bool:
        """Look for the call's end; a closing marker inside of a string is none."""
        assert self._form is not None
        form = self._form
        if not form.closes:
            end = self._end.feed(self._held[self._searched :])
            at, after = (-1, 0) if end < 0 else (self._searched + end, self._searched + end)
            self._searched = len(self._held)
        else:
            at = self._held.find(form.closes, self._searched)
            after = at + len(form.closes)
            self._searched = after if at >= 0 else max(self._inner, len(self._held) - len(form.closes) + 1)
        if at < 0:
            return False
        content = self._held[self._inner : at]
        if not form.closes or not _in_string(content):
            self._close_call(form, form.read(content), after)
        return True

    def _close_call(self, form: Form, found: list[tuple[str, str]] | None, after: int) -> None:
        if found is None:
            self._say(Text(self._held[:after]))
        else:
            self._call(found)
        self._held, self._form, self._after_call = self._held[after:], None, found is not None
        again = found is not None and form.between
        self._state, self._ignored = (self._start, SPACE + form.between) if again else (self._text, SPACE)


def _unmarked(text: str, markers: tuple[str, ...]) -> int:
    """Length of the beginning that cannot be part of a marker which is still to be finished."""
    longest = min(max(map(len, markers), default=1) - 1, len(text))
    unsure = (n for n in range(longest, 0, -1) if any(marker.startswith(text[-n:]) for marker in markers))
    return len(text) - next(unsure, 0)


def _in_string(text: str) -> bool:
    """Whether a JSON string is open at the end of `text`."""
    return text.replace("\\\\", "").replace('\\"', "").count('"') % 2 == 1
