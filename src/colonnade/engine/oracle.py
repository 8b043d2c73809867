"""A worker without floats whose answers prove the scheduler and the cache.

The "keys and values" of a token are the digest of the exact history up to it. A step reads that history through the
page table, as attention would, and every page of it must hold the digest that belongs there; else `OracleMismatch`
says which does not. The token drawn is a hash of (history, seed, choice, position), so that the right output of any
request is known in closed form: `continuation`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import msgspec

from colonnade.engine.step import Admit, Chunk, Drawn, Result, Scored, Step
from colonnade.wire.messages import Logprob, Sampling

EMPTY = bytes(16)


class OracleMismatch(AssertionError):
    """A page did not hold what the history says it must."""


def digest(history: bytes, token: int) -> bytes:
    """Of the history that ends with `token`."""
    return blake2b(history + token.to_bytes(8, "little"), digest_size=16).digest()


def draw(history: bytes, sampling: Sampling, choice: int, position: int, vocab_size: int) -> int:
    words = b"".join(word.to_bytes(8, "little") for word in (sampling.seed, choice, position))
    return int.from_bytes(blake2b(history + words, digest_size=8).digest(), "little") % vocab_size


def logprob(token: int, count: int, vocab_size: int) -> Logprob:
    """Not a distribution; exact to compare, and it gives every field a value."""
    likely = [(token + i) % vocab_size for i in range(count)]
    return Logprob(token, -token / vocab_size, [(each, -each / vocab_size) for each in likely])


def score(token: int, position: int, vocab_size: int) -> Logprob:
    """Of `token` as it is scored at `position`."""
    return Logprob(token, -position / vocab_size)


def continuation(
    prompt: Sequence[int], sampling: Sampling, choice: int, *, vocab_size: int, context: int
) -> tuple[list[int], str]:
    """The whole output of a request and why it ends, computed from its history alone."""
    history = EMPTY
    for token in prompt:
        history = digest(history, token)
    tokens: list[int] = []
    while len(tokens) < sampling.max_tokens and len(prompt) + len(tokens) < context:
        tokens.append(draw(history, sampling, choice, len(tokens), vocab_size))
        if tokens[-1] in sampling.stop_token_ids:
            return tokens, "stop"
        history = digest(history, tokens[-1])
    return tokens, "length"


@dataclass(slots=True)
class _Slot:
    admit: Admit
    tokens: list[int]  # token_pool[slot]
    pages: list[int]  # page_table[slot]
    history: list[bytes]  # what each of these pages must hold


class OracleWorker:
    """Implements `step.Worker`. After each chunk it foresees `foresight` tokens, as a grammar would; some are wrong."""

    def __init__(self, slots: int, pages: int, vocab_size: int, foresight: int = 0) -> None:
        self.vocab_size = vocab_size
        self.foresight = foresight
        self.runs = 0
        """Steps run."""
        self._slots: list[_Slot | None] = [None] * slots
        self._kv = [EMPTY] * pages

    def run(self, step: Step) -> Result:
        """Raises OracleMismatch."""
        self.runs += 1
        for admit in step.admits:
            self._admit(admit)
        written = [page for chunk in step.chunks for page in chunk.pages]
        if len(set(written)) < len(written):
            raise OracleMismatch(f"step {step.number}: a page is written twice: {sorted(written)}")
        drawn = tuple(drawn for chunk in step.chunks for drawn in self._compute(chunk))
        return Result(step.number, drawn, tuple(self._score(chunk) for chunk in step.chunks if chunk.scored[1]))

    def tokens(self, slot: int) -> list[int]:
        """The slot's row of the token pool."""
        row = self._slots[slot]
        return [] if row is None else row.tokens

    def _admit(self, admit: Admit) -> None:
        history: list[bytes] = []
        for token in admit.tokens[: len(admit.pages)]:
            history.append(digest(history[-1] if history else EMPTY, token))
        self._slots[admit.slot] = _Slot(admit, list(admit.tokens), list(admit.pages), history)

    def _compute(self, chunk: Chunk) -> list[Drawn]:
        slot = self._slots[chunk.slot]
        if slot is None or chunk.start != len(slot.pages):
            at = None if slot is None else len(slot.pages)
            raise OracleMismatch(f"slot {chunk.slot}: a chunk starts at {chunk.start}, {at} are computed")
        self._read(chunk.slot, slot)
        if chunk.sample and chunk.known != len(slot.tokens):
            raise OracleMismatch(f"slot {chunk.slot}: a draw after {chunk.known} of {len(slot.tokens)} tokens")
        slot.tokens += chunk.drafts
        for position, page in enumerate(chunk.pages, chunk.start):
            value = digest(slot.history[-1] if slot.history else EMPTY, slot.tokens[position])
            slot.pages.append(page)
            slot.history.append(value)
            self._kv[page] = value
        return self._verify(chunk, slot) if chunk.sample else []

    def _score(self, chunk: Chunk) -> Scored:
        """Positions of the chunk, computed just now; each token's own number, after its position."""
        slot, (first, end) = self._slots[chunk.slot], chunk.scored
        assert slot is not None
        assert slot.admit.scoring is not None
        if not chunk.start <= first < end <= chunk.known:
            raise OracleMismatch(f"slot {chunk.slot}: positions {chunk.scored} are scored in {chunk}")
        return Scored(chunk.slot, [score(slot.tokens[at + 1], at, self.vocab_size) for at in range(first, end)])

    def _verify(self, chunk: Chunk, slot: _Slot) -> list[Drawn]:
        """Draw after the last known token, and on while a draft is what was drawn; what is wrong is forgotten."""
        drawn = [self._sample(chunk.slot, slot, chunk.known)]
        for position, draft in enumerate(chunk.drafts, chunk.known):
            if draft != drawn[-1].token:
                break
            drawn.append(self._sample(chunk.slot, slot, position + 1))
        known = chunk.known + len(drawn) - 1
        del slot.tokens[known:], slot.pages[known:], slot.history[known:]
        slot.tokens.append(drawn[-1].token)
        drawn[-1] = msgspec.structs.replace(drawn[-1], ahead=self._ahead(slot))
        return drawn

    def _ahead(self, slot: _Slot) -> list[int]:
        """One in seven is wrong."""
        history, position = slot.history[-1], len(slot.tokens) - slot.admit.prompt_length
        ahead: list[int] = []
        token = slot.tokens[-1]
        for at in range(position, position + self.foresight):
            history = digest(history, token)
            token = draw(history, slot.admit.sampling, slot.admit.choice, at, self.vocab_size)
            ahead.append((token + (at % 7 == 3)) % self.vocab_size)
        return ahead

    def _read(self, number: int, slot: _Slot) -> None:
        """All of the history, through the page table."""
        found = [self._kv[page] for page in slot.pages]
        if found == slot.history:
            return
        position = next(i for i, (a, b) in enumerate(zip(found, slot.history, strict=True)) if a != b)
        raise OracleMismatch(
            f"slot {number}, position {position}, page {slot.pages[position]}: holds {found[position].hex()}, "
            f"but the history {slot.tokens[: position + 1]} is {slot.history[position].hex()}"
        )

    def _sample(self, number: int, slot: _Slot, length: int) -> Drawn:
        """The token at position `length`."""
        admit = slot.admit
        token = draw(
            slot.history[length - 1], admit.sampling, admit.choice, length - admit.prompt_length, self.vocab_size
        )
        wanted = admit.sampling.logprobs
        return Drawn(number, token, None if wanted is None else logprob(token, wanted, self.vocab_size))
