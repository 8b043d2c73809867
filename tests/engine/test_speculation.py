"""Drafts on their way through the scheduler, step by step; the oracle says what is right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from seer import Seer
from test_scheduler import VOCAB, Bench, lengths

from colonnade.engine.config import EngineConfig
from colonnade.engine.drafter import Drafter, Proposal
from colonnade.engine.ngram import NgramDrafter
from colonnade.engine.scheduler import Scheduler
from colonnade.engine.step import Drawn, Result, Step
from colonnade.wire.messages import Delta, Namespace, Refused


class Drafting(Bench):
    """A bench with a drafter that errs as `mistakes` says."""

    def __init__(self, drafter: Drafter | None = None, **limits: Any) -> None:
        super().__init__(**limits)
        self.seer = Seer(VOCAB, self.limits.context)
        self.scheduler = Scheduler(self.limits, drafter or self.seer)

    def submit(
        self, key: str, prompt: list[int], max_tokens: int = 4, mistakes: Sequence[bool] = (False,), **more: Any
    ) -> Refused | None:
        refused = super().submit(key, prompt, max_tokens, **more)
        self.seer.learn(self.submits[key], mistakes)
        return refused

    def guesses(self, step: Step) -> list[int]:
        return [len(chunk.drafts) for chunk in step.chunks]


def drawn(deltas: list[Delta]) -> list[int]:
    return [len(delta.tokens) for delta in deltas]


def test_right_drafts_bring_many_tokens_a_step() -> None:
    bench = Drafting()
    bench.submit("a", [1, 2, 3], max_tokens=30)
    assert drawn(bench.step()) == [1]
    assert [drawn(bench.step())[0] for _ in range(3)] == [5, 9, 9]
    (last,) = bench.step()
    assert (len(last.tokens), last.position, last.finish) == (6, 24, "length")
    assert bench.right("a")
    load = bench.scheduler.load()
    assert (load.steps, load.drafted, load.accepted) == (5, 25, 25)
    assert not bench.seer.known


def test_wrong_drafts_bring_one_token_and_fewer_drafts() -> None:
    bench = Drafting()
    bench.submit("a", [1, 2, 3], max_tokens=7, mistakes=[True])
    bench.step()
    guesses = []
    while bench.scheduler.has_work:
        step = bench.plan()
        guesses += bench.guesses(step)
        assert drawn(bench.finish(step)) == [1]
    assert guesses == [4, 1, 1, 1, 1, 0]
    assert bench.right("a")
    assert (bench.scheduler.load().drafted, bench.scheduler.load().accepted) == (8, 0)


def test_a_draft_that_is_half_right_brings_its_half() -> None:
    bench = Drafting()
    bench.submit("a", [1, 2, 3], max_tokens=40, mistakes=[False, False, False, True])
    bench.step()
    assert drawn(bench.step()) == [3]
    step = bench.plan()
    assert bench.guesses(step) == [2]
    assert step.chunks[0].start == 3 + 3
    bench.finish(step)
    bench.rest()
    assert bench.right("a")


def test_rejected_tokens_never_reach_the_cache() -> None:
    bench = Drafting()
    bench.submit("a", [1, 2, 3], max_tokens=12, mistakes=[False, True])
    bench.rest()
    whole = [1, 2, 3, *bench.expected("a")]
    assert bench.scheduler.load().pages_used == bench.scheduler.load().pages_cached == 14  # the last is never computed
    assert bench.scheduler.cache.tree.known(Namespace().key(""), whole) == 14


def test_the_right_end_of_a_drafted_answer_is_cached() -> None:
    """Its last drafts were right up to a stop token that no draft held."""
    bench = Drafting()
    bench.submit("probe", [1, 2, 3], max_tokens=20)
    stop = bench.expected("probe")[9]
    bench.submit("a", [1, 2, 3], max_tokens=20, sampling={"stop_token_ids": (stop,)})
    bench.rest()
    assert bench.deltas["a"][-1].finish == "stop"
    assert bench.output("a") == bench.expected("probe")[: bench.expected("probe").index(stop) + 1]


def test_a_stop_token_among_the_draws_ends_it_there() -> None:
    """Were a worker to go on past one: what it drew behind is not taken."""
    bench = Drafting()
    bench.submit("probe", [1, 2, 3], max_tokens=20)
    bench.rest()
    answer = bench.expected("probe")
    bench.submit("a", [1, 2, 3], max_tokens=20, sampling={"stop_token_ids": (answer[2],)})
    bench.step()
    step = bench.plan()
    assert bench.guesses(step) == [1]
    slot = step.chunks[0].slot
    (delta,) = bench.hear(bench.scheduler.commit(Result(step.number, tuple(Drawn(slot, t) for t in answer[1:3]))))
    assert (delta.tokens, delta.finish) == (answer[1:3], "stop")


def test_what_is_taken_of_right_drafts_ends_with_the_answer() -> None:
    bench = Drafting(draft_tokens=3)
    bench.submit("a", [1, 2, 3], max_tokens=20)
    bench.step()
    step = bench.plan()
    request = bench.scheduler._running[0]
    answer = bench.expected("a")
    request.stops = frozenset([answer[2]])  # as if a drafter had looked past it
    (delta,) = bench.finish(step)
    assert (delta.tokens, delta.finish) == (answer[1:3], "stop")
    assert bench.scheduler.cache.tree.known(Namespace().key(""), [1, 2, 3, *answer]) == 6


def test_an_error_behind_right_drafts_ends_the_request_after_them() -> None:
    bench = Drafting()
    bench.submit("a", [1, 2, 3], max_tokens=20)
    bench.step()
    step = bench.plan()
    good = bench.worker.run(step).drawn[:2]
    spoiled = (*good, Drawn(good[0].slot, 0, error="logits are not finite"))
    some, error = bench.hear(bench.scheduler.commit(Result(step.number, spoiled)))
    assert (some.tokens, some.finish) == ([draw.token for draw in good], None)
    assert (error.position, error.finish, error.reason) == (3, "error", "logits are not finite")
    assert bench.scheduler.load().pages_used == 3


def test_an_error_at_once_ends_it_without_tokens() -> None:
    bench = Drafting()
    bench.submit("a", [1, 2, 3], max_tokens=20)
    bench.step()
    step = bench.plan()
    bad = Drawn(step.chunks[0].slot, 0, error="no")
    (error,) = bench.hear(bench.scheduler.commit(Result(step.number, (bad,))))
    assert (error.position, error.tokens, error.finish) == (1, [], "error")


def test_drafts_take_what_decoding_requests_leave() -> None:
    bench = Drafting(step_tokens=6, max_running=8)
    for key in "abcd":
        bench.submit(key, [ord(key) % VOCAB], max_tokens=9)
    while not all(len(bench.deltas.get(key, [])) for key in "abcd"):
        bench.step()
    step = bench.plan()
    assert lengths(step) == [3, 1, 1, 1]
    bench.finish(step)
    bench.rest()
    assert bench.right(*"abcd")


def test_a_prompt_chunk_is_no_longer_for_drafts() -> None:
    bench = Drafting(prefill_chunk=3)
    bench.submit("a", [1, 2, 3], max_tokens=12)
    bench.step()
    assert lengths(bench.plan()) == [3]


def test_nobody_is_retracted_for_a_draft() -> None:
    bench = Drafting(pages=10, extent=1, prefix_cache=False)
    bench.submit("a", [1, 2, 3], max_tokens=7)
    bench.submit("b", [4, 5], max_tokens=4)
    bench.step()
    assert bench.guesses(bench.plan()) == [0, 0]  # of ten pages seven are used, and more drafts than three wanted
    assert bench.scheduler.retractions == 0
    roomy = Drafting(pages=13, extent=1, prefix_cache=False)
    roomy.submit("a", [1, 2, 3], max_tokens=7)
    roomy.submit("b", [4, 5], max_tokens=4)
    roomy.step()
    assert roomy.guesses(roomy.plan()) == [4, 0]


def test_drafts_in_flight_wait_for_their_commit() -> None:
    bench = Drafting()
    bench.submit("a", [1, 2, 3], max_tokens=12)
    bench.step()
    drafted = bench.plan()
    assert bench.scheduler.plan() is None
    bench.submit("b", [7, 8], max_tokens=3)
    other = bench.plan()
    assert [chunk.slot for chunk in other.chunks] != [chunk.slot for chunk in drafted.chunks]
    bench.finish(drafted)
    bench.finish(other)
    bench.rest()
    assert bench.right("a", "b")


def test_a_token_in_flight_forbids_drafts() -> None:
    bench = Drafting()
    bench.submit("a", [1, 2, 3], max_tokens=12)
    first = bench.plan()
    second = bench.plan()
    assert bench.guesses(second) == [0]
    bench.finish(first)
    bench.finish(second)
    bench.rest()
    assert bench.right("a")


@pytest.mark.parametrize("alone", [True, False])
def test_a_failed_step_takes_its_drafts_with_it(alone: bool) -> None:
    bench = Drafting()
    bench.submit("a", [1, 2, 3], max_tokens=12)
    bench.step()
    if not alone:
        bench.submit("b", [7, 8], max_tokens=12)
    assert any(bench.guesses(bench.plan()))
    deltas = bench.hear(bench.scheduler.fail("broken"))
    assert [(delta.key, delta.finish) for delta in deltas] == ([("a", "error")] if alone else [])
    bench.rest()
    assert alone or bench.right("a", "b")
    assert bench.scheduler.load().drafted == bench.scheduler.load().accepted


def test_an_abort_while_drafts_are_in_flight() -> None:
    bench = Drafting()
    bench.submit("a", [1, 2, 3], max_tokens=12)
    bench.step()
    step = bench.plan()
    bench.scheduler.abort("a")
    assert bench.finish(step) == []
    assert bench.scheduler.load().pages_used == bench.scheduler.load().pages_cached == 4
    assert bench.scheduler.load().drafted == 0


@pytest.mark.parametrize("token", [-1, VOCAB])
def test_a_draft_outside_the_vocabulary_is_not_computed(token: int) -> None:
    class Wild(NgramDrafter):
        def propose(self, key: str, tokens: Sequence[int], count: int) -> Proposal:
            return Proposal((5, token, 5))

    bench = Drafting(Wild())
    bench.submit("a", [1, 2, 3], max_tokens=5)
    bench.step()
    assert bench.plan().chunks[0].drafts == (5,)


def test_a_copying_answer_takes_a_fraction_of_the_steps() -> None:
    """Over a vocabulary of one token every answer copies."""
    counts = []
    for drafter in (NgramDrafter(), None):
        bench = Bench(vocab_size=1)
        bench.worker.vocab_size = 1
        bench.scheduler = Scheduler(bench.limits, drafter)
        bench.submit("a", [0, 0, 0, 0], max_tokens=91)
        bench.rest()
        assert bench.output("a") == [0] * 91
        counts.append(bench.scheduler.steps)
    assert counts == [12, 91]


def test_settings_say_whether_and_how() -> None:
    off = EngineConfig(draft_rule="probability")
    assert (off.drafter(), off.facts(), off.fingerprint("f")) == (
        None,
        {"jump_forward": True, "speculation": "off"},
        "f",
    )
    coupled = EngineConfig(speculation="ngram", draft_tokens=3)
    assert isinstance(coupled.drafter(), NgramDrafter)
    drafts = {"speculation": "ngram", "draft_tokens": 3, "draft_rule": "coupled"}
    assert coupled.facts() == {"jump_forward": True} | drafts
    assert coupled.fingerprint("f") == "f"
    assert coupled.limits(pages=8, max_context=8, vocab_size=8).draft_tokens == 3
    assert EngineConfig(speculation="ngram", draft_rule="probability").fingerprint("f") == "f-probability"


# What a grammar foresees: the oracle does in its place, and errs at one position in seven (4, 11, 18, …).


class Foreseeing(Drafting):
    def __init__(self, foresight: int, drafter: Drafter | None = None, **limits: Any) -> None:
        super().__init__(drafter, **limits)
        self.worker.foresight = foresight


def test_what_is_foreseen_is_drafted_without_a_drafter_and_past_its_bound() -> None:
    bench = Foreseeing(12, draft_tokens=1)
    bench.scheduler = Scheduler(bench.limits)
    bench.submit("a", [1, 2, 3], max_tokens=30)
    assert drawn(bench.step()) == [1]
    step = bench.plan()
    assert bench.guesses(step) == [12]
    assert drawn(bench.finish(step)) == [3]
    bench.rest()
    assert bench.right("a")
    assert bench.scheduler.load().steps < 10
    assert bench.scheduler.load().accepted < bench.scheduler.load().drafted


def test_a_drafter_is_heard_where_it_agrees_and_knows_more() -> None:
    bench = Foreseeing(2)
    bench.submit("a", [1, 2, 3], max_tokens=30)
    bench.step()
    step = bench.plan()
    assert bench.guesses(step) == [4]
    bench.finish(step)
    bench.rest()
    assert bench.right("a")


def test_what_is_foreseen_goes_before_a_drafter_that_errs_and_tells_nothing_about_it() -> None:
    bench = Foreseeing(2)
    bench.submit("a", [1, 2, 3], max_tokens=30, mistakes=[True])
    bench.step()
    step = bench.plan()
    assert bench.guesses(step) == [2]
    assert drawn(bench.finish(step)) == [3]
    bench.worker.foresight = 0
    bench.step()
    assert bench.guesses(bench.plan()) == [4]


@pytest.mark.parametrize("room", [{"prefill_chunk": 1}, {"max_context": 5}])
def test_what_is_foreseen_needs_room(room: dict[str, int]) -> None:
    bench = Foreseeing(5, None, **room)
    bench.submit("a", [1, 2, 3], max_tokens=30)
    while bench.scheduler.has_work:
        step = bench.plan()
        assert bench.guesses(step) == [0]
        bench.finish(step)
    assert bench.right("a")
