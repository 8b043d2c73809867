"""The scheduler and the cache, proved by the token oracle: any schedule gives every request its closed-form output."""

from __future__ import annotations

from collections import deque

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from seer import Seer

from colonnade.engine.drafter import Drafter
from colonnade.engine.limits import Limits
from colonnade.engine.ngram import NgramDrafter
from colonnade.engine.oracle import OracleWorker, continuation, logprob, score
from colonnade.engine.radix import prefix_digest
from colonnade.engine.scheduler import Scheduler
from colonnade.engine.step import Result, Step
from colonnade.wire.messages import Delta, Logprob, Namespace, Removed, Sampling, Scoring, Stored, Submit

VOCAB = 11
STEMS = [[1, 2, 3, 4, 5, 6, 7, 8], [1, 2, 3, 9, 9], [1, 2, 3, 4, 5, 6, 0, 0, 0, 0, 0, 0, 0], [10]]
NAMESPACES = [Namespace(), Namespace("tenant-a"), Namespace(salt="tenant-a")]


limits = st.builds(
    Limits,
    pages=st.integers(8, 64),
    max_context=st.integers(12, 80),
    vocab_size=st.just(VOCAB),
    max_running=st.integers(1, 8),
    max_waiting=st.integers(2, 20),
    step_tokens=st.integers(1, 64),
    prefill_chunk=st.integers(1, 64),
    extent=st.integers(1, 16),
    worth_waiting=st.integers(1, 32),
    prefix_cache=st.booleans() | st.just(True),
    draft_tokens=st.integers(1, 9),
    score_bytes=st.sampled_from([1, 4 * VOCAB * 5, 1 << 20]),
)
samplings = st.builds(
    Sampling,
    seed=st.integers(0, 3),
    max_tokens=st.integers(0, 40),
    stop_token_ids=st.lists(st.integers(0, VOCAB - 1), max_size=1).map(tuple),
    logprobs=st.none() | st.integers(0, 2),
)


