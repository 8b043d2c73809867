"""Steps in order, inline and one ahead: the same answers, and nothing runs on after a failure."""

from __future__ import annotations

import pytest

from colonnade.engine.folder import ModelFolder
from colonnade.engine.limits import Limits
from colonnade.engine.oracle import OracleWorker
from colonnade.engine.pipeline import Ahead, Inline, Pipeline
from colonnade.engine.scheduler import Scheduler
from colonnade.engine.step import Result, Step, Worker
from colonnade.engine.worker import LoadedWorker, load_worker
from colonnade.wire.messages import Delta, Grammar, Sampling, Submit
from colonnade.wire.settings import EngineSettings


class Fragile(OracleWorker):
    """Raises at the third step, and counts those that it ran."""

    ran = 0

    def run(self, step: Step) -> Result:
        self.ran += 1
        if self.ran == 3:
            raise RuntimeError("fragile")
        return super().run(step)


@pytest.fixture(scope="module")
def loaded() -> LoadedWorker:
    return load_worker(ModelFolder.open("colonnade-tiny"), EngineSettings(kv_tokens=256, max_running=4))


def drive(scheduler: Scheduler, pipeline: Pipeline) -> tuple[list[Delta], int]:
    """All deltas, and the most steps that were under way at once: as `engine.process` does it."""
    deltas: list[Delta] = []
    deepest = 0
    while scheduler.has_work:
        step = scheduler.plan()
        if step is not None:
            pipeline.start(step)
        deepest = max(deepest, pipeline.depth)
        if pipeline.depth > (0 if step is None else pipeline.ahead):
            _, result = pipeline.finish()
            deltas += scheduler.fail("failed") if isinstance(result, Exception) else scheduler.commit(result)
    scheduler.validate()
    return deltas, deepest


def texts(deltas: list[Delta]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for delta in deltas:
        found.setdefault(delta.key, []).extend(delta.tokens)
    return found


def requests() -> list[Submit]:
    """More than fit at once, so that some are retracted; one is held to a grammar."""
    held = Sampling(seed=9, temperature=0.8, max_tokens=30, grammar=Grammar("regex", "[a-z ]{5,60}"))
    plain = [Sampling(seed=i, temperature=0.8 * (i % 2), max_tokens=40 + i) for i in range(6)]
    return [Submit(f"r{i}", [30 + i, *range(40, 70)], each) for i, each in enumerate([*plain, held])]


def answers(worker: Worker, pipeline: type[Inline | Ahead]) -> tuple[dict[str, list[int]], int]:
    scheduler = Scheduler(Limits(pages=256, max_context=200, vocab_size=1024, max_running=4, prefill_chunk=16))
    for submit in requests():
        assert scheduler.submit(submit) is None
    deltas, deepest = drive(scheduler, pipeline(worker))
    return texts(deltas), deepest


def test_one_ahead_gives_the_same_answers(loaded: LoadedWorker) -> None:
    alone, first = answers(loaded.worker, Inline)
    ahead, second = answers(loaded.worker, Ahead)
    assert (first, second) == (1, 2)
    assert ahead == alone


@pytest.mark.parametrize("pipeline", [Inline, Ahead])
def test_after_a_failure_nothing_is_under_way(pipeline: type[Inline | Ahead]) -> None:
    worker = Fragile(2, 64, 50)
    scheduler = Scheduler(Limits(pages=64, max_context=40, vocab_size=50, max_running=2))
    scheduler.submit(Submit("only", [1, 2, 3], Sampling(max_tokens=10)))
    deltas, _ = drive(scheduler, pipeline(worker))
    assert [delta.finish for delta in deltas if delta.finish] == ["error"]
    assert worker.ran == 3 + pipeline.ahead, "what was behind it has run as well"
    assert not scheduler.has_work
