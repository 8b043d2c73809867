"""The three processes of `up` as children: started in order, started again when one dies, stopped in order."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable

from colonnade.cli.child import Child, turn_over
from colonnade.cli.control import Control, open_control
from colonnade.cli.home import Home, UpRecord
from colonnade.cli.restarts import Restarts
from colonnade.drivers.process import boot_id, start_ticks
from colonnade.wire.settings import Resolved, to_argv

LISTEN_S = 30.0
"""A process must listen this long after its start."""

CLUSTER = "local"


class House:
    """`talk` is told of deaths and restarts. `url` is known once the gateway has listened."""

    def __init__(self, home: Home, settings: Resolved, talk: Callable[[str], None]) -> None:
        self.url = ""
        self.model = ""
        self._home = home
        self._settings = settings
        self._talk = talk
        self._children: dict[str, Child] = {}
        self._ready = False

    async def start_control(self) -> Control:
        child = await self._launch("control")
        await child.announcement(LISTEN_S)
        return await asyncio.to_thread(open_control, self._home)

    async def start_agent(self) -> None:
        await self._launch("agent")

    async def start_gateway(self) -> None:
        child = await self._launch("gateway")
        self.url = (await child.announcement(LISTEN_S))["url"]
        self._note()

    def ready(self, model: str) -> None:
        """Everything answers: others may be told."""
        self._ready, self.model = True, model
        self._note()

    async def any_ended(self) -> str:
        """While starting: the end of any child, in words."""
        endings = [asyncio.create_task(self._ending(child)) for child in self._children.values()]
        try:
            done, _ = await asyncio.wait(endings, return_when=asyncio.FIRST_COMPLETED)
            return done.pop().result()
        finally:
            for each in endings:
                each.cancel()
            await asyncio.wait(endings)

    async def keep(self) -> None:
        """Starts again what dies, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for name in self._children:
                group.create_task(self._keep(name))

    async def stop(self) -> None:
        """The gateway lets requests end, the agent stops its replicas, the control plane goes last."""
        settings = self._settings
        patience = {
            "gateway": settings.gateway.shutdown_timeout + 2,
            "agent": settings.fleet.stop_timeout + 5,
            "control": 5.0,
        }
        for name, seconds in patience.items():
            if name in self._children:
                await self._children[name].stop(seconds)
        self._home.up_file.unlink(missing_ok=True)

    def hurry(self) -> None:
        for child in self._children.values():
            child.hurry()

    async def _keep(self, name: str) -> None:
        fleet = self._settings.fleet
        restarts = Restarts(fleet.backoff_first, fleet.backoff_limit, fleet.backoff_reset)
        while True:
            begun = time.monotonic()
            how = await self._children[name].ended()
            delay = restarts.after(time.monotonic() - begun)
            again = f"again in {delay:.1f} s" if delay else "again at once"
            self._talk(f"the {name} ended: {how}; starting it {again}")
            await asyncio.sleep(delay)
            await self._launch(name)

    async def _launch(self, name: str) -> Child:
        log = self._home.logs / f"{name}.log"
        turn_over(log)
        child = Child(name, *self._command(name), log)
        await child.start()
        self._children[name] = child
        self._note()
        return child

    def _command(self, name: str) -> tuple[str, list[str]]:
        home = ["--home", str(self._home.path)]
        match name:
            case "control":
                return "colonnade.fleet", ["control", *home]
            case "agent":
                return "colonnade.fleet", ["agent", *home, "--cluster", CLUSTER]
            case _:
                return "colonnade.gateway", self._gateway_arguments()

    def _gateway_arguments(self) -> list[str]:
        """Started again, it takes the port that it had, whatever was asked for at first."""
        control = self._home.control()
        assert control is not None
        sections = (self._settings.gateway, self._settings.http, self._settings.log)
        settings = [word for section in sections for word in to_argv(section)]
        port = [f"--port={self.url.rpartition(':')[2]}"] if self.url else []
        spool = ["--spool", str(self._home.path / "spool")]
        return ["--control", control.url, "--token-file", str(self._home.control_file), *spool, *settings, *port]

    def _note(self) -> None:
        children = {name: (child.pid, child.ticks) for name, child in self._children.items()}
        record = UpRecord(
            pid=os.getpid(),
            ticks=start_ticks(os.getpid()) or 0,
            boot=boot_id(),
            url=self.url,
            model=self.model,
            ready=self._ready,
            children=children,
        )
        self._home.keep_up(record)

    async def _ending(self, child: Child) -> str:
        return f"the {child.name} ended: {await child.ended()}"
