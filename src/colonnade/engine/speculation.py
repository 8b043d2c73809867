"""How many tokens are drafted for whom, and what came of it. Pure; the step path is the scheduler's.

A request is drafted for when all its tokens are known, at most `reach` tokens: twice as many after drafts that were all
right, and after a wrong one as many as were right. So text that does not repeat costs little.

What a grammar says comes next is drafted as far as there is room; the drafter is heard where it agrees and knows more.
"""

from __future__ import annotations

from collections.abc import Sequence

from colonnade.engine.drafter import NOTHING, Drafter, Proposal
from colonnade.engine.limits import Limits
from colonnade.engine.request import Request


class Speculation:
    """Without a drafter it proposes nothing."""

    def __init__(self, drafter: Drafter | None, limits: Limits) -> None:
        self._drafter = drafter
        self._limits = limits
        self.drafted = 0
        """Tokens drafted, of the drafts that were verified."""
        self.accepted = 0
        """Those of them that became part of an answer."""

    @property
    def guesses(self) -> bool:
        """Whether it may propose what no grammar foresees."""
        return self._drafter is not None

    def propose(self, request: Request, spare: int) -> Proposal:
        """A chain of at most `spare` tokens. Every one may be followed by another: none ends the request."""
        if (self._drafter is None and not request.ahead) or request.wanted > len(request.tokens):
            return NOTHING
        room = min(request.limit - request.wanted - 1, self._limits.prefill_chunk - 1, spare)
        proposal = self._drafted(request, min(request.reach, self._limits.draft_tokens, room))
        if request.ahead:
            proposal = _longer(Proposal(tuple(request.ahead)).chain(max(room, 0)), proposal)
        return proposal.chain(self._usable(proposal.tokens, request.stops))

    def _drafted(self, request: Request, count: int) -> Proposal:
        if self._drafter is None or count <= 0:
            return NOTHING
        return self._drafter.propose(request.key, request.tokens, count).chain(count)

    def learn(self, request: Request, drafted: int, accepted: int) -> None:
        """So many of its drafts were right."""
        self.drafted += drafted
        self.accepted += accepted
        if request.ahead:  # the grammar's: no sign of how the drafter fares
            return
        request.reach = max(request.reach, 2 * drafted) if accepted == drafted else max(accepted, 1)

    def forget(self, request: Request) -> None:
        if self._drafter is not None:
            self._drafter.forget(request.key)

    def _usable(self, tokens: Sequence[int], stops: frozenset[int]) -> int:
        """How many leading tokens are in the vocabulary and end nothing."""
        for index, token in enumerate(tokens):
            if token in stops or not 0 <= token < self._limits.vocab_size:
                return index
        return len(tokens)


def _longer(foreseen: Proposal, drafted: Proposal) -> Proposal:
    """What is drafted, if it goes on from what is foreseen."""
    known = len(foreseen.tokens)
    return drafted if tuple(drafted.tokens[:known]) == foreseen.tokens else foreseen
