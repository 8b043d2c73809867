"""Runs steps: the tables of tokens and pages, the forward pass, the draw.

loaded = load_worker(ModelFolder.open("colonnade-tiny"), settings.engine)
result = loaded.worker.run(step)
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from colonnade.engine import sampler
from colonnade.engine.constraint import Constraints, GrammarFailed
from colonnade.engine.folder import ModelFolder
from colonnade.engine.grammar import Compiler
from colonnade.engine.kernels.choice import choose_kernels
from colonnade.engine.kernels.ops import Batch, Floats, Kernels, Program
from colonnade.engine.memory import CacheSettings, cache_size
from colonnade.engine.resident import Binder, Bound, Resident, device_of
from colonnade.engine.sampler import Choose
from colonnade.engine.spot import Spot
from colonnade.engine.step import Admit, Chunk, Drawn, Result, Step
from colonnade.wire.errors import BadSetting
from colonnade.wire.messages import Sampling

Progress = Callable[[str], None]


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
    """A running request: how to draw for it, and what is wrong with it, if anything."""

    sampling: Sampling
    choice: int
    prompt_length: int
    error: str = ""


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
    ) -> None:
        self._program: Program | None = program
        self._choose = choose
        self._by_chance = by_chance
        self._constraints = constraints
        self._vocab_size = vocab_size
        self._tokens = np.zeros((slots, context + 1), dtype=np.int32)
        self._pages = np.zeros((slots, context + 1), dtype=np.int32)
        self._slots: list[_Slot | None] = [None] * slots

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
        logits_SV = self._program.run(self._batch(step.chunks))
        return Result(step.number, self._verify(logits_SV, [chunk for chunk in step.chunks if chunk.sample]))

    def _admit(self, admit: Admit) -> None:
        tokens = np.asarray(admit.tokens, dtype=np.int64)
        strange = tokens[(tokens < 0) | (tokens >= self._vocab_size)]
        error = f"token id {strange[0]} is outside the vocabulary of {self._vocab_size}" if len(strange) else ""
        self._tokens[admit.slot, : len(tokens)] = 0 if error else tokens
        self._pages[admit.slot, : len(admit.pages)] = admit.pages
        self._slots[admit.slot] = _Slot(admit.sampling, admit.choice, admit.prompt_length, error)
        self._constraints.enter(admit.slot, admit.sampling.grammar, admit.tokens[admit.prompt_length :])

    def _batch(self, chunks: tuple[Chunk, ...]) -> Batch:
        lengths = [len(chunk.pages) for chunk in chunks]
        ends = np.cumsum(lengths, dtype=np.int32)
        slots_T = np.repeat(np.array([chunk.slot for chunk in chunks], dtype=np.int32), lengths)
        first_T = np.repeat(ends - np.array(lengths, dtype=np.int32), lengths)
        starts_T = np.repeat(np.array([chunk.start for chunk in chunks], dtype=np.int32), lengths)
        positions_T = starts_T + np.arange(len(slots_T), dtype=np.int32) - first_T
        for chunk, length in zip(chunks, lengths, strict=True):
            self._pages[chunk.slot, chunk.start : chunk.start + length] = chunk.pages
            self._tokens[chunk.slot, chunk.known : chunk.known + len(chunk.drafts)] = chunk.drafts
        last_T = np.repeat(ends, lengths) - np.arange(len(slots_T))  # 1: the last token of its chunk
        drawn_T = np.repeat([1 + len(chunk.drafts) if chunk.sample else 0 for chunk in chunks], lengths)
        return Batch(
            tokens=self._tokens[slots_T, positions_T],
            slots=slots_T,
            positions=positions_T,
            pages=self._pages,
            sampled=np.flatnonzero(last_T <= drawn_T).astype(np.int32),
        )

    def _verify(self, logits_SV: Floats, chunks: list[Chunk]) -> tuple[Drawn, ...]:
        """One draw a chunk; then, in rounds, one more for each whose draft is the token just drawn."""
        drawn: dict[int, list[Drawn]] = {chunk.slot: [] for chunk in chunks}
        ends = np.cumsum([1 + len(chunk.drafts) for chunk in chunks])
        spots = [Spot(chunk, int(end) - 1 - len(chunk.drafts)) for chunk, end in zip(chunks, ends, strict=True)]
        while spots:
            for each in self._draw(logits_SV, spots):
                drawn[each.slot].append(each)
            spots = [spot.next() for spot in spots if spot.right(drawn[spot.chunk.slot][-1])]
        return tuple(each for draws in drawn.values() for each in draws)

    def _draw(self, logits_SV: Floats, spots: list[Spot]) -> list[Drawn]:
        rows = (logits_SV[spot.row] for spot in spots)
        outcomes = sampler.draw(rows, [self._wanted(spot) for spot in spots], self._choose)
        self._constraints.advance([(spot.chunk.slot, each.token) for spot, each in zip(spots, outcomes, strict=True)])
        return [self._take(spot, outcome) for spot, outcome in zip(spots, outcomes, strict=True)]

    def _wanted(self, spot: Spot) -> sampler.Wanted:
        slot, length = self._slots[spot.chunk.slot], spot.position
        assert slot is not None, "a chunk of a slot that nobody entered"
        history = self._tokens[spot.chunk.slot, :length]
        allowed, guess = None, spot.guess if self._by_chance else None
        try:
            allowed = self._constraints.mask(spot.chunk.slot)
        except GrammarFailed as error:
            slot.error = str(error)
        position = length - slot.prompt_length
        return sampler.Wanted(slot.sampling, slot.choice, position, history, slot.prompt_length, allowed, guess)

    def _take(self, spot: Spot, outcome: sampler.Outcome) -> Drawn:
        number = spot.chunk.slot
        slot = self._slots[number]
        assert slot is not None
        self._tokens[number, spot.position] = outcome.token
        return Drawn(number, outcome.token, outcome.logprob, slot.error or outcome.error)


def load_worker(
    folder: ModelFolder, settings: WorkerSettings, progress: Progress = lambda phase: None, cache: Path | None = None
) -> LoadedWorker:
    """Reads the weights, makes the tables and runs one step. `progress` hears the name of each phase as it begins.

    `cache` is a folder for digests of weights and for their 8-bit copies (`COLONNADE_HOME/cache`). Raises BadModel and
    BadSetting.
    """
    clock = _Clock(progress)
    if settings.dtype not in ("auto", "float32"):
        raise BadSetting(f"dtype {settings.dtype} is not computed yet", hint="set dtype to auto or float32")
    clock.enter("kernels")
    kernels = choose_kernels(
        settings.kernels, settings.device, settings.threads, settings.round_activations, settings.quantize
    )
    binder = Binder(
        kernels,
        lambda token_bytes, most: cache_size(settings, token_bytes, most, kernels.free()),
        clock.enter,
        cache,
        settings.kv_dtype,
    )
    bound = binder.bind(folder)
    assert binder.size is not None
    pages, context = binder.size
    constraints = Constraints(lambda: _compiler(folder, bound.vocab_size), settings.max_running, bound.vocab_size)
    by_chance = settings.draft_rule == "probability"
    worker = ModelWorker(
        bound.program, kernels.choose, settings.max_running, context, bound.vocab_size, constraints, by_chance
    )
    clock.enter("warm")
    worker.run(Step(0, (Admit(0, [0], 1, [], Sampling(), 0),), (Chunk(0, 0, [0], True),)))
    facts = _facts(kernels, bound, pages, context) | {"kv_dtype": settings.kv_dtype} | clock.seconds()
    resident = Resident(bound, binder, worker.use)
    return LoadedWorker(worker, resident, bound.fingerprint, facts, pages, context, folder.eos_token_ids)


def _compiler(folder: ModelFolder, vocab_size: int) -> Compiler:
    from colonnade.engine.llguidance_grammar import LlguidanceCompiler  # only where a grammar is asked for

    return LlguidanceCompiler(folder.tokenizer_path.read_text("utf-8"), vocab_size, folder.eos_token_ids)


def _facts(kernels: Kernels, bound: Bound, pages: int, context: int) -> dict[str, str | int | float | bool]:
    return {
        "kernels": kernels.name,
        "batch_invariant": kernels.batch_invariant,
        "device": device_of(kernels),
        "threads": kernels.threads,
        "dtype": "float32",
        "weight_dtype": bound.weight_dtype,
        "quantisation": bound.quantisation,
        "pages": pages,
        "max_context": context,
        "kv_bytes_per_token": bound.token_bytes,
    }


class _Clock:
    """Seconds by phase, for the facts."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._marks: list[tuple[str, float]] = []

    def enter(self, phase: str) -> None:
        self._marks.append((phase, time.monotonic()))
        self._progress(phase)

    def seconds(self) -> dict[str, str | int | float | bool]:
        """`seconds_PHASE` of each phase entered; the last one ends now."""
        ends = [begun for _, begun in self._marks[1:]] + [time.monotonic()]
        return {
            f"seconds_{phase}": round(end - begun, 4) for (phase, begun), end in zip(self._marks, ends, strict=True)
        }
