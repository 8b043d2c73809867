"""Is a foreign engine there, and does it make progress? Pure: what was seen and `now` come in.

Gone: its port refused us twice in a row, or its process has ended. Stalled: for `limit` seconds, with requests of ours
in flight, nothing of it moved: no part of an answer came, and its own counters stood. Its count of running requests
decides nothing: engines are known to have hung with a count of 0. Slow to answer is neither. An answer that is no
stream shows nothing until its end: where the engine has no counters, either, it is not judged by.

`steps` is what our gateways watch (`Load.steps`), and they are less patient than `limit`: they know of engines that
compute a long prompt in chunks. So it moves with each sign of progress, and with each look while the silence is still
within the limit; then it stands.
"""

from __future__ import annotations

REFUSALS = 2


class Vitals:
    """All times in seconds of one clock."""

    def __init__(self, limit: float, now: float) -> None:
        self.limit = limit
        self.steps = 0
        self.in_flight = 0
        self.gone = ""
        """Why it is, when it is."""
        self._streams = 0
        self._since = now  # the last sign, or when work came in
        self._work: int | None = None
        self._refused = 0

    def moved(self, count: int, now: float) -> None:
        """Parts of answers came."""
        self.steps += count
        self._since = now

    def carries(self, in_flight: int, streams: int, now: float) -> None:
        """How many requests of ours it has, and how many of them are streams."""
        if (not self.in_flight and in_flight) or (not self._streams and streams):
            self._since = now
        self.in_flight, self._streams = in_flight, streams

    def looked(self, work: int | None, now: float) -> None:
        """It answered a look at its metrics or health; `work` as its metrics count it."""
        self._refused = 0
        if work is not None and self._work is not None and work != self._work:
            self._since = now
        self._work = work if work is not None else self._work
        if self.in_flight and not self.stalled(now):
            self.steps += 1

    def silent(self, now: float) -> None:
        """A look was not answered in time."""
        if self.in_flight and not self.stalled(now):
            self.steps += 1

    def refused(self, why: str) -> None:
        """There was nobody to look at."""
        self._refused += 1
        if self._refused >= REFUSALS:
            self.ended(why)

    def ended(self, why: str) -> None:
        self.gone = self.gone or why

    def quiet(self, now: float) -> float:
        """Seconds without a sign while there is work that gives signs; else 0."""
        judged = self._streams if self._work is None else self.in_flight
        return now - self._since if judged else 0.0

    def stalled(self, now: float) -> bool:
        return self.quiet(now) > self.limit
