from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.engine.config import EngineConfig
from colonnade.engine.limits import Limits
from colonnade.engine.oracle import OracleWorker, continuation
from colonnade.engine.scheduler import Scheduler
from colonnade.engine.step import Drawn, Result, Step
from colonnade.wire.messages import Delta, Load, Namespace, Refused, Sampling, Submit
from colonnade.wire.settings import EngineSettings, ReplicaSettings

VOCAB = 97


class Bench:
    """A scheduler and an oracle, driven by hand."""

    def __init__(self, **limits: Any) -> None:
        usual: dict[str, Any] = {"pages": 256, "max_context": 200, "vocab_size": VOCAB, "extent": 4}
        self.limits = Limits(**(usual | limits))
        self.scheduler = Scheduler(self.limits)
        self.worker = OracleWorker(self.limits.max_running, self.limits.pages, VOCAB)
        self.submits: dict[str, Submit] = {}
        self.deltas: dict[str, list[Delta]] = {}

    def submit(self, key: str, prompt: list[int], max_tokens: int = 4, **more: Any) -> Refused | None:
        sampling = Sampling(max_tokens=max_tokens, **more.pop("sampling", {}))
        self.submits[key] = Submit(key, prompt, sampling, **more)
        return self.scheduler.submit(self.submits[key])

    def plan(self) -> Step:
        step = self.scheduler.plan()
        assert step is not None
        return step

    def finish(self, step: Step) -> list[Delta]:
        return self.hear(self.scheduler.commit(self.worker.run(step)))

    def hear(self, deltas: list[Delta]) -> list[Delta]:
        self.scheduler.validate()
        for delta in deltas:
            self.deltas.setdefault(delta.key, []).append(delta)
        return deltas

    def step(self) -> list[Delta]:
        return self.finish(self.plan())

    def rest(self) -> None:
        """All that is left to do."""
        while (step := self.scheduler.plan()) is not None:
            self.finish(step)
        assert not self.scheduler.has_work

    def output(self, key: str) -> list[int]:
        return [token for delta in self.deltas[key] for token in delta.tokens]

    def expected(self, key: str) -> list[int]:
        submit = self.submits[key]
        whole, _ = continuation(
            submit.prompt, submit.sampling, submit.choice, vocab_size=VOCAB, context=self.limits.context
        )
        return whole[len(submit.replay) :]

    def right(self, *keys: str) -> bool:
        return all(self.output(key) == self.expected(key) for key in keys)


def lengths(step: Step) -> list[int]:
    return [len(chunk.pages) for chunk in step.chunks]


def test_a_request_runs_from_prompt_to_end() -> None:
    bench = Bench()
    assert bench.submit("a", [1, 2, 3], max_tokens=2) is None
    step = bench.plan()
    assert step.admits[0].tokens == (1, 2, 3)
    assert (lengths(step), step.chunks[0].sample) == ([3], True)
    (first,) = bench.finish(step)
    assert (first.position, first.finish) == (0, None)
    (last,) = bench.step()
    assert (last.position, last.finish) == (1, "length")
    assert bench.right("a")
    assert bench.scheduler.plan() is None
    assert bench.scheduler.load() == Load(pages_used=4, pages_cached=4, pages_total=256, steps=2, slots=32)


def test_decodes_go_first_and_prompts_fill_the_step() -> None:
    bench = Bench(step_tokens=10, prefill_chunk=6)
    bench.submit("a", [1], max_tokens=20)
    bench.step()
    bench.submit("b", list(range(2, 22)))
    bench.submit("c", list(range(30, 40)))
    assert lengths(bench.plan()) == [1, 6, 3]
    assert bench.scheduler.load() == Load(3, 0, 3 + 20 + 10, 1 + 4 + 20 + 10, 0, 256, 2, prefill=21, slots=32)


def test_without_budget_decodes_wait_their_turn() -> None:
    bench = Bench(step_tokens=2)
    for key in "abc":
        bench.submit(key, [ord(key) % VOCAB], max_tokens=3)
    bench.rest()
    assert bench.right(*"abc")


