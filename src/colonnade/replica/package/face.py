"""A package's class as a serving process: loading it, what it answers, the class read anew."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Generator
from functools import partial
from typing import Any

from colonnade.packages import loading
from colonnade.packages.contract import Contract, contract_of
from colonnade.packages.folder import Package
from colonnade.replica.package.calls import Calls, Slots
from colonnade.replica.package.life import Life
from colonnade.replica.package.memory import watch_memory
from colonnade.replica.package.refusals import not_ready
from colonnade.wire.settings import HttpSettings, ReplicaSettings

_CODES = {"draining": "draining", "failed": "not_ready"}
"""What tells a gateway that another replica may do better."""


class PackageFace(Life):
    def __init__(self, package: Package, name: str, epoch: str, http: HttpSettings, settings: ReplicaSettings) -> None:
        super().__init__(name, epoch, http, settings)
        self.package = package
        self.model: Any = None
        self._contract: Contract | None = None
        runtime = package.config.runtime
        reject = runtime.request_backpressure.policy == "reject_on_full"
        slots = Slots(max(1, runtime.predict_concurrency), settings.max_waiting, reject, self.note)
        self.calls = Calls(slots, runtime.streaming_read_timeout, package.module.name)

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

    async def watch(self) -> None:
        """Ends it when it takes more memory than config.yaml says; without a word there, never."""
        resources = self.package.config.resources
        if "memory" in resources.model_fields_set:
            fail = partial(self.fail, words=0.0)
            await watch_memory(resources.memory_bytes, resources.memory, fail)

    async def stop(self) -> None:
        """After `gone`."""
        self.calls.close()
        self.close()

    def _loaded(self, contract: Contract) -> None:
        self._contract = contract
        self.ready()

    def _failed(self, error: BaseException) -> None:
        self.calls.tell("loading", error)
        self.fail(f"the package failed to load: {type(error).__name__}: {error}")

    @contextlib.contextmanager
    def exchange(self) -> Generator[None]:
        with super().exchange():
            try:
                yield
            finally:
                self.note(self.calls.slots.running, self.calls.slots.waiting)

    def contract(self) -> Contract:
        """Raises Refused while requests cannot be taken."""
        if self._contract is None:
            raise not_ready()
        if self.phase.name != "ready":
            raise not_ready(f"It is {self.phase.name}.", _CODES.get(self.phase.name, ""))
        return self._contract

    @property
    def loaded(self) -> bool:
        return self._contract is not None

    def room(self, beside: int) -> int:
        """How many predictions would begin at once, with `beside` more on their way to a slot."""
        slots = self.calls.slots
        free = slots.limit - max(slots.running + slots.waiting, beside)
        return max(0, free) if self.phase.name == "ready" else 0

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

    # What it tells about itself.

    def said(self) -> dict[str, object]:
        """Its health."""
        return self.health(self.calls.slots.running, self.calls.slots.waiting)

    def card(self) -> dict[str, object]:
        methods = sorted(self._contract.methods) if self._contract else []
        return super().card() | {"methods": methods, "predict_concurrency": self.calls.slots.limit}
