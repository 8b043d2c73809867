"""What a server that is up is introduced with: its URL, its key, and a line to paste. Pure."""

from __future__ import annotations

import json
import shlex

import msgspec

QUESTION = "Hi, I would like to book an appointment for Maria Lopez on Tuesday at 3pm"


class Greeting(msgspec.Struct, frozen=True):
    """`key` is empty where none is asked for."""

    url: str
    key: str
    model: str
    pid: int
    package: bool = False
    """What is served is a package: it is asked by its path."""

    @property
    def curl(self) -> str:
        """One line for a POSIX shell."""
        messages = [{"role": "user", "content": QUESTION}]
        body = json.dumps({"model": self.model, "messages": messages, "max_tokens": 200})
        path = "/v1/chat/completions"
        if self.package:
            body, path = "{}", f"/v1/models/{self.model}:predict"
        words = ["curl", "-s", f"{self.url}{path}"]
        if self.key:
            words += ["-H", f"Authorization: Bearer {self.key}"]
        words += ["-H", "Content-Type: application/json", "-d", body]
        return shlex.join(words)

    def fields(self) -> dict[str, str | int]:
        return {"url": self.url, "key": self.key, "model": self.model, "pid": self.pid, "curl": self.curl}

    def text(self) -> str:
        key = self.key or "none is asked for"
        return f"\n  url    {self.url}\n  model  {self.model}\n  key    {key}\n\n{self.curl}\n"