def test_a_prompt_seen_before_is_found_but_for_its_last_token() -> None:
    bench = Bench()
    for key in "ab":
        bench.submit(key, [5, 6, 7, 8], choice=ord(key))
        bench.rest()
    assert [bench.deltas[key][0].cached for key in "ab"] == [0, 3]
    assert all(not delta.cached for delta in bench.deltas["b"][1:])
    assert bench.right("a", "b")


def test_a_prompt_is_found_while_the_first_still_runs() -> None:
    bench = Bench()
    bench.submit("a", [5, 6, 7, 8], max_tokens=30)
    bench.step()
    bench.submit("b", [5, 6, 7, 9])
    assert bench.plan().admits[0].pages == (0, 1, 2)


def test_the_same_prompt_twice_at_once_ends_with_one_copy() -> None:
    bench = Bench()
    bench.submit("a", [5, 6, 7], max_tokens=1)
    bench.submit("b", [5, 6, 7], max_tokens=2, choice=1)
    bench.rest()
    assert bench.right("a", "b")
    assert bench.scheduler.load().pages_used == 4


def test_choices_of_one_prompt_wait_for_the_first_to_compute_it() -> None:
    bench = Bench(prefill_chunk=30)
    prompt = list(range(50))
    for choice, key in enumerate("abcd"):
        bench.submit(key, prompt, choice=choice)
    bench.submit("other", prompt, namespace=Namespace("elsewhere"))
    steps = [bench.plan()]
    while len(steps) < 3:
        bench.finish(steps[-1])
        steps.append(bench.plan())
    assert [sorted(lengths(step)) for step in steps] == [[30, 30], [20, 20], [1, 1, 1, 1, 1]]
    bench.finish(steps[-1])
    bench.rest()
    assert bench.right(*"abcd", "other")


def test_none_waits_for_a_short_prompt_or_without_a_cache() -> None:
    for limits, length in (({}, 20), ({"prefix_cache": False}, 50)):
        bench = Bench(**limits)
        for choice, key in enumerate("ab"):
            bench.submit(key, list(range(length)), choice=choice)
        assert lengths(bench.plan()) == [length, length]


def test_without_a_prefix_cache_nothing_is_kept() -> None:
    bench = Bench(prefix_cache=False)
    for key in "ab":
        bench.submit(key, [5, 6, 7, 8])
        bench.rest()
        assert bench.scheduler.load().pages_used == 0
    assert bench.deltas["b"][0].cached == 0


def test_a_stop_token_ends_and_is_told() -> None:
    bench = Bench()
    bench.submit("probe", [1, 2], max_tokens=9)
    stop = bench.expected("probe")[3]
    bench.submit("a", [1, 2], max_tokens=9, sampling={"stop_token_ids": (stop,)})
    bench.rest()
    assert bench.deltas["a"][-1].finish == "stop"
    assert bench.output("a")[-1] == stop
    assert bench.right("a", "probe")


def test_the_context_ends_what_max_tokens_does_not() -> None:
    bench = Bench(pages=10)
    bench.submit("a", [1, 2, 3], max_tokens=500)
    bench.rest()
    assert len(bench.output("a")) == 7
    assert bench.deltas["a"][-1].finish == "length"


def test_priority_goes_before_arrival() -> None:
    bench = Bench(max_running=1)
    for key, priority in (("a", 0), ("b", 0), ("c", 1)):
        bench.submit(key, [1], priority=priority)
    bench.rest()
    assert list(bench.deltas) == ["c", "a", "b"]


def test_none_overtakes_one_that_does_not_fit() -> None:
    bench = Bench(pages=40)
    bench.submit("a", list(range(20)), max_tokens=15)
    bench.step()
    bench.submit("large", list(range(50, 70)))
    bench.submit("small", [1])
    bench.step()
    assert bench.scheduler.load().waiting == 2
    bench.rest()
    assert bench.right("a", "large", "small")


