"""What the scheduler may spend, and which submissions can never run within it."""

from __future__ import annotations

from dataclasses import dataclass

from colonnade.wire.messages import Refused, Submit


@dataclass(frozen=True, slots=True)
class Limits:
    """All counts are of tokens unless named otherwise; a page holds one token."""

    pages: int
    max_context: int
    vocab_size: int = 1 << 31
    max_running: int = 32  # requests
    max_waiting: int = 256  # requests
    step_tokens: int = 512
    prefill_chunk: int = 256
    extent: int = 16
    """Pages taken at a time for tokens to be drawn: keeps runs together, and leaves room between two admissions."""
    worth_waiting: int = 32
    """A request waits for a prompt under way that will save it so many tokens, and at least half of its own."""
    prefix_cache: bool = True
    window: int = 16
    """The first so many of those that wait: of them, the one with the longest cached prefix goes in next."""
    patience: int = 32
    """Times that one of them may be overtaken."""
    draft_tokens: int = 8
    """Most drafted tokens of one request in one step, where there is a drafter."""
    score_bytes: int = 1 << 26
    """Of logits that the scores of one step may take."""

    @property
    def context(self) -> int:
        """Longest prompt and answer together: what the model reads and the cache holds."""
        return min(self.max_context, self.pages)

    @property
    def scores(self) -> int:
        """Positions scored in one step: each takes a row of logits as wide as the vocabulary."""
        return max(1, self.score_bytes // (4 * self.vocab_size))

    def refusal(self, submit: Submit, waiting: int) -> Refused | None:
        """Why `submit` will never run, judged alone and by the number that wait already."""
        length = len(submit.prompt) + len(submit.replay)
        if not submit.prompt:
            return Refused(submit.key, "the prompt is empty", "invalid_value", "send at least one token")
        if len(submit.prompt) >= self.context or length > self.context:
            return self._too_long(submit.key, length)
        if submit.sampling.max_tokens < 0:
            return Refused(submit.key, "max_tokens is negative", "invalid_value", "send max_tokens of 0 or more")
        if not self._known(submit.prompt) or not self._known(submit.replay):
            hint = f"send token ids from 0 to {self.vocab_size - 1}"
            return Refused(submit.key, "a token id is outside the vocabulary", "invalid_value", hint)
        if waiting >= self.max_waiting and not submit.begun:
            hint = "try again later, or raise max_waiting or the number of replicas"
            return Refused(submit.key, f"{waiting} requests wait already", "overloaded", hint)
        return None

    def _too_long(self, key: str, length: int) -> Refused:
        message = f"{length} tokens leave no room for an answer: prompt and answer together may have {self.context}"
        knob = "max_context" if self.max_context <= self.pages else "kv_tokens (or kv_memory)"
        return Refused(key, message, "context_length_exceeded", f"shorten the prompt, or raise {knob}")

    def _known(self, tokens: list[int]) -> bool:
        return not tokens or (min(tokens) >= 0 and max(tokens) < self.vocab_size)
