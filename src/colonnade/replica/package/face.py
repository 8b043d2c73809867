"""The life of a package's process: its phases, what is in flight, what it publishes.

starting -> ready -> draining -> gone
       \\-> failed -> gone
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Generator, Mapping
from typing import Any

import zmq

from colonnade.packages import loading
from colonnade.packages.contract import Contract, contract_of
from colonnade.packages.folder import Package
from colonnade.replica.metrics import Metrics
from colonnade.replica.package.calls import Calls, Slots
from colonnade.replica.package.refusals import not_ready
from colonnade.replica.publisher import Publisher
from colonnade.wire.messages import Deltas, Load, Phase, Snapshot
from colonnade.wire.settings import HttpSettings, ReplicaSettings

LAST_WORDS = 2.0
"""Seconds that probes get to read why loading failed."""


class PackageFace:
    """Lives on one event loop. `gone` resolves to why the process must end: "" when it was asked to."""

    def __init__(self, package: Package, name: str, epoch: str, http: HttpSettings, settings: ReplicaSettings) -> None:
        self.package = package
        self.name = name
        self.epoch = epoch
        self.http = http
        self.settings = settings
        self.metrics = Metrics()
        self.created = int(time.time())
        self.gone: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.model: Any = None
        self._contract: Contract | None = None
        runtime = package.config.runtime
        reject = runtime.request_backpressure.policy == "reject_on_full"
        slots = Slots(max(1, runtime.predict_concurrency), settings.max_waiting, reject, self._changed)
        self.calls = Calls(slots, runtime.streaming_read_timeout, package.module.name)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._publisher = Publisher(self._context, epoch)
        self._steps = 0
        self._exchanges = 0
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._ending: asyncio.Task[None] | None = None

    def load(self) -> None:
        """In a thread of its own: probes are answered meanwhile, and a load that hangs does not keep the process."""
        loop = asyncio.get_running_loop()

        def work() -> None:
            try:
                model, contract = loading.construct(self.package)
                self.model = model
                loading.load(model, contract)
            except BaseException as error:
                loop.call_soon_threadsafe(self._failed, error)
            else:
                loop.call_soon_threadsafe(self._loaded, contract)

        threading.Thread(target=work, name="load", daemon=True).start()

    async def stop(self) -> None:
        """After `gone`."""
        self.calls.close()
        self._publisher.close()
        self._context.term()

    def _loaded(self, contract: Contract) -> None:
        self._contract = contract
        if self.phase.name == "starting":
            self._turn(Phase("ready"))

    def _failed(self, error: BaseException) -> None:
        self.calls.tell("loading", error)
        self._turn(Phase("failed", f"the package failed to load: {type(error).__name__}: {error}"))
        self._end_when_quiet(self.phase.reason, LAST_WORDS)

    # The phases.

    @property
    def phase(self) -> Phase:
        return self._publisher.phase

    @property
    def events(self) -> str:
        return self._publisher.endpoint

    def drain(self, bound: float, why: str) -> None:
        """No new requests; leave when those in flight are done, or after `bound` seconds."""
        if self.phase.name in ("starting", "ready"):
            self._turn(Phase("draining", why))
            self._end_when_quiet("", bound)

    def _turn(self, phase: Phase) -> None:
        self._publisher.turn(phase)
        self.metrics.turn(phase.name)

    def _end_when_quiet(self, reason: str, bound: float) -> None:
        if self._ending is not None:
            self._ending.cancel()
        self._ending = asyncio.get_running_loop().create_task(self._end(reason, bound))

    async def _end(self, reason: str, bound: float) -> None:
        if reason:
            await asyncio.sleep(bound)
        else:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(bound):
                    await self._quiet.wait()
        if not self.gone.done():
            self.gone.set_result(reason)

    # What is in flight.

    @contextlib.contextmanager
    def exchange(self) -> Generator[None]:
        """Around each request that the end of the process waits for."""
        self._exchanges += 1
        self._quiet.clear()
        try:
            yield
        finally:
            self._exchanges -= 1
            self._steps += 1
            self._changed(self.calls.slots.running, self.calls.slots.waiting)
            if not self._exchanges:
                self._quiet.set()

    def contract(self) -> Contract:
        """Raises Refused while requests cannot be taken."""
        if self._contract is None:
            raise not_ready()
        if self.phase.name != "ready":
            raise not_ready(f"It is {self.phase.name}.")
        return self._contract

    @property
    def loaded(self) -> bool:
        return self._contract is not None

    async def healthy(self) -> bool:
        """What is_healthy says; a model without one is healthy. An exception in it says no."""
        method = None if self._contract is None else self._contract.get("is_healthy")
        if method is None:
            return True
        try:
            return bool(await method.call() if method.is_async else await self.calls.in_thread(method.call))
        except Exception as error:
            self.calls.tell("is_healthy", error)
            return False

    def reload(self) -> None:
        """The class anew from its file; the instance keeps what it has loaded. Raises what the code raises, and
        changes nothing then. Runs in a thread."""
        kind = loading.reloaded(self.package)
        before = type(self.model)
        self.model.__class__ = kind
        try:
            self._contract = contract_of(self.model)
        except Exception:
            self.model.__class__ = before
            raise

    def _changed(self, running: int, waiting: int) -> None:
        load = Load(running=running, waiting=waiting, steps=self._steps)
        self.metrics.note(load)
        self._publisher.note(Deltas([], load))

    # What it tells about itself.

    def snapshot(self) -> Snapshot:
        return self._publisher.snapshot()

    def health(self) -> dict[str, object]:
        slots = self.calls.slots
        return {
            "status": self.phase.name,
            "reason": self.phase.reason,
            "in_flight": self._exchanges,
            "running": slots.running,
            "waiting": slots.waiting,
        }

    def card(self) -> Mapping[str, object]:
        """As /v1/models shows it."""
        methods = sorted(self._contract.methods) if self._contract else []
        return {
            "id": self.name,
            "object": "model",
            "created": self.created,
            "owned_by": "colonnade",
            "kind": "package",
            "methods": methods,
            "predict_concurrency": self.calls.slots.limit,
            "epoch": self.epoch,
        }
