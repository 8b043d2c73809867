"""Drafts from the request's own tokens: what followed the last time that it said the same. No model, no floats.

Answers that quote, edit or extract repeat their prompt. The tokens are indexed by runs of `gram`; a run's occurrences
are chained from the latest to the first, as in the match finder of a Lempel-Ziv compressor. Of the latest `KEPT`
occurrences of the last run, the one with the longest common past wins, the latest of equals.

Work for one proposal is bounded: `PACE` tokens indexed, `KEPT` occurrences compared, `PAST` tokens each. A prompt
longer than `PACE` is indexed over several steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from colonnade.engine.drafter import NOTHING, Proposal

GRAM = 3
KEPT = 8
PAST = 32
PACE = 4096


class NgramDrafter:
    """Implements `drafter.Drafter`."""

    def __init__(self, gram: int = GRAM) -> None:
        self._gram = gram
        self._indices: dict[str, Index] = {}

    def propose(self, key: str, tokens: Sequence[int], count: int) -> Proposal:
        index = self._indices.setdefault(key, Index(self._gram))
        index.learn(tokens)
        place = index.find(tokens)
        return NOTHING if place is None else Proposal(tuple(continued(tokens, place, count)))

    def forget(self, key: str) -> None:
        self._indices.pop(key, None)


class Index:
    """Where each run of `gram` tokens ends, but for the run at the very end: that is the one looked for."""

    def __init__(self, gram: int) -> None:
        self._gram = gram
        self._latest: dict[tuple[int, ...], int] = {}
        self._earlier: list[int] = [0] * gram
        """By the end of a run: that of the same run's occurrence before it, or 0."""

    def learn(self, tokens: Sequence[int]) -> None:
        """The tokens that are new, `PACE` of them at most."""
        first = len(self._earlier)
        for end in range(first, min(len(tokens), first + PACE)):
            run = tuple(tokens[end - self._gram : end])
            self._earlier.append(self._latest.get(run, 0))
            self._latest[run] = end

    def find(self, tokens: Sequence[int]) -> int | None:
        """Where the best occurrence of the last run ends: what stands there came next."""
        best, most = None, 0
        for place in self._occurrences(tuple(tokens[-self._gram :])):
            common = _common_past(tokens, place)
            if common > most:
                best, most = place, common
        return best

    def _occurrences(self, run: tuple[int, ...]) -> Iterator[int]:
        """The latest first."""
        place = self._latest.get(run, 0)
        for _ in range(KEPT):
            if not place:
                return
            yield place
            place = self._earlier[place]


def _common_past(tokens: Sequence[int], place: int) -> int:
    """How many tokens before `place` equal the last ones, up to `PAST`."""
    length, end = 0, len(tokens)
    while length < min(place, PAST) and tokens[place - 1 - length] == tokens[end - 1 - length]:
        length += 1
    return length


def continued(tokens: Sequence[int], place: int, count: int) -> list[int]:
    """`count` tokens from `place` on; what runs past the end repeats, as it would if the period went on."""
    out = list(tokens[place : place + count])
    while len(out) < count:
        out.append(out[len(out) - (len(tokens) - place)])
    return out