def test_the_junior_gives_way_and_goes_on_as_if_nothing_had_happened() -> None:
    bench = Bench(pages=40, extent=1)
    bench.submit("a", list(range(10)), max_tokens=25)
    bench.submit("b", list(range(50, 60)), max_tokens=25)
    bench.rest()
    assert bench.scheduler.retractions
    assert bench.right("a", "b")
    assert [delta.finish for delta in bench.deltas["b"]].count("length") == 1


def test_a_junior_in_a_step_is_waited_for() -> None:
    bench = Bench(pages=12, extent=1)
    bench.submit("a", [1, 2, 3, 4], max_tokens=8)
    bench.submit("b", [5, 6, 7, 8], max_tokens=8)
    while bench.scheduler.load().pages_used < 12:
        first = bench.plan()
        if bench.scheduler.load().pages_used < 12:
            bench.finish(first)
    assert bench.scheduler.plan() is None
    assert not bench.scheduler.retractions
    bench.finish(first)
    assert len(bench.plan().chunks) == 1
    assert bench.scheduler.retractions == 1


def test_a_junior_that_finds_no_page_goes_back_by_itself() -> None:
    bench = Bench(pages=12, extent=1)
    bench.submit("a", [1, 2, 3, 4], max_tokens=8)
    bench.submit("b", [5, 6, 7], max_tokens=8)
    bench.rest()
    assert bench.scheduler.retractions
    assert bench.right("a", "b")


def test_a_junior_that_prefills_gives_way_too() -> None:
    bench = Bench(pages=40, extent=1, prefill_chunk=2)
    bench.submit("a", [1, 2], max_tokens=30)
    bench.step()
    bench.submit("b", list(range(40, 75)))
    bench.rest()
    assert bench.scheduler.retractions
    assert bench.right("a", "b")


def test_the_cache_gives_way_before_anyone_runs_short() -> None:
    bench = Bench(pages=30)
    for i in range(6):
        bench.submit(f"r{i}", [i, 50, 51, 52, 53, 54, 55, 56], max_tokens=8)
        bench.rest()
        assert bench.right(f"r{i}")
    assert not bench.scheduler.retractions


@pytest.mark.parametrize(
    ("prompt", "more", "code"),
    [
        ([], {}, "invalid_value"),
        ([VOCAB], {}, "invalid_value"),
        ([-1], {}, "invalid_value"),
        ([1], {"replay": [VOCAB]}, "invalid_value"),
        ([1], {"max_tokens": -1}, "invalid_value"),
        ([1] * 200, {}, "context_length_exceeded"),
        ([1] * 150, {"replay": [1] * 51}, "context_length_exceeded"),
    ],
)
def test_refuses_what_can_never_run(prompt: list[int], more: dict[str, Any], code: str) -> None:
    bench = Bench()
    refused = bench.submit("a", prompt, **more)
    assert refused is not None
    assert (refused.key, refused.code) == ("a", code)
    assert refused.hint
    assert not bench.scheduler.has_work


def test_names_the_knob_that_bounds_the_context() -> None:
    by_model, by_memory = Bench().submit("a", [1] * 300), Bench(pages=50).submit("a", [1] * 60)
    assert by_model is not None
    assert "max_context" in by_model.hint
    assert by_memory is not None
    assert "kv_tokens" in by_memory.hint


def test_refuses_when_too_many_wait_and_a_key_under_way() -> None:
    bench = Bench(max_waiting=2)
    assert [bench.submit(key, [1]) for key in "ab"] == [None, None]
    full, twice = bench.submit("c", [1]), bench.submit("a", [1])
    assert full is not None
    assert full.code == "overloaded"
    assert twice is not None
    assert twice.code == "conflict"


