"""The fleet as it really runs: control plane, agent, replica and engine as processes, killed one after another.

Slow by nature (each replica imports torch and loads weights), so it is one history and not many.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from colonnade.drivers import stop_all
from colonnade.drivers.process import members, start_ticks
from colonnade.fleet.home import Home
from colonnade.wire.routes import Routes

PATIENCE_S = 60.0
BACK_S = 5.0
"""The promise for a replica that was killed. The test allows three times that: other tests run beside it."""


class Fleet:
    def __init__(self, folder: Path) -> None:
        self.home = Home(folder)
        self.processes: list[Process] = []

    async def start(self, *arguments: str) -> tuple[Process, dict[str, Any]]:
        """A process of the fleet, and what it announced."""
        argv = (sys.executable, "-m", "colonnade.fleet", *arguments, "--home", str(self.home.path))
        process = await asyncio.create_subprocess_exec(*argv, stdin=PIPE, stdout=PIPE)
        self.processes.append(process)
        assert process.stdout
        line = await asyncio.wait_for(process.stdout.readline(), PATIENCE_S)
        return process, msgspec.json.decode(line)

    async def call(self, method: str, path: str, body: object = None) -> bytes:
        control = self.home.read_control()
        headers = {"authorization": f"Bearer {control.token}"}
        async with aiohttp.ClientSession(headers=headers) as session:
            async with session.request(method, control.url + path, json=body) as response:
                assert response.status == 200, await response.text()
                return await response.read()

    async def routes(self, wanted: Callable[[Routes], bool]) -> Routes:
        """The first routes that are as wanted."""
        found = Routes(-1)
        async with asyncio.timeout(PATIENCE_S):
            while not wanted(found):
                data = await self.call("GET", f"/v1/routes?since={found.revision}")
                found = msgspec.json.decode(data, type=Routes)
        return found

    async def replica(self) -> dict[str, Any]:
        (found,) = msgspec.json.decode(await self.call("GET", "/v1/replicas"))["data"]
        return found

    async def back_after(self, killed: int, epoch: str) -> tuple[float, dict[str, Any]]:
        """Kill a process of the replica; the seconds until another life serves, and the replica then."""
        began = time.monotonic()
        os.kill(killed, signal.SIGKILL)
        await self.routes(lambda found: bool(found.routes) and found.routes[0].epoch != epoch)
        return time.monotonic() - began, await self.replica()

    async def close(self) -> None:
        for process in reversed(self.processes):
            if process.returncode is None:
                process.kill()
            await process.communicate()
        await stop_all(self.home.path, 0)


async def kill(process: Process) -> None:
    process.kill()
    await process.communicate()


async def test_the_spine_of_a_fleet(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path)
    try:
        control, told = await fleet.start("control")
        agent, _ = await fleet.start("agent")
        await fleet.call("PUT", "/v1/deployments/tiny", {"model": "colonnade-tiny", "settings": {"threads": "1"}})
        routes = await fleet.routes(lambda found: bool(found.routes))
        await _a_killed_face_is_back(fleet, routes)
        await _a_killed_engine_is_back(fleet)
        agent = await _a_killed_agent_is_followed(fleet, agent)
        control = await _a_killed_control_plane_comes_back(fleet, control, told["url"])
        pid = (await fleet.replica())["pid"]
        agent.terminate()
        assert await asyncio.wait_for(agent.wait(), PATIENCE_S) == 0
        assert start_ticks(pid) is None
        assert control.stdin
        control.stdin.close()
        assert await asyncio.wait_for(control.wait(), PATIENCE_S) == 0
        assert not fleet.home.control.exists()
    finally:
        await fleet.close()


async def _a_killed_face_is_back(fleet: Fleet, routes: Routes) -> None:
    first = await fleet.replica()
    seconds, second = await fleet.back_after(first["pid"], routes.routes[0].epoch)
    assert (second["reason"], second["restarts"]) == ("killed by signal 9 (SIGKILL)", 1)
    assert members(first["pid"]) == []
    assert seconds < BACK_S * 3
    assert second["ready_s"] <= seconds


async def _a_killed_engine_is_back(fleet: Fleet) -> None:
    before = await fleet.replica()
    (engine,) = [pid for pid in members(before["pid"]) if b"--commands" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    _, after = await fleet.back_after(engine, before["epoch"])
    assert "engine killed by signal 9 (SIGKILL)" in after["reason"]
    assert after["reason"].startswith("exit 1")


async def _a_killed_agent_is_followed(fleet: Fleet, agent: Process) -> Process:
    before = await fleet.replica()
    await kill(agent)
    agent, _ = await fleet.start("agent")
    events = msgspec.json.decode(await fleet.call("GET", "/v1/events"))["data"]
    after = await fleet.replica()
    assert (after["pid"], after["epoch"], after["restarts"]) == (before["pid"], before["epoch"], before["restarts"])
    assert [event["kind"] for event in events].count("start") == 3
    return agent


async def _a_killed_control_plane_comes_back(fleet: Fleet, control: Process, url: str) -> Process:
    before = await fleet.routes(lambda found: bool(found.routes))
    await kill(control)
    control, told = await fleet.start("control")
    assert told["url"] == url
    after = await fleet.routes(lambda found: found.revision > 0)
    assert after.revision > before.revision
    assert (after.routes, after.pepper) == (before.routes, before.pepper)
    return control


async def test_one_home_has_one_agent(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path)
    try:
        await fleet.start("agent")
        second = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "colonnade.fleet", "agent", "--home", str(tmp_path)), stderr=PIPE
        )
        _, said = await asyncio.wait_for(second.communicate(), PATIENCE_S)
        assert second.returncode == 2
        assert b"runs in this home already" in said
    finally:
        await fleet.close()


@pytest.mark.parametrize("arguments", [["agent", "--start-timeout", "soon"], ["control", "--port", "70000"]])
async def test_a_bad_setting_is_told_in_a_line(tmp_path: Path, arguments: list[str]) -> None:
    argv = (sys.executable, "-m", "colonnade.fleet", *arguments, "--home", str(tmp_path))
    process = await asyncio.create_subprocess_exec(*argv, stderr=PIPE)
    _, said = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    assert process.returncode == 2
    assert b"Traceback" not in said
