"""Steps on their way to the worker and back, in order: one at a time, or one ahead.

    inline     plan 1 · run 1 · commit 1 · plan 2 · run 2 · commit 2
    ahead      this thread   plan 1 · plan 2 ·   commit 1 · plan 3 ·   commit 2 · …
               the worker's           run 1 ──────────── run 2 ──────────── run 3 …

A plan needs no token values (`engine.scheduler`), so with a worker on a thread of its own the next step waits for it,
not it for the next step. It gains where the forward pass lets go of the interpreter for much longer than the rest
takes; of a short pass on the same cores it takes more than it gives (`proofs/overlap.py`).
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

from colonnade.engine.step import Result, Step, Worker


class Pipeline(Protocol):
    ahead: int
    """Steps that may be under way beside the oldest."""

    @property
    def depth(self) -> int:
        """Steps under way."""
        ...

    def start(self, step: Step) -> None: ...

    def finish(self) -> tuple[Step, Result | Exception]:
        """The oldest step, and what came of it; waits for it. After an exception nothing is under way: what was behind
        it has run as well, and is forgotten."""
        ...


class Inline:
    """Runs a step when its result is asked for."""

    ahead = 0

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._step: Step | None = None

    @property
    def depth(self) -> int:
        return int(self._step is not None)

    def start(self, step: Step) -> None:
        assert self._step is None
        self._step = step

    def finish(self) -> tuple[Step, Result | Exception]:
        step, self._step = self._step, None
        assert step is not None
        return step, _run(self._worker, step)


class Ahead:
    """Runs steps one after the other on a thread of its own."""

    ahead = 1

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._thread = ThreadPoolExecutor(1, "steps")
        self._under_way: deque[tuple[Step, Future[Result | Exception]]] = deque()

    @property
    def depth(self) -> int:
        return len(self._under_way)

    def start(self, step: Step) -> None:
        self._under_way.append((step, self._thread.submit(_run, self._worker, step)))

    def finish(self) -> tuple[Step, Result | Exception]:
        step, future = self._under_way.popleft()
        result = future.result()
        if isinstance(result, Exception):
            while self._under_way:
                self._under_way.popleft()[1].result()
        return step, result


def _run(worker: Worker, step: Step) -> Result | Exception:
    """The fault boundary: whatever is raised concerns this step alone."""
    if not step.chunks and not step.admits:
        return Result(step.number, ())
    try:
        return worker.run(step)
    except Exception as error:
        return error
