"""A step that is being put together: what is in it, and what it may still spend. Pure."""

from __future__ import annotations

from colonnade.engine.drafter import NOTHING, Proposal
from colonnade.engine.limits import Limits
from colonnade.engine.request import Request
from colonnade.engine.step import Admit, Chunk, Step


class Draft:
    def __init__(self, limits: Limits, running: int) -> None:
        """`running`: requests each of which may want a token of the step's budget."""
        self.budget = limits.step_tokens
        self.spare = limits.step_tokens - running
        """Of the budget: what drafts may take."""
        self.rows: list[Request] = []
        """Whose each chunk is."""
        self._scores = limits.scores  # positions that may still be scored
        self._most = limits.prefill_chunk
        self._admits: list[Admit] = []
        self._chunks: list[Chunk] = []

    def admit(self, request: Request) -> None:
        """It has just begun: the pages up to `computed` come from the cache."""
        self._admits.append(
            Admit(
                slot=request.slot,
                tokens=tuple(request.tokens),
                prompt_length=request.prompt_length,
                pages=tuple(request.pages[: request.computed]),
                sampling=request.sampling,
                choice=request.choice,
                scoring=request.scoring,
            )
        )

    def add(self, request: Request, guess: Proposal = NOTHING) -> None:
        """The request's next chunk, as long as there is budget for it."""
        start = request.computed
        known = self._end(request, start)
        if known == start:
            return
        sample, drafts = known == request.wanted, len(guess.tokens)
        scored = request.to_score(start, known)
        end = known + drafts
        request.computed = end
        request.wanted += sample + drafts
        request.drafted = drafts
        request.in_flight += 1
        self.budget -= end - start
        self.spare -= drafts
        self._scores -= scored[1] - scored[0]
        pages = tuple(request.pages[start:end])
        self._chunks.append(Chunk(request.slot, start, pages, sample, guess.tokens, guess.chances, scored))
        self.rows.append(request)

    def _end(self, request: Request, start: int) -> int:
        """How far it may be computed."""
        end = start + min(request.wanted - start, self.budget, self._most)
        first, last = request.to_score(start, end)
        return end if last - first <= self._scores else first + self._scores

    def step(self, number: int) -> Step:
        return Step(number, tuple(self._admits), tuple(self._chunks))
