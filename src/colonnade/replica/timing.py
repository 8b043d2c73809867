"""The times of one generation, told to the metrics as they happen."""

from __future__ import annotations

import time
from collections.abc import Callable

from colonnade.replica.generation import Generation
from colonnade.replica.metrics import Metrics


class Timing:
    """`left_queue` is called once, with the first token or at the end; `ended` once, at the end."""

    def __init__(
        self,
        metrics: Metrics,
        endpoint: str,
        left_queue: Callable[[], None],
        ended: Callable[[Generation], None],
    ) -> None:
        self._metrics = metrics
        self._endpoint = endpoint
        self._left_queue = left_queue
        self._ended = ended
        self._began = time.monotonic()
        self._last: dict[int, float] = {}

    def first_token(self) -> None:
        self._left_queue()
        self._metrics.ttft.observe(time.monotonic() - self._began)

    def tokens(self, choice: int, count: int) -> None:
        now = time.monotonic()
        last = self._last.get(choice)
        if last is not None and count:
            self._metrics.gap.observe((now - last) / count)
        self._last[choice] = now

    def over(self, generation: Generation, outcome: str) -> None:
        if not generation.started:
            self._left_queue()
        usage = generation.drawn
        self._metrics.requests.labels(self._endpoint, outcome).inc()
        self._metrics.tokens.labels("prompt").inc(usage.prompt)
        self._metrics.tokens.labels("cached").inc(usage.cached)
        self._metrics.tokens.labels("completion").inc(usage.completion)
        if outcome == "ok":
            self._metrics.whole.observe(time.monotonic() - self._began)
        self._ended(generation)
