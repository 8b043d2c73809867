"""The contract between the scheduler, which decides, and a worker, which computes.

A *slot* is a row of the token pool, given to a running request. A *page* is one token's place in the KV cache (page
size 1). The worker owns two tables, both indexed by slot and position:

    token_pool[slot, position]   the token at that position; the sampler writes position + 1
    page_table[slot, position]   the page that holds its keys and values

    scheduler.plan() -> Step -> worker.run(step) -> Result -> scheduler.commit(result) -> reports

A `Step` is immutable. Prefill, a chunk of it, decode and scoring are the same `Chunk`: tokens [start, start + length)
of a slot are computed, and one token is drawn after the last of them if `sample`. A known token is *scored* at the
position before it: the log-probability that the model gave it there.

The last tokens of a chunk may be *drafts*: guesses that are computed like known tokens. A token is drawn after the last
known one, and after each draft that equals the token drawn in its place; the first that differs ends it. So a chunk
brings one token more than drafts were right, and the worker's tables hold nothing of use beyond.

They are msgspec structs because one is made for every row of every step: a frozen dataclass takes ten times as long.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from colonnade.engine.drafter import Chances
from colonnade.wire.messages import Logprob, Sampling, Scoring


class Admit(msgspec.Struct, frozen=True):
    """A request enters a slot: its tokens and, for the leading `len(pages)` positions, pages computed before."""

    slot: int
    tokens: Sequence[int]  # prompt, then replay
    prompt_length: int
    pages: Sequence[int]
    sampling: Sampling
    choice: int
    scoring: Scoring | None = None


class Chunk(msgspec.Struct, frozen=True):
    """Compute positions [start, start + len(pages)) of `slot`; their keys and values go to `pages`.

    Drafts stand at the last positions, behind at least one known token; with them, `sample` is true.
    """

    slot: int
    start: int
    pages: Sequence[int]
    sample: bool
    drafts: Sequence[int] = ()
    chances: Sequence[Chances] = ()
    """What each draft was drawn from; empty if nothing was."""
    scored: tuple[int, int] = (0, 0)
    """Positions [first, end) of the chunk, each of which gives the score of the token behind it."""

    @property
    def known(self) -> int:
        """Position after the last known token: where the first token is drawn."""
        return self.start + len(self.pages) - len(self.drafts)


class Step(msgspec.Struct, frozen=True):
    number: int
    admits: tuple[Admit, ...]
    chunks: tuple[Chunk, ...]


class Drawn(msgspec.Struct, frozen=True):
    """A token drawn for a chunk with `sample`: in the order of the step's chunks, and within one of positions.

    `error` ends that request, and comes last of its chunk. `ahead`, of the last of a chunk: tokens that are to be
    drafted next, since a grammar forces them or makes them likely.
    """

    slot: int
    token: int
    logprob: Logprob | None = None
    error: str = ""
    ahead: Sequence[int] = ()
    vector: bytes = b""
    """Of the prompt, where `Scoring.pooling` asks for it; the token is none then."""


class Scored(msgspec.Struct, frozen=True):
    """What a chunk's scored positions gave, in order; one a chunk that has some. `error` ends that request.

    Empty where they go into a vector: what was pooled is not told, and begins anew after a retraction."""

    slot: int
    logprobs: list[Logprob]
    error: str = ""


class Result(msgspec.Struct, frozen=True):
    number: int
    drawn: tuple[Drawn, ...]
    scored: tuple[Scored, ...] = ()  # in the order of the chunks


class Worker(Protocol):
    """Runs steps in order. Never raises for what a single request did: that is `Drawn.error`."""

    def run(self, step: Step) -> Result: ...
