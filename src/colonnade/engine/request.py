"""One choice of one request on its way: three integers, what it holds, and its state.

         0           lease.length     computed         wanted              limit
         |───────────────|───────────────|───────────────|───────────────────|
          pages of the     own pages:      to compute       not yet drawn
          prefix cache     keys and values

A token is *wanted* once it is known or being drawn by a step in flight; the last token of all is drawn, never computed.
`computed` counts what steps in flight compute, too: the next step can be planned before they are done.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from enum import Enum

from colonnade.engine.radix import Lease
from colonnade.wire.messages import Submit

REACH = 4
"""Drafts of a request that has not shown yet how they fare."""


class State(Enum):
    QUEUED = "queued"  # holds nothing
    RUNNING = "running"  # holds a slot, a lease and pages
    DRAINING = "draining"  # finished, failed or aborted: holds them until no step in flight refers to it
    DONE = "done"  # holds nothing


class Request:
    __slots__ = (
        "ahead",
        "arrival",
        "choice",
        "computed",
        "drafted",
        "in_flight",
        "key",
        "lease",
        "limit",
        "marks",
        "namespace",
        "overtaken",
        "pages",
        "priority",
        "prompt_length",
        "reach",
        "sampling",
        "scored",
        "scoring",
        "shared",
        "slot",
        "sound",
        "state",
        "stops",
        "tokens",
        "untold",
        "wanted",
    )

    def __init__(self, submit: Submit, arrival: int, context: int, weights: str = "") -> None:
        """`context`: the most tokens it may ever have; `weights`: the version of those that compute it."""
        self.key = submit.key
        self.sampling = submit.sampling
        self.choice = submit.choice
        self.scoring = submit.scoring
        self.scored = _begin(submit)  # positions before it need no score any more
        self.namespace = submit.namespace.key(weights)
        self.marks = submit.marks
        self.priority = submit.priority
        self.arrival = arrival
        self.stops = frozenset(submit.sampling.stop_token_ids)
        self.tokens = [*submit.prompt, *submit.replay]
        self.prompt_length = len(submit.prompt)
        self.computed = 0
        self.wanted = len(self.tokens)
        self.limit = min(self.prompt_length + submit.sampling.max_tokens, context)
        self.state = State.QUEUED
        self.in_flight = 0  # steps that compute for it now
        self.drafted = 0  # of the tokens wanted, those that are drafts in flight, each a guess
        self.ahead: Sequence[int] = ()  # what its grammar says comes next
        self.reach = REACH  # most tokens to draft for it next
        self.slot = -1
        self.lease: Lease | None = None
        self.pages: list[int] = []  # of each position; those from lease.length on are its own
        self.shared = False  # its prompt has been offered to the prefix cache since it runs
        self.sound = True  # False: what it computed is not to be trusted
        self.overtaken = 0  # requests that came after it and went in before it
        self.untold = -1  # prompt tokens that came from the prefix cache when it first ran, until a delta says so

    @property
    def pending(self) -> int:
        """Tokens to compute now: many in prefill, one in decode; none when the last is being drawn, or drafts are in
        flight: what follows them is not known before they are verified."""
        return 0 if self.drafted or self.wanted >= self.limit else self.wanted - self.computed

    @property
    def findable(self) -> list[int]:
        """Tokens that may come from the prefix cache: none behind a position whose score is still wanted."""
        if self.scoring is None or self.scored >= self.prompt_length - 1:
            return self.tokens
        return self.tokens[: self.scored]

    def to_score(self, start: int, end: int) -> tuple[int, int]:
        """Of positions [start, end), those that are to be scored."""
        first, last = max(start, self.scored), min(end, self.prompt_length - 1)
        return (first, last) if self.scoring is not None and first < last else (0, 0)

    @property
    def begun(self) -> bool:
        """Whether it ever ran."""
        return self.untold >= 0

    @property
    def seniority(self) -> tuple[int, int]:
        """Smaller goes first: the higher priority, then the earlier arrival."""
        return (-self.priority, self.arrival)

    @property
    def finish(self) -> str | None:
        """Why it ends with the tokens that it has, if it does."""
        if len(self.tokens) > self.prompt_length and self.tokens[-1] in self.stops:
            return "stop"
        return "length" if len(self.tokens) >= self.limit else None

    def begin(self, slot: int, lease: Lease, own: list[int]) -> None:
        """Run from the end of the lease on; `own` are pages for all other tokens."""
        assert self.state is State.QUEUED
        self.state = State.RUNNING
        self.slot, self.lease = slot, lease
        self.pages = [*lease.pages, *own]
        self.computed = lease.length
        self.wanted = len(self.tokens)
        if self.untold < 0:
            self.untold = min(lease.length, self.prompt_length)

    def take(self, tokens: Sequence[int]) -> int:
        """Append what was drawn, as far as it goes on; how many were taken."""
        for count, token in enumerate(tokens, 1):
            self.tokens.append(token)
            if self.finish is not None:
                return count
        return len(tokens)

    def settle_drafts(self, accepted: int) -> None:
        """They are verified, and what was drawn is taken: the first `accepted` are its own now, the rest never were."""
        self.computed -= self.drafted - accepted
        self.wanted = len(self.tokens)
        self.drafted = 0

    def clear(self, state: State) -> None:
        """Forget what it held."""
        assert not self.in_flight
        self.state = state
        self.slot, self.lease = -1, None
        self.pages = []
        self.shared = False
        self.drafted = 0
        self.ahead = ()

    def owned(self) -> list[int]:
        """Pages that are neither free nor the prefix cache's."""
        assert self.lease is not None
        return self.pages[self.lease.length :]

    def validate(self) -> None:
        """What its state says it holds."""
        if self.state is State.QUEUED:
            assert self.lease is None
            assert not self.in_flight
            assert not self.pages
        else:
            assert self.state in {State.RUNNING, State.DRAINING}
            assert self.lease is not None
            assert self.lease.length <= self.computed <= len(self.pages) < self.limit
            assert self.computed <= self.wanted <= self.limit
            assert not self.drafted or self.in_flight


def _begin(submit: Submit) -> int:
    """Where it is to be scored from; one whose last token alone counts, nowhere."""
    scoring = submit.scoring
    if scoring is None:
        return 0
    return len(submit.prompt) if scoring.pooling == "last" else scoring.start


def enlist(requests: list[Request], request: Request) -> None:
    """Insert by seniority."""
    insort(requests, request, key=_seniority)


def _seniority(request: Request) -> tuple[int, int]:
    return request.seniority
