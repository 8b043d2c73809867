"""Chats to prompts, by the model's own template, in a process that is killed when it takes too long."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from colonnade.replica.killable import Died, Killable
from colonnade.replica.spare import Spares
from colonnade.replica.template_process import Rendered
from colonnade.wire.errors import InvalidRequest

_SIMPLER = "send fewer or simpler messages, or raise template_timeout or template_memory"


class Text(NamedTuple):
    """A prompt. `ends[n]`: how many characters it shares with the rendering of the first n messages alone, for those n
    that were asked for and could be rendered."""

    text: str
    ends: dict[int, int]


class Templates:
    """`argv` starts the process, unless one of the `spares` is it; `timeout` in seconds."""

    def __init__(self, argv: Sequence[str], timeout: float, spares: Spares | None = None) -> None:
        self._process = Killable(argv, "renders chat templates", spares)
        self._timeout = timeout

    async def start(self) -> None:
        await self._process.start()

    async def render(
        self,
        messages: list[dict[str, Any]],
        tools: list[dict[str, Any]] | None,
        created: int,
        thinks: bool | None = None,
        counts: Sequence[int] = (),
    ) -> Text:
        """As `ChatTemplate.render`, and the `ends` of so many messages: where these take too much, there are none.

        Raises InvalidRequest also for a prompt that takes too much, Internal where none can run."""
        try:
            asked = json.dumps([[messages, tools, created, thinks], list(counts)]).encode()
        except (ValueError, RecursionError) as error:  # a number of thousands of digits, say
            raise InvalidRequest(f"messages: {error}", param="messages", code="template_error") from error
        try:
            came = await self._process.answers(asked, self._timeout, 2)
        except TimeoutError as error:
            raise _too_much(f"rendering them takes longer than {self._timeout:g} s") from error
        except Died as error:
            raise _too_much("rendering them takes more memory than it may") from error
        rendered = msgspec.msgpack.decode(came[0], type=Rendered)
        if rendered.refusal:
            raise InvalidRequest(rendered.refusal, param="messages", code="template_error")
        return Text(rendered.text, msgspec.msgpack.decode(came[1], type=dict[int, int]) if len(came) > 1 else {})

    async def stop(self) -> None:
        await self._process.stop()


def _too_much(why: str) -> InvalidRequest:
    return InvalidRequest(f"messages: {why}", param="messages", code="template_error", hint=_SIMPLER)
