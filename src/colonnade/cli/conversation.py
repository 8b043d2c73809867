"""A conversation as it goes: what was said, and what a line typed means. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Meaning = Literal["say", "reset", "quit", "help", "nothing", "unknown"]

HELP = "/reset forgets the conversation, /quit (or Ctrl-D) ends it, Ctrl-C stops an answer"


def meaning(line: str) -> Meaning:
    """Of one line typed. What starts with a slash is a command; `//text` says `/text`."""
    word = line.strip()
    if not word:
        return "nothing"
    if not word.startswith("/") or word.startswith("//"):
        return "say"
    match word.split()[0]:
        case "/reset":
            return "reset"
        case "/quit" | "/exit":
            return "quit"
        case "/help":
            return "help"
        case _:
            return "unknown"


@dataclass(slots=True)
class Conversation:
    """Messages in order; an answer that broke off takes back the question it was for."""

    system: str = ""
    messages: list[dict[str, str]] = field(default_factory=list[dict[str, str]])

    def ask(self, text: str) -> list[dict[str, str]]:
        """The messages to send."""
        said = text.strip()
        self.messages.append({"role": "user", "content": said.removeprefix("/") if said.startswith("//") else said})
        head = [{"role": "system", "content": self.system}] if self.system else []
        return [*head, *self.messages]

    def answered(self, text: str) -> None:
        self.messages.append({"role": "assistant", "content": text})

    def take_back(self) -> None:
        """Forget the last question, which has no answer."""
        assert self.messages
        assert self.messages[-1]["role"] == "user"
        self.messages.pop()

    def reset(self) -> None:
        self.messages.clear()
