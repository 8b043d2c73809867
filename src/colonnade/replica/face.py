"""The HTTP face of one replica: what it serves, what it carries, and the phases of its life.

starting -> ready -> draining -> gone          ready <-> updating <-> asleep
       \\-> failed -> gone
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager

import zmq

from colonnade.replica.backend import Backend, EngineArgv
from colonnade.replica.caretaker import Caretaker
from colonnade.replica.choice import Choice
from colonnade.replica.detokenize import CONTEXT
from colonnade.replica.generation import Generation
from colonnade.replica.grammars import Grammars
from colonnade.replica.identity import Identity, identify
from colonnade.replica.intake import Intake, Taken
from colonnade.replica.leaving import Leaving
from colonnade.replica.metrics import Metrics
from colonnade.replica.model import ServedModel
from colonnade.replica.order import Bounds, Version
from colonnade.replica.past import take_in
from colonnade.replica.progress import Progress
from colonnade.replica.publisher import Publisher
from colonnade.replica.spare import Spares
from colonnade.replica.spool import Spool
from colonnade.replica.streams import Streams
from colonnade.replica.template_process import TEMPLATES
from colonnade.replica.templates import Templates
from colonnade.replica.timing import Timing
from colonnade.replica.writer import StreamWriter, WholeWriter
from colonnade.wire.errors import Conflict, Overloaded
from colonnade.wire.messages import Change, Deltas, Loaded, Phase, Snapshot
from colonnade.wire.replay import Replay
from colonnade.wire.settings import HttpSettings, ReplicaSettings

LAST_WORDS = 2.0
"""Seconds that connections get to read their error when the engine is gone."""

FAREWELL = 0.5
"""Seconds that a replica which served stays at least when it is to leave: a gateway that has not heard of it yet is
told so, and asks another one; at a closed connection it could not know whether the request was answered."""


class Face:
    """Lives on one event loop. `gone` resolves to why the process must end: "" when it was asked to."""

    def __init__(
        self,
        model: ServedModel | None,
        epoch: str,
        http: HttpSettings,
        settings: ReplicaSettings,
        spares: Spares,
        metrics: Metrics,
    ) -> None:
        """`model` None: it is still to come, with `adopt`."""
        self._model = model
        self.epoch = epoch
        self.http = http
        self.settings = settings
        self.metrics = metrics
        self.streams: Streams[Generation] = Streams(epoch)
        self.loaded_facts: Loaded | None = None
        self.version = Version()
        self.caretaker = Caretaker(self, settings.drain_timeout)
        self.created = int(time.time())
        self._leaving = Leaving(self._cut)
        self.gone = self._leaving.gone
        self.taking = asyncio.Event()
        """Set once it is ready for the first time."""
        self._intake: Intake | None = None  # None: no requests are taken now
        self._ready: Intake | None = None
        self._progress = Progress(settings.stall_timeout, time.monotonic())
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._publisher = Publisher(self._context, epoch)
        self._backend = Backend(self._context, self, spares)
        self._spares = spares
        self._grammars = Grammars(_checker_argv(model, settings) if model else [], settings.grammar_timeout)
        self._templates = self._rendering(_template_argv(model, settings) if model else [])
        self._serials = itertools.count(1)
        self._generations: set[Generation] = set()
        self._waiting = 0
        self._warming: asyncio.Task[None] | None = None

    @property
    def model(self) -> ServedModel:
        """Raises Overloaded while it is still being fetched."""
        if self._model is None:
            raise Overloaded(
                self.phase.reason or "starting", code="not_ready", hint="`colonnade ps` shows how far it is"
            )
        return self._model

    def fetching(self, text: str) -> None:
        """How far the model's files are."""
        if self.phase.name == "starting":
            self._turn(Phase("starting", text))

    def adopt(self, model: ServedModel) -> None:
        self._model = model
        self._grammars = Grammars(_checker_argv(model, self.settings), self.settings.grammar_timeout)
        self._templates = self._rendering(_template_argv(model, self.settings))
        self.fetching("")

    def _rendering(self, argv: Sequence[str]) -> Templates:
        return Templates(argv, self.settings.template_timeout, self._spares)

    async def start(self, argv: EngineArgv) -> None:
        await self._backend.start(argv)
        if self.model.template is not None:
            self._warming = asyncio.create_task(self._templates.start())

    async def stop(self) -> None:
        """After `gone`: end the engine, close the sockets."""
        await self._backend.stop()
        if self._warming is not None:
            self._warming.cancel()
            await asyncio.gather(self._warming, return_exceptions=True)
        await self._grammars.stop()
        await self._templates.stop()
        self._publisher.close()
        self._context.term()

    # What the engine reports.

    def loaded(self, loaded: Loaded) -> None:
        self._serve_with(loaded, "")
        if self.phase.name == "starting":
            self._turn(Phase("ready"))
            self.taking.set()

    def _serve_with(self, loaded: Loaded, version: str) -> None:
        self.loaded_facts = loaded
        self.metrics.describe(loaded.facts)
        self.version = Version(loaded.fingerprint, version or loaded.fingerprint[:12])
        folder = self.model.folder
        longest = min(loaded.max_context, folder.max_context)
        bounds = Bounds(longest, folder.vocab_size, folder.eos_token_ids, self.model.defaults)
        self._ready = Intake(
            self.model, bounds, self.version, self._grammars, self._templates, strict=self.settings.strict
        )
        self._intake = self._ready

    # What the caretaker does.

    async def change(self, make: Callable[[int], Change]) -> Loaded:
        return await self._backend.change(make)

    async def close(self, why: str, bound: float) -> None:
        self._intake = None
        self._turn(Phase("updating", why))
        await self._leaving.until_quiet(bound, "the replica's weights are about to change")

    def open(self, loaded: Loaded | None, version: str = "") -> None:
        if loaded is not None:
            same = loaded.fingerprint == self.version.fingerprint
            self._serve_with(loaded, version or (self.version.label if same else ""))
        self._intake = self._ready
        if self.phase.name in ("updating", "asleep"):
            self._turn(Phase("ready"))

    def rest(self, why: str) -> None:
        if self.phase.name in ("updating", "asleep"):
            self._turn(Phase("asleep", why))

    def stepped(self, deltas: Deltas) -> None:
        now = time.monotonic()
        self._progress.stepped(deltas.load.steps, now)
        self.metrics.note(deltas.load)
        self._publisher.note(deltas)

    def lost(self, reason: str, hint: str) -> None:
        self._turn(Phase("failed", f"{reason}; {hint}" if hint else reason))
        self._leaving.end(self.phase.reason, LAST_WORDS)

    # The phases.

    @property
    def phase(self) -> Phase:
        return self._publisher.phase

    @property
    def events(self) -> str:
        return self._publisher.endpoint

    def drain(self, bound: float, why: str) -> None:
        """No new requests; leave when those in flight are done, or after `bound` seconds."""
        if self.phase.name not in ("draining", "failed"):
            least = FAREWELL if self.phase.name == "ready" else 0.0
            self._turn(Phase("draining", why))
            self._leaving.end("", bound, least)

    def _turn(self, phase: Phase) -> None:
        self._publisher.turn(phase)
        self.metrics.turn(phase.name)

    def _cut(self, why: str) -> None:
        for generation in list(self._generations):
            generation.cancel(Overloaded(why, code="draining", hint="send the request again"))

    # What is in flight.

    def exchange(self) -> AbstractContextManager[None]:
        """Around each HTTP exchange that the end of the process waits for."""
        return self._leaving.exchange()

    def open_for_work(self) -> Intake:
        """Raises Overloaded when no request can be taken now."""
        if self._intake is None or self.phase.name != "ready":
            if self.phase.name == "asleep":
                raise Overloaded("the replica is asleep", code="asleep", hint="POST /wake_up to it wakes it")
            code = "draining" if self.phase.name == "draining" else "not_ready"
            raise Overloaded(f"the replica is {self.phase.name}", code=code, hint="send the request again in a moment")
        if self._waiting >= self.settings.max_waiting:
            raise Overloaded(
                f"{self._waiting} requests are waiting for the engine",
                hint="send fewer at a time, or raise max_waiting",
            )
        return self._intake

    def identify(self, headers: Mapping[str, str]) -> Identity:
        return identify(headers, os.urandom(24), time.time(), self.settings.resume_limit)

    def begin(self, taken: Taken, identity: Identity, endpoint: str, replay: Replay | None = None) -> Generation:
        """Submit an order; its answer goes to the generation's spool. Raises what `past.take_in` raises."""
        if taken.fingerprint != self._fingerprint or self._intake is None:
            raise Overloaded("the weights have changed meanwhile", code="not_ready", hint="send the request again")
        order = taken.order
        choices = [self._choice(taken, index) for index in range(order.choices)]
        past = take_in(replay, order, choices, self._fingerprint) if replay else None
        self._waiting += 1
        self._leaving.hold()
        generation = Generation(
            serial=f"{next(self._serials):x}",
            order=order,
            identity=identity,
            choices=choices,
            writer=StreamWriter(taken.shape, self.epoch, order.choices, past)
            if order.stream
            else WholeWriter(taken.shape, order.choices),
            spool=Spool(self.settings.spool_limit if order.stream else None, keep=identity.resume > 0),
            engine=self._backend,
            watch=Timing(self.metrics, endpoint, self._left_queue, self._ended),
            past=past,
            version=self.version,
        )
        self._generations.add(generation)
        if order.marks:
            self._publisher.expect(order.marks)
        self._progress.carries(len(self._generations), time.monotonic())
        generation.start()
        return generation

    @property
    def _fingerprint(self) -> str:
        return self.version.fingerprint

    def _choice(self, taken: Taken, index: int) -> Choice:
        order = taken.order
        prompt = order.prompts[index // order.n]
        decode = self.model.vocabulary.decode
        return Choice(decode, prompt[-CONTEXT:], order.stops, order.listening, tell_end=order.tell_end)

    def flush(self) -> None:
        """Empty the prefix cache of all that no request holds."""
        self._backend.drop()

    def abort(self, name: str | None) -> int:
        """End the requests of this name, the client's own or ours; None: all. How many there were."""
        found = [each for each in self._generations if name in (None, each.order.name, each.identity.request_id)]
        for generation in found:
            generation.cancel(Conflict("the request was aborted", code="aborted", hint="/abort_request was called"))
        return len(found)

    def _left_queue(self) -> None:
        self._waiting -= 1

    def _ended(self, generation: Generation) -> None:
        self._generations.discard(generation)
        self._progress.carries(len(self._generations), time.monotonic())
        self._leaving.let()

    # What it tells about itself.

    def snapshot(self) -> Snapshot:
        return self._publisher.snapshot()

    def stalled(self) -> bool:
        return self._progress.stalled(time.monotonic())

    def health(self) -> dict[str, object]:
        now = time.monotonic()
        stalled = self._progress.stalled(now)
        return {
            "status": "stalled" if stalled else self.phase.name,
            "reason": self.phase.reason,
            "steps": self._progress.steps,
            "in_flight": self._progress.in_flight,
            "waiting": self._waiting,
            "seconds_without_step": round(self._progress.quiet(now), 3),
            "threshold_seconds": round(self._progress.threshold, 3),
        }

    def model_card(self) -> dict[str, object]:
        """The model as /v1/models shows it: OpenAI's fields and the facts."""
        loaded, folder = self.loaded_facts, self.model.folder
        facts: dict[str, object] = {} if loaded is None else dict(loaded.facts)
        longest = folder.max_context if loaded is None else min(folder.max_context, loaded.max_context)
        return {
            "kernels": "unknown",
            "batch_invariant": False,
            "quantization": facts.get("quantisation", "none"),
            **facts,
            "id": self.model.name,
            "object": "model",
            "created": self.created,
            "owned_by": "colonnade",
            "max_model_len": longest,
            "vocab_size": folder.vocab_size,
            "fingerprint": self.version.fingerprint,
            "weight_version": self.version.label,
            "license": self.model.license,
            "epoch": self.epoch,
        }


def _checker_argv(model: ServedModel, settings: ReplicaSettings) -> list[str]:
    folder = model.folder
    return [
        *(sys.executable, "-m", "colonnade.engine.grammar_check", f"--tokenizer={folder.tokenizer_path}"),
        *(f"--vocab-size={folder.vocab_size}", f"--end-tokens={','.join(map(str, folder.eos_token_ids))}"),
        f"--memory={settings.grammar_memory}",
    ]


def _template_argv(model: ServedModel, settings: ReplicaSettings) -> list[str]:
    return [sys.executable, "-m", TEMPLATES, f"--model={model.folder.path}", f"--memory={settings.template_memory}"]
