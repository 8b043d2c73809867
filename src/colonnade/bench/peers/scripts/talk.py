"""How a peer's process talks: lines of JSON, requests in on stdin, answers out on what was stdout.

    {"folder", "gguf", "precision", "threads", "together", "cache_tokens"}      -> {"version": ..., "note": ...}
    {"requests": [{"prompt": [ids], "tokens": n}, ...], "together": k}           -> {"began": t, "answers": [...]}

An answer is {"tokens": [ids], "times": [seconds]}: when each token was there, by the clock that `began` is of.
Libraries print to stdout: their words go to stderr.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol


class Answer:
    """Of one request, as it grows. Tokens that come together get the same time."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.times: list[float] = []

    def add(self, tokens: list[int]) -> None:
        now = time.perf_counter()
        self.tokens += tokens
        self.times += [now] * len(tokens)


class Peer(Protocol):
    version: str
    note: str

    def answer(self, requests: list[dict[str, Any]], together: int) -> list[Answer]:
        """All of them, `together` at a time; greedy, and as many tokens as asked whatever they are."""
        ...


def talk(start: Callable[[dict[str, Any]], Peer]) -> None:
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    peer = start(json.loads(sys.stdin.readline()))
    _say(out, {"version": peer.version, "note": peer.note})
    for line in sys.stdin:
        asked = json.loads(line)
        began = time.perf_counter()
        answers = peer.answer(asked["requests"], asked["together"])
        _say(out, {"began": began, "answers": [vars(each) for each in answers]})
    os._exit(0)  # threads of the libraries must not keep it


def _say(out: Any, value: object) -> None:
    out.write(json.dumps(value) + "\n")
    out.flush()
