"""Changes are made between answers, never within one."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from colonnade.engine.changes import Changes
from colonnade.engine.limits import Limits
from colonnade.engine.oracle import OracleWorker
from colonnade.engine.scheduler import Scheduler
from colonnade.engine.servable import Servable
from colonnade.wire.errors import BadModel
from colonnade.wire.messages import Change, Changed, Declined, Refused, Sampling, Sleep, Submit, Update, Wake

LIMITS = Limits(pages=64, max_context=60)


@dataclass
class Book:
    """A holder that notes what it is told; a folder named `bad` or `worse` cannot be had."""

    fingerprint: str = "old"
    told: list[str | int] = field(default_factory=list[str | int])

    def update(self, folder: str) -> None:
        if folder == "bad":
            raise BadModel("no such weights", hint="others")
        if folder == "worse":
            raise OSError("disk")
        self.fingerprint = folder

    def sleep(self, level: int) -> None:
        self.told.append(level)

    def wake(self) -> None:
        self.told.append("wake")


class Bench:
    def __init__(self) -> None:
        self.book = Book()
        self.scheduler = Scheduler(LIMITS, weights="old")
        self.worker = OracleWorker(LIMITS.max_running, LIMITS.pages, 100)
        self.changes = Changes(Servable(self.worker, LIMITS, "old", {}, holder=self.book), self.scheduler)

    def submit(self, key: str) -> Refused | None:
        submit = Submit(key, [1, 2, 3, 4], Sampling(max_tokens=2))
        return self.changes.refusal(submit) or self.scheduler.submit(submit)

    def rest(self) -> list[int]:
        """How much of each came from the cache."""
        cached: list[int] = []
        while (step := self.scheduler.plan()) is not None:
            cached += [delta.cached for delta in self.scheduler.commit(self.worker.run(step))]
        return cached


def test_new_weights_find_no_prefix_of_the_old() -> None:
    bench = Bench()
    bench.submit("a")
    bench.rest()
    answer = bench.changes.make(Update(7, "new"))
    assert isinstance(answer, Changed)
    assert (answer.serial, answer.loaded.fingerprint) == (7, "new")
    assert bench.scheduler.load().pages_used == 0
    bench.submit("b")
    assert bench.rest()[0] == 0
    bench.submit("c")
    assert bench.rest()[0] == 3


@pytest.mark.parametrize("change", [Update(1, "new"), Sleep(1, 1), Wake(1)])
def test_nothing_changes_under_an_answer(change: Change) -> None:
    bench = Bench()
    bench.submit("a")
    answer = bench.changes.make(change)
    assert isinstance(answer, Declined)
    assert (answer.message, bench.book.told, bench.book.fingerprint) == ("requests are under way", [], "old")
    bench.scheduler.abort("a")
    assert isinstance(bench.changes.make(change), Changed)


@pytest.mark.parametrize(("folder", "message"), [("bad", "no such weights"), ("worse", "OSError: disk")])
def test_what_fails_is_declined_and_the_old_weights_serve_on(folder: str, message: str) -> None:
    bench = Bench()
    answer = bench.changes.make(Update(1, folder))
    assert isinstance(answer, Declined)
    assert answer.message == message
    assert bench.submit("a") is None
    assert bench.scheduler.weights == "old"


def test_asleep_it_takes_nothing_until_it_wakes() -> None:
    bench = Bench()
    assert isinstance(bench.changes.make(Sleep(1, 2)), Changed)
    refused = bench.submit("a")
    assert refused is not None
    assert (refused.code, refused.hint) == ("overloaded", "POST /wake_up wakes it")
    assert isinstance(bench.changes.make(Update(2, "new")), Declined)
    assert isinstance(bench.changes.make(Wake(3)), Changed)
    assert bench.submit("a") is None
    assert bench.book.told == [2, "wake"]


def test_an_engine_without_a_holder_says_so() -> None:
    scheduler = Scheduler(LIMITS)
    changes = Changes(Servable(OracleWorker(1, 1, 1), LIMITS, "", {}), scheduler)
    assert isinstance(changes.make(Wake(1)), Declined)