def test_a_replay_goes_on_where_it_stood() -> None:
    bench = Bench()
    bench.submit("whole", [1, 2, 3], max_tokens=8)
    bench.rest()
    bench.submit("rest", [1, 2, 3], max_tokens=8, replay=bench.output("whole")[:5])
    bench.rest()
    assert [delta.position for delta in bench.deltas["rest"]] == [5, 6, 7]
    assert bench.right("whole", "rest")


@pytest.mark.parametrize("length", [8, 5])
def test_a_whole_replay_ends_without_a_token(length: int) -> None:
    bench = Bench()
    bench.submit("a", [1, 2, 3], max_tokens=length)
    replay = bench.expected("a")
    stop = {"stop_token_ids": (replay[-1],)} if length == 5 else {}
    bench.submit("b", [1, 2, 3], max_tokens=8, replay=replay, sampling=stop)
    bench.rest()
    assert bench.deltas["b"] == [Delta("b", length, [], finish="stop" if stop else "length")]


def test_a_whole_replay_can_be_aborted() -> None:
    bench = Bench()
    bench.submit("a", [1], max_tokens=0)
    assert bench.scheduler.has_work
    bench.scheduler.abort("a")
    assert not bench.scheduler.has_work


def test_abort_frees_when_the_step_is_over() -> None:
    bench = Bench()
    bench.submit("a", [1, 2, 3])
    step = bench.plan()
    bench.scheduler.abort("a")
    bench.scheduler.validate()
    assert bench.scheduler.load().pages_used == 3
    assert bench.finish(step) == []
    assert bench.scheduler.load() == Load(pages_used=3, pages_cached=3, pages_total=256, steps=1, slots=32)
    assert not bench.scheduler.has_work


def test_abort_waits_for_the_last_step_that_writes() -> None:
    bench = Bench(extent=1)
    bench.submit("a", [1, 2, 3], max_tokens=9)
    first, second = bench.plan(), bench.plan()
    assert [(chunk.start, len(chunk.pages)) for chunk in second.chunks] == [(3, 1)]
    bench.scheduler.abort("a")
    assert bench.finish(first) == []
    assert bench.scheduler.load().pages_cached == 0
    assert bench.finish(second) == []
    assert bench.scheduler.load().pages_cached == bench.scheduler.load().pages_used == 3


def test_an_end_that_was_foreseen_takes_no_further_step() -> None:
    bench = Bench()
    bench.submit("a", [1, 2, 3], max_tokens=2)
    steps = [bench.plan(), bench.plan()]
    assert bench.scheduler.plan() is None
    for step in steps:
        bench.finish(step)
    assert bench.right("a")


def test_an_end_that_was_not_foreseen_takes_one() -> None:
    bench = Bench()
    bench.submit("a", [1, 2, 3], max_tokens=9)
    stop = bench.expected("a")[0]
    bench.submit("b", [1, 2, 3], max_tokens=9, sampling={"stop_token_ids": (stop,)})
    bench.scheduler.abort("a")
    first, second = bench.plan(), bench.plan()
    assert bench.finish(first)[0].finish == "stop"
    assert bench.finish(second) == []
    assert bench.output("b") == [stop]
    assert bench.scheduler.load().pages_cached == 4  # the stop token was computed, too


def test_abort_means_the_whole_id_and_frees_the_key() -> None:
    bench = Bench()
    for key in ("req-1", "req-10", "req-"):
        bench.submit(key, [1, 2])
    step = bench.plan()
    bench.scheduler.abort("req-1")
    bench.scheduler.abort("req-2")
    assert bench.submit("req-1", [7, 8]) is None
    bench.finish(step)
    bench.rest()
    assert bench.right("req-1", "req-10", "req-")


def test_abort_of_one_that_waits_or_idles() -> None:
    bench = Bench(max_running=1)
    bench.submit("a", [1, 2])
    bench.submit("b", [3])
    bench.scheduler.abort("b")
    bench.step()
    bench.scheduler.abort("a")
    assert bench.scheduler.has_work
    assert bench.scheduler.plan() is None
    assert not bench.scheduler.has_work
    assert list(bench.deltas) == ["a"]