class Engine(RuleBasedStateMachine):
    """Random submissions, aborts and failures around `depth` steps in flight; drafts right, wrong and in part."""

    @initialize(
        limits=limits,
        depth=st.integers(1, 2),
        drafts=st.sampled_from(["none", "chains", "trees", "trees", "ngram"]),
        foresight=st.sampled_from([0, 0, 2, 9]),
    )
    def begin(self, limits: Limits, depth: int, drafts: str, foresight: int) -> None:
        self.limits, self.depth = limits, depth
        self.seer = Seer(VOCAB, limits.context, drafts == "trees")
        drafters: dict[str, Drafter | None] = {"none": None, "ngram": NgramDrafter(2)}
        self.drafter = drafters.get(drafts, self.seer)
        self.scheduler = Scheduler(limits, self.drafter)
        self.worker = OracleWorker(limits.max_running, limits.pages, VOCAB, foresight)
        self.in_flight: deque[Step] = deque()
        self.results: deque[Result] = deque()  # of the first of them
        self.open: dict[str, Submit] = {}
        self.tokens: dict[str, list[int]] = {}
        self.scores: dict[str, list[Logprob]] = {}
        self.cache: dict[bytes, int] = {}
        self.count = 0

    # What the world does

    @rule(
        stem=st.sampled_from(STEMS),
        tail=st.lists(st.integers(0, VOCAB - 1), max_size=12),
        sampling=samplings,
        choices=st.integers(1, 3),
        namespace=st.sampled_from(NAMESPACES),
        priority=st.integers(0, 1),
        replayed=st.integers(0, 12) | st.just(0),
        mistakes=st.lists(st.booleans(), min_size=1, max_size=7),
        scored_from=st.none() | st.integers(0, 20),
    )
    def submit(
        self,
        stem: list[int],
        tail: list[int],
        sampling: Sampling,
        choices: int,
        namespace: Namespace,
        priority: int,
        replayed: int,
        mistakes: list[bool],
        scored_from: int | None,
    ) -> None:
        for choice in range(choices):
            prompt = stem + tail
            whole, _ = self.expected(prompt, sampling, choice)
            key = f"r{self.count}"
            self.count += 1
            replay = whole[:replayed]
            scoring = None if scored_from is None or len(replay) == len(whole) else Scoring(scored_from)
            submit = Submit(key, prompt, sampling, choice, replay, namespace, priority, scoring=scoring)
            refused = self.scheduler.submit(submit)
            if refused is None:
                if len(submit.replay) < len(whole):
                    self.seer.learn(submit, mistakes)
                self.open[key], self.tokens[key], self.scores[key] = submit, list(submit.replay), []
            else:
                assert refused.key == key
                assert refused.hint
                assert refused.code in {"context_length_exceeded", "overloaded"}

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def abort(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.open)))
        self.scheduler.abort(key)
        del self.open[key]

    @rule()
    def drop(self) -> None:
        self.scheduler.drop()

    @rule(count=st.integers(1, 5))
    def turn(self, count: int) -> None:
        for _ in range(count):
            self.fill()
            self.commit()

    @rule(ahead=st.booleans())
    def plan(self, ahead: bool) -> None:
        self.advance(ahead)

    @rule()
    def commit(self) -> None:
        if self.in_flight:
            self.run()
            self.in_flight.popleft()
            for delta in self.scheduler.commit(self.results.popleft()):
                self.hear(delta)

    @precondition(lambda self: self.in_flight)
    @rule()
    def fail(self) -> None:
        self.in_flight.clear()
        self.results.clear()
        for delta in self.scheduler.fail("the step broke"):
            if delta.finish == "error":
                assert delta.reason == "the step broke"
                assert delta.position == len(self.tokens[delta.key])
                assert not delta.tokens
                del self.open[delta.key]
            else:
                self.hear(delta)

    def advance(self, ahead: bool = False) -> bool:
        """Plan a step; with `ahead`, the worker runs it before what is in flight is committed."""
        step = self.scheduler.plan() if len(self.in_flight) < self.depth else None
        if step is None:
            return False
        assert sum(len(chunk.pages) for chunk in step.chunks) <= self.limits.step_tokens
        assert sum(end - first for first, end in (chunk.scored for chunk in step.chunks)) <= self.limits.scores
        assert all(len(chunk.pages) <= self.limits.prefill_chunk for chunk in step.chunks)
        self.in_flight.append(step)
        if ahead:
            self.run()
        return True

    def fill(self) -> None:
        """Plan as many steps as may be in flight."""
        while self.advance():
            assert len(self.in_flight) <= self.depth

    def run(self) -> None:
        for step in list(self.in_flight)[len(self.results) :]:
            self.results.append(self.worker.run(step))

    # What must hold

    def expected(self, prompt: list[int], sampling: Sampling, choice: int) -> tuple[list[int], str]:
        return continuation(prompt, sampling, choice, vocab_size=VOCAB, context=self.limits.context)

    def expected_scores(self, submit: Submit) -> list[Logprob]:
        """Of each prompt token behind the start, once, whatever was cached, cut, retracted or done again."""
        if submit.scoring is None:
            return []
        return [score(submit.prompt[at + 1], at, VOCAB) for at in range(submit.scoring.start, len(submit.prompt) - 1)]

    def hear(self, delta: Delta) -> None:
        submit = self.open[delta.key]  # never after its end or abort
        tokens = self.tokens[delta.key]
        if delta.scores is not None:
            assert delta.scores
            self.scores[delta.key] += delta.scores
            assert (delta.position, delta.tokens, delta.finish) == (0, [], None)
            return
        assert self.scores[delta.key] == self.expected_scores(submit)
        assert delta.position == len(tokens)
        if len(tokens) > len(submit.replay) or not self.limits.prefix_cache:
            assert not delta.cached
        tokens += delta.tokens
        if submit.sampling.logprobs is None:
            assert delta.logprobs is None
        elif delta.tokens:
            assert delta.logprobs == [logprob(each, submit.sampling.logprobs, VOCAB) for each in delta.tokens]
        whole, finish = self.expected(submit.prompt, submit.sampling, submit.choice)
        assert tokens == whole[: len(tokens)]
        if delta.finish is not None:
            assert (tokens, delta.finish) == (whole, finish)
            del self.open[delta.key]

    @invariant()
    def sound(self) -> None:
        self.scheduler.validate()
        for change in self.scheduler.changes():
            if isinstance(change, Stored):
                assert change.digest not in self.cache
                self.cache[change.digest] = change.length
            else:
                del self.cache[change.digest]
        assert self.cache == {each.digest: each.length for each in self.scheduler.cache.tree.snapshot()}
        load = self.scheduler.load()
        assert load.pages_cached <= load.pages_used <= load.pages_total
        assert load.running + load.waiting <= len(self.open)
        assert load.accepted <= load.drafted

    def teardown(self) -> None:
        if not hasattr(self, "scheduler"):
            return
        bound = 200 + 100 * self.count * self.limits.context
        while self.scheduler.has_work:
            bound -= 1
            assert bound, "no progress"
            self.fill()
            assert self.in_flight or not self.scheduler.has_work, "stuck"
            self.commit()
            self.sound()
        self.sound()
        assert not self.open, "some never ended"
        assert self.drafter is not self.seer or not self.seer.known, "the drafter was not told of an end"
        load = self.scheduler.load()
        assert load.pages_used == load.pages_cached
        assert not load.running + load.waiting + load.tokens
        self.scheduler.drop()
        self.sound()
        assert not self.cache
        assert not self.scheduler.audit()
        assert self.scheduler.load().pages_used == 0


Engine.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    phases=set(Phase) - {Phase.explain},
    suppress_health_check=[HealthCheck.too_slow],
)
TestEngine = Engine.TestCase


def test_the_digest_of_a_cached_prefix_can_be_computed_by_anyone() -> None:
    scheduler = Scheduler(Limits(pages=64, max_context=64), weights="w1")
    worker = OracleWorker(32, 64, VOCAB)
    assert scheduler.submit(Submit("a", [1, 2, 3], Sampling(max_tokens=1), namespace=Namespace("t", "s"))) is None
    step = scheduler.plan()
    assert step is not None
    scheduler.commit(worker.run(step))
    assert scheduler.changes() == [Stored(prefix_digest("1:t,1:s,0:,2:w1,", [1, 2, 3]), 3)]
    scheduler.drop()
    assert scheduler.changes() == [Removed(prefix_digest("1:t,1:s,0:,2:w1,", [1, 2, 3]))]
