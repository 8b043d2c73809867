"""Which tokens are computed next: continuous batching over a prefix cache. Pure: no clock, no I/O, no floats.

    submit, abort, drop  ──>  plan() -> Step  ──>  worker.run  ──>  commit(Result) -> deltas

`plan` puts into a step: one token for each request that decodes, the most senior first; then chunks of prompts that
are under way; then new requests (`engine.queue` says in which order), as long as tokens, slots and pages allow, and
unless a prompt under way will soon spare them most of their own. `commit` is the only place where tokens are
appended, requests end, and the prefix cache grows.

Pages. A request takes the pages of all its known tokens when it enters, and an extent of some more whenever it has
none for the token to come. If none are free, the cache gives up its oldest ones; if that is not enough, the most junior
request goes back to the queue with the tokens drawn so far, and what it computed goes into the cache. The most
senior request therefore always moves on: no deadlock, no livelock. Its output does not change: the noise at a position
is a function of (seed, choice, position).

Overlap. A plan needs no token values, so the next step may be planned before the last is committed: call plan, plan,
commit, plan, commit. `engine.pipeline` does so, with a worker on a thread of its own.
A request that has ended meanwhile is draining: it keeps slot and pages for the steps that still write to them, and
their draws for it are ignored.

Scores. Where the log-probabilities of a prompt's own tokens are wanted, its chunks say at which positions: these are
computed, not taken from the cache, and a step has a bounded number of them, for each takes a row of logits. They are
told chunk by chunk; what was told is not computed again after a retraction.

Drafts. A request that decodes, with all its tokens known, may have some more guessed and verified in the same chunk, as
far as budget and free pages go: nobody is retracted for a guess, and none takes a token from another that decodes. What
follows drafts depends on how many are right, so such a request is not planned again before their commit. There the
tokens computed fall back to what was right; the pages behind are its own and written again. Under overlap a request
that was planned ahead has a token in flight, and gets no drafts: speculation is for one step at a time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace

from colonnade.engine.cache import Cache
from colonnade.engine.draft import Draft
from colonnade.engine.drafter import NOTHING, Drafter, Proposal
from colonnade.engine.limits import Limits
from colonnade.engine.queue import Policy
from colonnade.engine.request import Request, State, enlist
from colonnade.engine.speculation import Speculation
from colonnade.engine.step import Chunk, Drawn, Result, Scored, Step
from colonnade.wire.messages import CacheChange, Delta, Load, Logprob, Refused, Submit


class Scheduler:
    def __init__(self, limits: Limits, drafter: Drafter | None = None, weights: str = "") -> None:
        self.limits = limits
        self.weights = weights
        """Their version, part of the cache key. To change only while there is no work."""
        self.cache = Cache(limits.pages, limits.prefix_cache)
        self.speculation = Speculation(drafter, limits)
        self.steps = 0
        """Steps planned."""
        self.retractions = 0
        self._policy = Policy(limits.window, limits.patience)
        self._slots = list(range(limits.max_running - 1, -1, -1))
        self._arrivals = 0
        self._live: dict[str, Request] = {}  # queued or running, by key
        self._queue: list[Request] = []  # by seniority, as is the next
        self._running: list[Request] = []
        self._draining: list[Request] = []
        self._suspects: list[Request] = []  # to be run alone
        self._in_flight: deque[tuple[Step, list[Request]]] = deque()
        self._ended: list[Delta] = []  # of requests that end without a step

    @property
    def has_work(self) -> bool:
        return bool(self._live or self._draining or self._in_flight or self._ended)

    # ---- what comes in

    def submit(self, submit: Submit) -> Refused | None:
        """Queue it, or say why it will never run."""
        if submit.key in self._live:
            return Refused(submit.key, "a request with this key is under way", "conflict", "send each key once")
        if (refusal := self.limits.refusal(submit, len(self._queue))) is not None:
            return refusal
        request = Request(submit, self._arrivals, self.limits.context, self.weights)
        self._arrivals += 1
        if (finish := request.finish) is not None:  # the replay was whole
            self._ended.append(Delta(request.key, len(submit.replay), [], finish=finish))
        else:
            self._live[request.key] = request
            enlist(self._queue, request)
        return None

    def abort(self, key: str) -> None:
        """Stop working on `key`; unknown keys are ignored."""
        request = self._live.get(key)
        if request is not None:
            self._drain(request)
        self._ended = [delta for delta in self._ended if delta.key != key]

    def drop(self) -> None:
        """Empty the prefix cache of all that no request holds."""
        self._reap()
        self.cache.drop()

    # ---- what runs next

    def plan(self) -> Step | None:
        """The next step, or None if nothing can be computed before a commit or a submission.

        A step without chunks carries the news of requests that end without one.
        """
        self._reap()
        draft = Draft(self.limits, len(self._running))
        if self._suspects:
            self._plan_alone(draft)
        else:
            self._plan_together(draft)
        if not draft.rows and (self._in_flight or not self._ended):
            return None
        self.steps += 1
        step = draft.step(self.steps)
        self._in_flight.append((step, draft.rows))
        return step

    def _plan_together(self, draft: Draft) -> None:
        retracted = self.retractions
        prefilling: list[Request] = []
        guesses = self.speculation.guesses
        for request in self._running.copy():
            pending = request.pending
            if pending > 1:
                prefilling.append(request)
            elif pending and request.state is State.RUNNING:
                if request.computed == len(request.pages) and not self._extend(request):
                    break  # those after it are more junior: what pages they leave are for this one
                draft.add(request, self._guess(draft, request) if guesses or request.ahead else NOTHING)
        for request in prefilling:
            if request.state is State.RUNNING:
                draft.add(request)
        if self.retractions == retracted:
            self._admit(draft)

    def _plan_alone(self, draft: Draft) -> None:
        if self._in_flight:
            return
        suspect = self._suspects.pop(0)
        while not self._enter(draft, suspect, 0):  # it shared pages before; they may have been dropped since
            self._retract(self._running[-1])
        draft.add(suspect)

    def _guess(self, draft: Draft, request: Request) -> Proposal:
        """Drafts for a request that decodes: no more than there are pages for that no one will ask for soon."""
        proposal = self.speculation.propose(request, draft.spare)
        if not proposal.tokens:
            return proposal
        ahead = request.computed + 1
        short = ahead + len(proposal.tokens) - len(request.pages)
        if short > 0 and self.cache.available >= short + len(self._running) * self.limits.extent:
            self.cache.extend(request, short)
        return proposal.chain(len(request.pages) - ahead)

    def _extend(self, request: Request) -> bool:
        """Pages for tokens to come. The junior gives way to the senior; False if that must wait for a commit."""
        ahead = request.limit - 1 - request.computed  # the last token of all is never computed
        while not self.cache.extend(request, min(ahead, self.limits.extent)):
            junior = self._running[-1]
            if junior.in_flight:
                return False
            self._retract(junior)
            if junior is request:
                return False
        return True

    def _admit(self, draft: Draft) -> None:
        """Let requests in as the policy has it; none overtakes one that was to go and does not fit."""
        while self._queue and self._slots and draft.budget:
            ordered = self._policy.order(self._queue, self.cache.saved)
            request = next((each for each in ordered if not self._better_later(each)), None)
            company = len(self._running) + len(self._draining)
            if request is None or not self._enter(draft, request, company * self.limits.extent):
                return
            draft.add(request)

    def _better_later(self, request: Request) -> bool:
        """Whether a prompt under way is about to leave most of this one's in the cache: choices of one request, say."""
        enough = max(self.limits.worth_waiting, len(request.tokens) // 2)
        return any(self.cache.saving(request, other) >= enough for other in self._running)

    def _enter(self, draft: Draft, request: Request, headroom: int) -> bool:
        if not self._slots or not self.cache.enter(request, self._slots[-1], headroom):
            return False
        self._slots.pop()
        self._policy.leaves(self._queue, request)
        self._queue.remove(request)
        enlist(self._running, request)
        draft.admit(request)
        return True

    def _retract(self, request: Request) -> None:
        """Back to the queue. It will go on as if nothing had happened."""
        self.retractions += 1
        self._running.remove(request)
        self._release(request, State.QUEUED)
        enlist(self._queue, request)

    # ---- what came out

    def commit(self, result: Result) -> list[Delta]:
        """Take in the oldest step in flight."""
        step, rows = self._in_flight.popleft()
        assert step.number == result.number, "steps are committed in order"
        deltas, self._ended = self._ended, []
        drawn, scored = deque(result.drawn), deque(result.scored)
        for request, chunk in zip(rows, step.chunks, strict=True):
            request.in_flight -= 1
            if chunk.scored[1]:
                scores = scored.popleft()
                if request.state is State.RUNNING and (scores.logprobs or scores.error):
                    deltas.append(self._tell_scores(request, chunk, scores))
            if not chunk.sample:
                continue
            if chunk.drafts:
                draws = _draws(drawn, chunk)
                if request.state is State.RUNNING:
                    deltas += self._accept(request, chunk, draws)
            else:
                draw = drawn.popleft()
                assert draw.slot == chunk.slot, "draws come in the order of the chunks"
                if request.state is State.RUNNING:
                    deltas.append(self._accept_one(request, chunk, draw))
        assert not drawn, "draws come in the order of the chunks"
        assert not scored, "a chunk with scored positions has its scores"
        self._reap()
        return deltas

    def fail(self, reason: str) -> list[Delta]:
        """The oldest step raised. What is in flight is forgotten; nothing of it may still be running.

        A request that was alone in it ends with the error; several go on one by one, so that the guilty is found.
        """
        deltas, self._ended = self._ended, []
        starts: dict[Request, int] = {}
        for step, rows in self._in_flight:
            for request, chunk in zip(rows, step.chunks, strict=True):
                starts.setdefault(request, chunk.start)
        self._in_flight.clear()
        for request, start in starts.items():
            request.in_flight, request.computed = 0, start
            if request.state is not State.RUNNING:
                continue
            if len(starts) == 1:
                deltas.append(self._end(request, reason))
            else:
                self._retract(request)
                self._suspects.append(request)
        self._reap()
        return deltas

    def _accept_one(self, request: Request, chunk: Chunk, draw: Drawn) -> Delta:
        if draw.error:
            return self._end(request, draw.error)
        request.tokens.append(draw.token)
        request.ahead = draw.ahead
        logprobs = None if draw.logprob is None else [draw.logprob]
        return self._tell(request, chunk, [draw.token], logprobs, draw.vector)

    def _accept(self, request: Request, chunk: Chunk, draws: list[Drawn]) -> Iterator[Delta]:
        """Each draw but the last is a draft that was right. An error ends the request after what came before it."""
        sound = [draw for draw in draws if not draw.error]
        taken = request.take([draw.token for draw in sound])
        accepted = min(taken, len(draws) - 1)
        request.settle_drafts(accepted)
        self.speculation.learn(request, len(chunk.drafts), accepted)
        request.ahead = draws[-1].ahead
        if taken:
            logprobs = [draw.logprob for draw in sound[:taken] if draw.logprob is not None] or None
            yield self._tell(request, chunk, [draw.token for draw in sound[:taken]], logprobs)
        if draws[-1].error and request.state is State.RUNNING:
            yield self._end(request, draws[-1].error)

    def _tell(
        self, request: Request, chunk: Chunk, tokens: list[int], logprobs: list[Logprob] | None, vector: bytes = b""
    ) -> Delta:
        """What was drawn and taken, and whether it ends with that."""
        if not request.shared:
            self.cache.share(request, chunk.known)
        finish = request.finish
        if finish is not None:
            self._drain(request)
        position = len(request.tokens) - len(tokens) - request.prompt_length
        cached, request.untold = request.untold, 0
        return Delta(request.key, position, tokens, logprobs, finish, cached, vector=vector)

    def _tell_scores(self, request: Request, chunk: Chunk, scores: Scored) -> Delta:
        if scores.error:
            return self._end(request, scores.error)
        request.scored = chunk.scored[1]
        return Delta(request.key, 0, [], scores=scores.logprobs)

    def _end(self, request: Request, reason: str) -> Delta:
        """It cannot go on, and what it computed and did not share is not kept."""
        request.sound = False
        self._drain(request)
        position = len(request.tokens) - request.prompt_length
        return Delta(request.key, position, [], finish="error", reason=reason)

    def _drain(self, request: Request) -> None:
        """It has ended: out of the way now; what it holds comes back when no step in flight writes to it."""
        del self._live[request.key]
        self.speculation.forget(request)
        if request.state is State.RUNNING:
            self._running.remove(request)
            self._draining.append(request)
            request.state = State.DRAINING
        else:
            self._queue.remove(request)
            if request in self._suspects:
                self._suspects.remove(request)
            request.state = State.DONE

    def _reap(self) -> None:
        if not self._draining:
            return
        for request in self._draining:
            if not request.in_flight:
                self._release(request, State.DONE)
        self._draining = [request for request in self._draining if request.in_flight]

    def _release(self, request: Request, state: State) -> None:
        self._slots.append(request.slot)
        self.cache.settle(request, state)

    # ---- what can be seen

    def load(self) -> Load:
        held = sum(request.wanted for request in self._running)
        waiting = sum(len(request.tokens) for request in self._queue)
        return Load(
            running=len(self._running),
            waiting=len(self._queue),
            tokens=held + waiting,
            pages_used=self.cache.pages.capacity - self.cache.pages.free,
            pages_cached=self.cache.tree.evictable,
            pages_total=self.cache.pages.capacity,
            steps=self.steps,
            drafted=self.speculation.drafted,
            accepted=self.speculation.accepted,
            prefill=sum(request.pending for request in self._running if request.pending > 1),
            slots=self.limits.max_running,
        )

    def changes(self) -> list[CacheChange]:
        """What the prefix cache stored and removed since the last call."""
        return self.cache.tree.changes()

    def audit(self) -> set[int]:
        """For idle times: pages that nobody owns any more, now withdrawn. None, unless there is a defect of ours."""
        assert not self.has_work
        leaked = self.cache.audit(())
        self.limits = replace(self.limits, pages=self.cache.pages.capacity)
        return leaked

    def validate(self) -> None:
        """All that must hold between two calls. O(pages)."""
        holders = [*self._running, *self._draining]
        self.cache.validate(holders)
        slots = self._slots + [request.slot for request in holders]
        assert sorted(slots) == list(range(self.limits.max_running)), "a slot is lost or held twice"
        assert set(self._live.values()) == {*self._queue, *self._running}
        assert set(self._suspects) <= set(self._queue)
        for request in (*holders, *self._queue):
            request.validate()


def _draws(drawn: deque[Drawn], chunk: Chunk) -> list[Drawn]:
    """Those of the chunk, from the head of what is left."""
    draws: list[Drawn] = []
    while drawn and drawn[0].slot == chunk.slot:
        draws.append(drawn.popleft())
    assert 1 <= len(draws) <= 1 + len(chunk.drafts), "draws come in the order of the chunks"
    return draws