def test_an_error_of_one_draw_ends_that_request() -> None:
    bench = Bench()
    bench.submit("a", [1, 2, 3])
    bench.submit("b", [4, 5, 6])
    step = bench.plan()
    drawn = bench.worker.run(step).drawn
    spoiled = Result(step.number, (Drawn(drawn[0].slot, 0, error="logits are not finite"), drawn[1]))
    bench.hear(bench.scheduler.commit(spoiled))
    assert bench.deltas["a"] == [Delta("a", 0, [], finish="error", reason="logits are not finite")]
    assert bench.scheduler.load().running == 1
    bench.rest()
    assert bench.right("b")
    assert bench.scheduler.cache.tree.size == 3 + 3


def test_a_step_that_fails_ends_the_guilty_and_nobody_else() -> None:
    bench = Bench(max_running=3)
    for key in ("a", "guilty", "c", "d"):
        bench.submit(key, [ord(key[0]) % VOCAB, 2, 3], max_tokens=6)
    alone: list[int] = []
    while (step := bench.scheduler.plan()) is not None:
        slots = {admit.slot for admit in step.admits if admit.tokens[0] == ord("g") % VOCAB}
        if slots & {chunk.slot for chunk in step.chunks}:
            alone.append(len(step.chunks))
            bench.hear(bench.scheduler.fail("broken"))
        else:
            bench.finish(step)
    assert alone == [3, 1]
    assert bench.deltas["guilty"] == [Delta("guilty", 0, [], finish="error", reason="broken")]
    assert bench.right("a", "c", "d")


def test_the_next_suspect_waits_for_the_step_of_the_one_before() -> None:
    bench = Bench()
    for key in "ab":
        bench.submit(key, [ord(key) % VOCAB])
    bench.plan()
    bench.scheduler.fail("broken")
    alone = bench.plan()
    assert len(alone.chunks) == 1
    assert bench.scheduler.plan() is None
    bench.finish(alone)
    bench.rest()
    assert bench.right(*"ab")


def test_prompts_begun_anew_share_the_budget() -> None:
    bench = Bench(step_tokens=4, prefix_cache=False)
    for key in "abc":
        bench.submit(key, [ord(key) % VOCAB], max_tokens=20)
    for _ in range(10):
        bench.step()
    bench.plan()
    bench.scheduler.fail("broken")
    for _ in range(3):
        bench.step()
    step = bench.plan()
    assert bench.scheduler.load().running == 3
    assert lengths(step) == [4]
    bench.finish(step)
    bench.rest()
    assert bench.right(*"abc")


def test_a_suspect_that_shared_pages_takes_the_place_of_a_junior() -> None:
    bench = Bench(pages=16, step_tokens=4, extent=1)
    for choice, key in enumerate("ab"):
        bench.submit(key, list(range(13)), max_tokens=2, choice=choice)
    while not bench.deltas:
        bench.step()
    bench.plan()
    bench.scheduler.fail("broken")
    bench.scheduler.drop()
    bench.rest()
    assert bench.right("a", "b")


def test_suspects_can_be_aborted() -> None:
    bench = Bench()
    for key in "ab":
        bench.submit(key, [ord(key) % VOCAB])
    bench.plan()
    bench.scheduler.abort("b")
    assert bench.hear(bench.scheduler.fail("broken")) == []
    bench.scheduler.abort("a")
    assert bench.scheduler.plan() is None
    assert not bench.scheduler.has_work


def test_dropping_empties_what_nobody_holds() -> None:
    bench = Bench()
    bench.submit("a", [1, 2, 3])
    bench.rest()
    bench.submit("b", [7, 8], max_tokens=9)
    bench.step()
    bench.scheduler.drop()
    load = bench.scheduler.load()
    assert (load.pages_cached, load.pages_used) == (0, 2)
    bench.rest()
    assert bench.right("b")


