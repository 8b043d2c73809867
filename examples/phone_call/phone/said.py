"""What the parts of a call say to each other, and to the caller's page beside the sound."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass
class Event:
    """`partial` and `turn` are the caller's words, `said` the desk's, `did` a tool's call and result as JSON; `stop`:
    throw away the sound that has not been played; `over`: the desk has spoken; `times`: seconds of an answer's
    stages."""

    kind: Literal["partial", "turn", "said", "did", "stop", "over", "times"]
    text: str = ""
    times: dict[str, float] = field(default_factory=dict[str, float])


@dataclass
class Understood:
    """Of a turn: the tool that is to be called, or if something is missing the `text` that asks for it. `message` is
    the model's, for the conversation."""

    message: dict[str, Any]
    text: str = ""
    tool: str = ""
    arguments: dict[str, str] = field(default_factory=dict[str, str])
