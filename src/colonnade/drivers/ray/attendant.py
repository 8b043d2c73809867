"""Listening to the host of one node, over its restarts, until the node is given up."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

from colonnade.drivers.ray.nodes import Key, News, Node
from colonnade.wire.errors import SetupError

LISTEN_S = 3.0
AGAIN_S = 0.5
FIRST_S = 120.0
"""A host that was never heard has so long to begin: Ray starts a process for it, and on a new machine its first."""
_log = logging.getLogger("colonnade.drivers")


class Attendant:
    """`handle` gives the host's, and begins the host where there is none; it blocks. `heard_of`, `hear` and `lose` are
    the driver's: what it knows of the host's run, what it makes of news (the lives to be stopped), and of silence."""

    def __init__(
        self,
        node: Node,
        handle: Callable[[], Any],
        heard_of: Callable[[], tuple[str, int]],
        hear: Callable[[News], list[Key]],
        lose: Callable[[str], None],
        lost_after: float,
    ) -> None:
        self.node = node
        self.heard = asyncio.Event()
        self._handle = handle
        self._heard_of = heard_of
        self._hear = hear
        self._lose = lose
        self._lost_after = lost_after
        self._lost = asyncio.Event()
        self._host: Any = None
        self.task = asyncio.create_task(self._attend(), name=f"host {node.name}")

    async def ask(self, verb: str, *given: Any) -> Any:
        """Raises SetupError when the node is lost first. A host that begins again is asked again."""
        asking = asyncio.create_task(self._ask(verb, *given))
        losing = asyncio.create_task(self._lost.wait())
        try:
            await asyncio.wait({asking, losing}, return_when=asyncio.FIRST_COMPLETED)
            if asking.done():
                return asking.result()
        finally:
            asking.cancel()
            losing.cancel()
        hint = "`ray status` shows the nodes; a replica is started anew where there is room"
        raise SetupError(f"the Ray node {self.node.name} was lost", hint=hint)

    def lose(self, reason: str) -> None:
        self._lost.set()
        self._lost = asyncio.Event()
        self._lose(reason)

    async def _ask(self, verb: str, *given: Any) -> Any:
        from ray.exceptions import RayError

        while True:
            await self.heard.wait()
            try:
                return await getattr(self._host, verb).remote(*given)
            except RayError as error:
                _log.info("the host of %s does not answer: %s", self.node.name, _first_line(error))
                await asyncio.sleep(AGAIN_S)

    async def _attend(self) -> None:
        from ray.exceptions import RayError

        heard_at = time.monotonic()
        while True:
            try:
                async with asyncio.timeout_at(asyncio.get_running_loop().time() + self._left(heard_at)):
                    await self._listen()
                heard_at = time.monotonic()
                continue
            except TimeoutError:
                _log.debug("no word from %s", self.node.name)
            except (RayError, SetupError) as error:
                self._host = None
                _log.info("the host of %s is not heard: %s", self.node.name, _first_line(error))
                await asyncio.sleep(AGAIN_S)
            if self._left(heard_at) <= 0:
                self.lose(f"the Ray node {self.node.name} was not heard for {self._lost_after:g} s")
                heard_at = time.monotonic()

    def _left(self, heard_at: float) -> float:
        allowed = self._lost_after if self.heard.is_set() else max(FIRST_S, self._lost_after)
        return max(0.0, heard_at + allowed - time.monotonic())

    async def _listen(self) -> None:
        if self._host is None:
            self._host = await asyncio.to_thread(self._handle)
        news: News = await self._host.hear.remote(*self._heard_of(), LISTEN_S)
        for id, epoch in self._hear(news):
            _log.warning("%s (%s) on %s was given up, and is ended", id, epoch, self.node.name)
            await self._host.stop.remote(id, epoch, 0.0)
        self.heard.set()


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