def test_leaked_pages_are_withdrawn_and_the_limits_follow() -> None:
    bench = Bench(pages=50)
    assert bench.scheduler.audit() == set()
    lost = bench.scheduler.cache.pages.take(10)
    assert bench.scheduler.load().pages_used == 10
    assert bench.scheduler.audit() == set(lost)
    assert (bench.scheduler.load().pages_used, bench.scheduler.load().pages_total) == (0, 40)
    bench.scheduler.validate()
    refused = bench.submit("a", [1] * 40)
    assert refused is not None
    bench.submit("b", [1] * 30, max_tokens=99)
    bench.rest()
    assert len(bench.output("b")) == 10


def test_the_limits_are_the_settings() -> None:
    engine = EngineSettings(max_running=3, step_tokens=7, prefill_chunk=5, prefix_cache=False)
    config = EngineConfig.of(engine, ReplicaSettings(max_waiting=2))
    assert config.limits(pages=9, max_context=8, vocab_size=4) == Limits(
        pages=9,
        max_context=8,
        vocab_size=4,
        max_running=3,
        max_waiting=2,
        step_tokens=7,
        prefill_chunk=5,
        prefix_cache=False,
    )


@pytest.mark.parametrize("other", [Namespace("b", "s"), Namespace("a", "t"), Namespace("a", "s", "lora"), Namespace()])
def test_prefixes_are_shared_within_one_tenant_salt_and_adapter_alone(other: Namespace) -> None:
    bench = Bench()
    for key, namespace in (("first", Namespace("a", "s")), ("same", Namespace("a", "s")), ("other", other)):
        bench.submit(key, [5, 6, 7, 8], namespace=namespace)
        bench.rest()
    assert [bench.deltas[key][0].cached for key in ("first", "same", "other")] == [0, 3, 0]


def test_prefixes_are_not_shared_across_weights() -> None:
    bench = Bench()
    for key, weights in (("a", "v1"), ("b", "v1"), ("c", "v2"), ("d", "v1")):
        bench.scheduler.weights = weights
        bench.submit(key, [5, 6, 7, 8])
        bench.rest()
    assert [bench.deltas[key][0].cached for key in "abcd"] == [0, 3, 0, 3]


@given(*[st.tuples(*[st.text(max_size=4) | st.sampled_from(["", "1:a,", "0:,"])] * 4)] * 2)
def test_cache_keys_are_equal_only_where_all_parts_are(left: tuple[str, ...], right: tuple[str, ...]) -> None:
    assert (left == right) == (Namespace(*left[:3]).key(left[3]) == Namespace(*right[:3]).key(right[3]))


def test_a_choice_of_an_answer_under_way_is_not_refused_because_many_wait() -> None:
    bench = Bench(max_waiting=1)
    assert bench.submit("a", [1]) is None
    refused = bench.submit("b", [2])
    assert refused is not None
    assert refused.code == "overloaded"
    assert bench.submit("c", [3], begun=True) is None


def test_of_those_that_wait_the_one_with_the_longest_cached_prefix_goes_first() -> None:
    bench = Bench(max_running=1, patience=1)
    bench.submit("a", [1, 2, 3, 4], max_tokens=1)
    bench.step()
    bench.submit("cold", [9, 9, 9, 9], max_tokens=1)
    bench.submit("warm", [1, 2, 3, 5], max_tokens=1)
    bench.submit("late", [1, 2, 3, 6], max_tokens=1)
    bench.rest()
    assert list(bench.deltas) == ["a", "warm", "cold", "late"]
    assert bench.right("a", "cold", "warm", "late")


def test_what_waits_for_a_prompt_under_way_holds_up_nobody_else() -> None:
    bench = Bench(prefill_chunk=30, step_tokens=64)
    prompt = list(range(50))
    bench.submit("a", prompt)
    bench.submit("b", prompt, choice=1)
    bench.submit("c", [7] * 5)
    assert lengths(bench.plan()) == [30, 5]
