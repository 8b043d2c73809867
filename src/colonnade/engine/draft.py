"""A step that is being put together: what is in it, and what it may still spend. Pure."""

from __future__ import annotations

from colonnade.engine.drafter import NOTHING, Proposal
from colonnade.engine.limits import Limits
from colonnade.engine.request import Request
from colonnade.engine.step import Admit, Chunk, Step

_UNSCORED = (0, 0)


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
        start, pages = request.computed, request.pages
        known = start + min(request.wanted - start, self.budget, self._most)
        scored = _UNSCORED
        if request.scoring is not None:
            known, scored = self._score(request, start, known)
        if known == start:
            return
        sample, drafts = known == request.wanted, len(guess.tokens)
        end = known + drafts
        request.computed = end
        request.wanted += sample + drafts
        request.drafted = drafts
        request.in_flight += 1
        self.budget -= end - start
        self.spare -= drafts
        own = (pages[start],) if end - start == 1 else tuple(pages[start:end])
        self._chunks.append(Chunk(request.slot, start, own, sample, guess.tokens, guess.chances, scored))
        self.rows.append(request)

    def _score(self, request: Request, start: int, end: int) -> tuple[int, tuple[int, int]]:
        """How far it may be computed, and which of that is scored."""
        first, last = request.to_score(start, end)
        if last - first > self._scores:
            end = first + self._scores
            first, last = request.to_score(start, end)
        self._scores -= last - first
        return end, (first, last)

    def step(self, number: int) -> Step:
        return Step(number, tuple(self._admits), tuple(self._chunks))
