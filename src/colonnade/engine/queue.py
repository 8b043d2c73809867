"""Who of those that wait goes in next: the longest prefix in the cache first, and nobody overtaken for ever. Pure.

The queue is by seniority: priority, then arrival. Between priorities the order is strict. Of the highest that waits,
the first `window` requests are looked at, and the one that finds most of itself in the cache goes first; of equals, the
senior. Each request counts who overtook it; one that was overtaken `patience` times lets nobody past any more, so that
in a queue of one priority a request enters at the latest after those that arrived before it and `patience` others. Nor
does one that ran before and had to go back to the queue: its client is in the middle of an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from colonnade.engine.request import Request


class Policy:
    """`saved` tells how many tokens of a request the cache holds."""

    def __init__(self, window: int, patience: int) -> None:
        self.window = window
        self.patience = patience

    def order(self, queue: Sequence[Request], saved: Callable[[Request], int]) -> list[Request]:
        """Who may go in now, the best first; never empty unless the queue is."""
        open_to_all = self._candidates(queue)
        if len(open_to_all) < 2:
            return open_to_all
        return sorted(open_to_all, key=saved, reverse=True)  # stable: of equals, the senior

    def leaves(self, queue: Sequence[Request], request: Request) -> None:
        """`request` is about to leave the queue: those before it were overtaken."""
        for other in queue:
            if other is request:
                return
            other.overtaken += 1

    def _candidates(self, queue: Sequence[Request]) -> list[Request]:
        """The first of the queue, as far as one may pass those before it."""
        found: list[Request] = []
        for request in queue[: self.window]:
            if found and request.priority != found[0].priority:
                break
            found.append(request)
            if request.overtaken >= self.patience or request.begun:
                break
        return found
