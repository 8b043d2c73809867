"""A drafter for the token oracle that knows every answer, and errs where it is told to."""

from __future__ import annotations

from collections.abc import Sequence

from colonnade.engine.drafter import Proposal
from colonnade.engine.oracle import continuation
from colonnade.wire.messages import Submit


class Seer:
    """`mistakes`, by key: the draft at position i is wrong where `mistakes[i % len]` holds. Implements `Drafter`."""

    def __init__(self, vocab_size: int, context: int, tree: bool = False) -> None:
        self._vocab_size = vocab_size
        self._context = context
        self._tree = tree
        self._answers: dict[str, tuple[int, list[int]]] = {}
        self._mistakes: dict[str, Sequence[bool]] = {}
        self.asked = 0

    def learn(self, submit: Submit, mistakes: Sequence[bool] = (False,)) -> None:
        whole, _ = continuation(
            submit.prompt, submit.sampling, submit.choice, vocab_size=self._vocab_size, context=self._context
        )
        self._answers[submit.key] = (len(submit.prompt), whole)
        self._mistakes[submit.key] = mistakes

    @property
    def known(self) -> set[str]:
        return set(self._answers)

    def propose(self, key: str, tokens: Sequence[int], count: int) -> Proposal:
        self.asked += 1
        prompt_length, whole = self._answers[key]
        assert list(tokens[prompt_length:]) == whole[: len(tokens) - prompt_length], "it is asked about other tokens"
        start = len(tokens) - prompt_length
        drafts = [self._draft(key, position) for position in range(start, start + count)]
        return self._branched(drafts) if self._tree else Proposal(drafts)

    def forget(self, key: str) -> None:
        del self._answers[key]

    def _draft(self, key: str, position: int) -> int:
        whole, mistakes = self._answers[key][1], self._mistakes[key]
        if position >= len(whole):
            return self._vocab_size  # no such token
        return (whole[position] + mistakes[position % len(mistakes)]) % self._vocab_size

    def _branched(self, drafts: list[int]) -> Proposal:
        """Each token has a rival, which comes second."""
        tokens = [token for draft in drafts for token in (draft, (draft + 1) % self._vocab_size)]
        return Proposal(tokens, [2 * (node // 2) - 2 if node > 1 else -1 for node in range(len(tokens))])
