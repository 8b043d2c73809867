"""Runs steps: the tables of tokens and pages, the forward pass, the draw.

loaded = load_worker(ModelFolder.open("colonnade-tiny"), settings.engine)
result = loaded.worker.run(step)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice, repeat
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from colonnade.engine import sampler
from colonnade.engine.columns import NOT_FINITE, Columns, DrawRows, Rows, by_rows
from colonnade.engine.constraint import Constraints
from colonnade.engine.facts import Clock, Progress, facts_of
from colonnade.engine.folder import ModelFolder
from colonnade.engine.grammar import Compiler
from colonnade.engine.kernels.choice import choose_kernels
from colonnade.engine.kernels.ops import Batch, Floats, Kernels, Program, Repacks
from colonnade.engine.memory import CacheSettings, cache_size
from colonnade.engine.pooling import Pooling
from colonnade.engine.resident import Binder, Held, Resident
from colonnade.engine.sampler import Choose
from colonnade.engine.spot import Span, Spot, layout
from colonnade.engine.step import Admit, Chunk, Drawn, Result, Scored, Step
from colonnade.wire.errors import BadSetting
from colonnade.wire.messages import Sampling, Scoring

KEEPS_NONE = "this model's forward pass keeps no hidden states, so that it gives no vectors"


class WorkerSettings(CacheSettings, Protocol):
    """What a worker reads of `wire.settings.EngineSettings`."""

    @property
    def device(self) -> str: ...
    @property
    def dtype(self) -> str: ...
    @property
    def kernels(self) -> str: ...
    @property
    def quantize(self) -> str: ...
    @property
    def kv_dtype(self) -> str: ...
    @property
    def threads(self) -> int | None: ...
    @property
    def round_activations(self) -> bool: ...
    @property
    def max_running(self) -> int: ...
    @property
    def draft_rule(self) -> str: ...
    @property
    def jump_forward(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class LoadedWorker:
    worker: ModelWorker
    resident: Resident
    fingerprint: str
    facts: dict[str, str | int | float | bool]
    pages: int
    max_context: int
    eos_token_ids: tuple[int, ...]


@dataclass(slots=True)
class _Slot:
    """A running request: how to draw for it."""

    sampling: Sampling
    choice: int
    prompt_length: int
    scoring: Scoring | None = None


class ModelWorker:
    """Implements `step.Worker`. `by_chance`: drafts are accepted by their probability, else by the coupled rule."""

    def __init__(
        self,
        program: Program,
        choose: Choose,
        slots: int,
        context: int,
        vocab_size: int,
        constraints: Constraints,
        by_chance: bool = False,
        draw_rows: DrawRows | None = None,
    ) -> None:
        self._program: Program | None = program
        self._choose = choose
        self._draw_rows = draw_rows or by_rows(choose)
        self._columns = Columns(slots)
        self._pooling = Pooling()
        self._by_chance = by_chance
        self._constraints = constraints
        self._vocab_size = vocab_size
        self._tokens = np.zeros((slots, context + 1), dtype=np.int32)
        self._pages = np.zeros((slots, context + 1), dtype=np.int32)
        self._slots: list[_Slot | None] = [None] * slots
        self._prompts = np.zeros(slots, dtype=np.int64)
        self._errors: dict[int, str] = {}
        """By slot: what is wrong with its request."""

    def use(self, program: Program | None) -> None:
        """Compute with it from the next step on; None: there will be none until the next call."""
        self._program = program

    def run(self, step: Step) -> Result:
        """A request whose tokens or logits are no good gets `Drawn.error`; the others do not notice."""
        for admit in step.admits:
            self._admit(admit)
        if not step.chunks:
            return Result(step.number, ())
        assert self._program is not None, "a step without weights"
        spans, spots = layout(step.chunks)
        batch = self._batch(step.chunks)
        self._constraints.prepare(spots)
        if self._pooling.among(step.chunks):
            return self._pooled(self._program, step, batch, spans, spots)
        logits_SV = self._program.run(batch)
        scored = tuple(self._score(logits_SV, span) for span in spans)
        return Result(step.number, self._verify(logits_SV, spots), scored)

    def _pooled(self, program: Program, step: Step, batch: Batch, spans: list[Span], spots: list[Spot]) -> Result:
        """A step with requests for vectors in it. Where there are others, it is computed twice: for hidden states, and
        for logits."""
        pools = {chunk.slot for chunk in step.chunks if chunk.slot in self._pooling}
        hidden_SD = program.hidden(batch)
        if hidden_SD is None:
            self._errors |= dict.fromkeys(pools, KEEPS_NONE)
            hidden_SD = np.zeros((len(batch.sampled), 1), dtype=np.float32)
        vectors = self._pooling.take(hidden_SD, spans, spots)
        drawn: dict[int, list[Drawn]] = {spot.slot: [] for spot in spots}
        scored = {span.chunk.slot: Scored(span.chunk.slot, []) for span in spans}
        for slot, vector_D in vectors.items():
            error = self._errors.get(slot, "") or ("" if np.isfinite(vector_D).all() else sampler.NOT_FINITE)
            drawn[slot].append(Drawn(slot, 0, error=error, vector=vector_D.astype("<f4").tobytes()))
        if len(pools) < len(step.chunks):
            logits_SV = program.run(batch)
            scored |= {it.chunk.slot: self._score(logits_SV, it) for it in spans if it.chunk.slot not in pools}
            for each in self._verify(logits_SV, [spot for spot in spots if spot.slot not in pools]):
                drawn[each.slot].append(each)
        told = tuple(each for draws in drawn.values() for each in draws)
        return Result(step.number, told, tuple(scored.values()))

    def _admit(self, admit: Admit) -> None:
        tokens = np.asarray(admit.tokens, dtype=np.int64)
        strange = tokens[(tokens < 0) | (tokens >= self._vocab_size)]
        error = f"token id {strange[0]} is outside the vocabulary of {self._vocab_size}" if len(strange) else ""
        self._tokens[admit.slot, : len(tokens)] = 0 if error else tokens
        self._pages[admit.slot, : len(admit.pages)] = admit.pages
        self._slots[admit.slot] = _Slot(admit.sampling, admit.choice, admit.prompt_length, admit.scoring)
        self._errors.pop(admit.slot, None)
        if error:
            self._errors[admit.slot] = error
        self._prompts[admit.slot] = admit.prompt_length
        self._columns.enter(admit.slot, admit.sampling, admit.choice)
        self._pooling.enter(admit.slot, admit.scoring)
        self._constraints.enter(admit.slot, admit.sampling.grammar, admit.tokens[admit.prompt_length :])

    def _batch(self, chunks: tuple[Chunk, ...]) -> Batch:
        """What a step computes, token by token; the tables learn its pages and drafts."""
        slots: list[int] = []
        positions: list[int] = []
        pages: list[int] = []
        sampled: list[int] = []
        for chunk in chunks:
            ahead = len(slots) - chunk.start  # from a position of the chunk to its row
            end, known = chunk.start + len(chunk.pages), chunk.known
            slots += repeat(chunk.slot, len(chunk.pages))
            positions += range(chunk.start, end)
            pages += chunk.pages
            if chunk.scored[1]:
                sampled += range(ahead + chunk.scored[0], ahead + chunk.scored[1])
            if chunk.sample:
                sampled += range(ahead + known - 1, ahead + end)
            if known < end:
                self._tokens[chunk.slot, known:end] = chunk.drafts
        slots_T, positions_T = np.array(slots, dtype=np.int32), np.array(positions, dtype=np.int32)
        self._pages[slots_T, positions_T] = pages
        tokens_T = self._tokens[slots_T, positions_T]
        return Batch(tokens_T, slots_T, positions_T, self._pages, np.array(sampled, dtype=np.int32))

    def _score(self, logits_SV: Floats, span: Span) -> Scored:
        number, (first, end) = span.chunk.slot, span.chunk.scored
        slot = self._slots[number]
        assert slot is not None
        assert slot.scoring is not None, "a chunk is scored that nobody wanted scores of"
        tokens = self._tokens[number, first + 1 : end + 1].tolist()
        scores = sampler.scores(logits_SV[span.rows], tokens, slot.scoring)
        error = self._errors.get(number) or ("" if scores is not None else sampler.NOT_FINITE)
        return Scored(number, [] if error or scores is None else scores, error)

    def _verify(self, logits_SV: Floats, spots: list[Spot]) -> tuple[Drawn, ...]:
        """One draw a chunk, and one more behind each draft that is the token drawn in its place."""
        held = self._held([spot.slot for spot in spots])
        if not any(spot.chunk.drafts for spot in spots):
            draws = self._draw(logits_SV, spots)
            for index, slot in held:
                draws[index] = self._settle(slot, [draws[index]])
            return tuple(draws)
        drawn = self._chains(logits_SV, spots)
        for _, slot in held:
            drawn[slot][-1] = self._settle(slot, drawn[slot])
        return tuple(each for spot in spots for each in drawn[spot.slot])

    def _chains(self, logits_SV: Floats, spots: list[Spot]) -> dict[int, list[Drawn]]:
        """By slot. Of plain slots all places in one call, as if every draft were right: what is drawn behind a wrong
        one is dropped. Of the others place by place, for a draw may depend on the tokens before it."""
        plain = [spot for spot in spots if self._is_plain(spot)]
        places = [place for spot in plain for place in spot.chain()]
        draws = iter(self._together(logits_SV, places))
        drawn = {spot.slot: spot.until_wrong(list(islice(draws, 1 + len(spot.chunk.drafts)))) for spot in plain}
        rest = [spot for spot in spots if spot.slot not in drawn]
        while rest:
            for each in self._apart(logits_SV, rest):
                drawn.setdefault(each.slot, []).append(each)
            rest = [spot.next() for spot in rest if spot.right(drawn[spot.slot][-1])]
        return drawn

    def _is_plain(self, spot: Spot) -> bool:
        return self._columns.plain[spot.slot] and not (self._by_chance and spot.chunk.drafts)

    def _draw(self, logits_SV: Floats, spots: list[Spot]) -> list[Drawn]:
        """Plain slots in one call, the others one by one; none depends on its company."""
        plain = [spot for spot in spots if self._columns.plain[spot.slot]]
        draws = self._together(logits_SV, plain)
        if len(plain) < len(spots):
            drawn = {each.slot: each for each in draws}
            others = [spot for spot in spots if spot.slot not in drawn]
            drawn |= {each.slot: each for each in self._apart(logits_SV, others)}
            draws = [drawn[spot.slot] for spot in spots]
        return draws

    def _held(self, slots: list[int]) -> list[tuple[int, int]]:
        """(index, slot) of those that a grammar holds, when their masks are there."""
        held = self._constraints.among(slots)
        if held:
            self._constraints.ready()
            for _, slot in held:
                if error := self._constraints.error(slot):
                    self._errors[slot] = error
        return held

    def _settle(self, slot: int, draws: list[Drawn]) -> Drawn:
        """The grammar learns what was drawn, and says with the last draw what comes next."""
        last = draws[-1]
        if last.error:
            return last
        ahead = self._constraints.settle(slot, [each.token for each in draws])
        return Drawn(slot, last.token, last.logprob, "", ahead) if ahead else last

    def _together(self, logits_SV: Floats, spots: list[Spot]) -> list[Drawn]:
        slots = [spot.slot for spot in spots]
        slots_S = np.array(slots, dtype=np.int64)
        places_S = np.array([spot.position for spot in spots], dtype=np.int64)
        rows_S = np.array([spot.row for spot in spots], dtype=np.int64)
        rows = Rows(rows_S, slots_S, places_S - self._prompts[slots_S], self._masked(slots))
        tokens_S = self._draw_rows(logits_SV, rows, self._columns, self._constraints.words_SW)
        self._tokens[slots_S, places_S] = np.maximum(tokens_S, 0)
        tokens = tokens_S.tolist()
        if self._errors or min(tokens, default=0) < 0:
            return [self._told(slot, token) for slot, token in zip(slots, tokens, strict=True)]
        return [Drawn(slot, token) for slot, token in zip(slots, tokens, strict=True)]

    def _masked(self, slots: list[int]) -> NDArray[np.uint8]:
        """Which of them a grammar holds; one that has failed is of no account, for its request ends."""
        masked_S = np.zeros(len(slots), dtype=np.uint8)
        held = self._constraints.among(slots)
        if held:
            masked_S[[index for index, _ in held]] = True
        return masked_S

    def _told(self, slot: int, token: int) -> Drawn:
        """What is wrong with it, if anything."""
        error = self._errors.get(slot, "")
        if token < 0:
            error = error or (sampler.NOT_FINITE if token == NOT_FINITE else sampler.NOTHING_ALLOWED)
        return Drawn(slot, max(token, 0), None, error)

    def _apart(self, logits_SV: Floats, spots: list[Spot]) -> list[Drawn]:
        rows = (logits_SV[spot.row] for spot in spots)
        outcomes = sampler.draw(rows, [self._wanted(spot) for spot in spots], self._choose)
        return [self._take(spot, each) for spot, each in zip(spots, outcomes, strict=True)]

    def _wanted(self, spot: Spot) -> sampler.Wanted:
        slot, length = self._slots[spot.slot], spot.position
        assert slot is not None, "a chunk of a slot that nobody entered"
        history = self._tokens[spot.slot, :length]
        guess = spot.guess if self._by_chance else None
        allowed = self._constraints.mask(spot.slot, spot.row)
        position = length - slot.prompt_length
        return sampler.Wanted(slot.sampling, slot.choice, position, history, slot.prompt_length, allowed, guess)

    def _take(self, spot: Spot, outcome: sampler.Outcome) -> Drawn:
        self._tokens[spot.slot, spot.position] = outcome.token
        return Drawn(spot.slot, outcome.token, outcome.logprob, self._errors.get(spot.slot) or outcome.error)


def load_worker(
    folder: ModelFolder,
    settings: WorkerSettings,
    progress: Progress = lambda phase: None,
    cache: Path | None = None,
    held: Held | None = None,
) -> LoadedWorker:
    """Reads the weights, makes the tables and runs one step. `progress` hears the name of each phase as it begins.

    `cache` is a folder for digests of weights and for their 8-bit copies (`COLONNADE_HOME/cache`). `held`: weights that
    are in memory already; others than these settings ask for are left alone. Raises BadModel and BadSetting.
    """
    clock = Clock(progress)
    clock.enter("kernels")
    kernels = _kernels(settings)
    binder = _binder(kernels, settings, clock.enter, cache)
    bound = binder.bind(folder) if held is None or not binder.suits(held, folder) else binder.finish(held)
    assert binder.size is not None
    pages, context = binder.size
    by_chance = settings.draft_rule == "probability"
    constraints = Constraints(
        lambda: _compiler(folder, bound.vocab_size, guess=settings.jump_forward and not by_chance),
        bound.vocab_size,
        foresee=settings.jump_forward,
    )
    worker = ModelWorker(
        bound.program,
        kernels.choose,
        settings.max_running,
        context,
        bound.vocab_size,
        constraints,
        by_chance,
        kernels.draw_rows,
    )
    clock.enter("warm")
    worker.run(Step(0, (Admit(0, [0], 1, [], Sampling(), 0),), (Chunk(0, 0, [0], True),)))
    facts = facts_of(kernels, bound, pages, context) | {"kv_dtype": settings.kv_dtype} | clock.seconds()
    resident = Resident(bound, binder, worker.use)
    return LoadedWorker(worker, resident, bound.fingerprint, facts, pages, context, folder.eos_token_ids)


def hold_weights(folder: ModelFolder, settings: WorkerSettings, cache: Path | None = None) -> Held | None:
    """What processes that are forked from this one can share; None for kernels whose weights are no plain memory, or
    that would start threads to hold them. Starts none itself. Raises BadModel and BadSetting."""
    kernels = _kernels(settings)
    return _binder(kernels, settings, lambda phase: None, cache).hold(folder) if isinstance(kernels, Repacks) else None


def _kernels(settings: WorkerSettings) -> Kernels:
    if settings.dtype not in ("auto", "float32"):
        raise BadSetting(f"dtype {settings.dtype} is not computed yet", hint="set dtype to auto or float32")
    return choose_kernels(
        settings.kernels, settings.device, settings.threads, settings.round_activations, settings.quantize
    )


def _binder(kernels: Kernels, settings: WorkerSettings, enter: Callable[[str], None], cache: Path | None) -> Binder:
    def measure(token_bytes: int, longest: int) -> tuple[int, int]:
        return cache_size(settings, token_bytes, longest, kernels.free())

    return Binder(kernels, measure, enter, cache, settings.kv_dtype)


def _compiler(folder: ModelFolder, vocab_size: int, *, guess: bool) -> Compiler:
    """A guess that is accepted by chance would change the answer: none where that is the rule."""
    from colonnade.engine.llguidance_grammar import LlguidanceCompiler  # only where a grammar is asked for

    return LlguidanceCompiler(folder.tokenizer_path.read_text("utf-8"), vocab_size, folder.eos_token_ids, guess=guess)
