"""Rollouts with real processes: control plane over HTTP, agent, gateway, and replicas."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import aiohttp
import msgspec
import pytest
from rig import TOKEN, Rig

from colonnade.drivers import stop_all
from colonnade.fleet.change import Change
from colonnade.fleet.launch import replica_spec
from colonnade.fleet.orders import Policy
from colonnade.fleet.run import look_after
from colonnade.fleet.versions import version_of
from colonnade.gateway.server import Gateway, Source
from colonnade.wire.errors import Conflict
from colonnade.wire.routes import Deployment, Rollout
from colonnade.wire.settings import GatewaySettings, HttpSettings

QUICK = Rollout(steps=(0.5,), step=1.0, requests=20)
PATIENCE_S = 60.0


class Site:
    """A rig with a gateway before it."""

    def __init__(self, rig: Rig, gateway: Gateway, session: aiohttp.ClientSession) -> None:
        self.rig = rig
        self.gateway = gateway
        self._session = session
        self.seen: Counter[int] = Counter()
        self.whole = 0

    async def ask(self) -> int:
        url = f"{self.gateway.url}/v1/chat/completions"
        async with self._session.post(url, json={"model": "a", "messages": []}) as answer:
            await answer.read()
            self.seen[answer.status] += 1
            return answer.status

    async def stream_for_ever(self) -> None:
        """One answer after the other, each whole."""
        asked = {"model": "a", "messages": [{"role": "user", "content": "Book Ann on Friday"}], "stream": True}
        while True:
            async with self._session.post(f"{self.gateway.url}/v1/chat/completions", json=asked) as answer:
                self.seen[answer.status] += 1
                assert (await answer.read()).endswith(b"data: [DONE]\n\n")
                self.whole += 1

    async def ask_until(self, there: Callable[[], bool]) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not there():
                    await self.ask()
        except TimeoutError:
            raise AssertionError(f"{self.now()}, {self.rig.replicas()}, {self.seen}") from None

    async def deploy(self, flags: str, rollout: Rollout | None = QUICK) -> Deployment:
        return await self.rig.plane.deploy("a", Change(f"stand-in {flags}", 2, rollout=rollout))

    def now(self) -> Deployment:
        return self.rig.plane.deployment("a")

    async def told(self, kind: str) -> list[str]:
        return [each.event.reason for each in await self.rig.plane.events(0, 500) if each.event.kind == kind]


@asynccontextmanager
async def behind_a_gateway(rig: Rig, folder: Path) -> AsyncIterator[Site]:
    token = folder / "token"
    token.write_text(TOKEN)
    http, settings = HttpSettings(), GatewaySettings(port=0, auth=False, shutdown_timeout=0.2)
    async with Gateway(Source(rig.url, token), http, settings) as gateway, aiohttp.ClientSession() as session:
        yield Site(rig, gateway, session)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    rig = Rig(tmp_path)
    await rig.start_control()
    rig.start_agent()
    looking = asyncio.create_task(look_after(rig.plane))
    async with behind_a_gateway(rig, tmp_path) as site:
        yield site
    looking.cancel()
    await rig.stop_agent()
    await stop_all(tmp_path, 0)
    await rig.stop_control()


async def test_a_good_version_comes_in_and_a_bad_one_goes_back_by_itself(site: Site) -> None:
    """Under load: nobody sees a 5xx but those of the version that answers with them."""
    first = await site.deploy("--one")
    await site.rig.until_ready("a-0", "a-1")
    assert first.stage is None
    await site.ask()

    second = await site.deploy("--two")
    assert second.stage == 0
    await site.ask_until(lambda: site.now().stage is None)
    assert version_of(site.now()) == version_of(second)
    await site.ask_until(lambda: _all_at(site, second))
    assert set(site.seen) == {200}
    assert [reason.partition(":")[0] for reason in await site.told("rolled out")] == [f"version {version_of(second)}"]

    third = await site.deploy("--fails")
    await site.ask_until(lambda: site.now().refused == version_of(third))
    (reason,) = await site.told("rolled back")
    assert reason.startswith(f"version {version_of(third)} to {version_of(second)}: ")
    assert "requests failed, of the version before 0 of" in reason
    assert (version_of(site.now()), site.now().generation) == (version_of(second), third.generation + 1)
    await site.ask_until(lambda: _all_at(site, second) and _routed(site) == {version_of(second)})
    site.seen.clear()
    assert [await site.ask() for _ in range(50)] == [200] * 50


async def test_a_version_that_does_not_start_never_gets_a_request(site: Site) -> None:
    first = await site.deploy("--one")
    await site.rig.until_ready("a-0", "a-1")
    bad = await site.deploy("--crash-at-start")
    await site.ask_until(lambda: site.now().refused == version_of(bad))
    assert set(site.seen) == {200}
    (reason,) = await site.told("rolled back")
    assert "its replicas fail: a-2: exit 3: stand-in: told to crash" in reason
    await site.ask_until(lambda: _all_at(site, first))


async def test_people_go_back_and_promote(site: Site) -> None:
    plane = site.rig.plane
    first = await site.deploy("--one", rollout=None)
    with pytest.raises(Conflict) as refused:
        await plane.roll_back("a")
    assert refused.value.reason == "no_such_version"
    second = await site.deploy("--two", rollout=None)
    back = await plane.roll_back("a")
    assert (version_of(back), back.generation) == (version_of(first), second.generation + 1)
    with pytest.raises(Conflict):
        await plane.roll_back("a", generation=1)
    with pytest.raises(Conflict, match="no other version 'nonsense'"):
        await plane.roll_back("a", "nonsense")
    again = await plane.roll_back("a", version_of(second))
    assert again.refused == version_of(first)
    assert [name for name, _ in await plane.versions("a")] == [version_of(first), version_of(second)]

    await plane.deploy("a.staging", Change("stand-in --three", 1))
    promoted = await plane.promote("a.staging", "a")
    assert (promoted.model, promoted.replicas, promoted.rollout) == ("stand-in --three", 2, None)
    made = await plane.promote("a.staging", "a.development")
    assert (made.model, made.replicas, version_of(made)) == ("stand-in --three", 1, version_of(promoted))
    await plane.deploy("a.staging", Change("stand-in --four", 1, rollout=QUICK))
    with pytest.raises(Conflict) as refused:
        await plane.promote("a.staging", "a")
    assert refused.value.reason == "rollout_under_way"


async def test_a_rolling_update_of_the_shipped_model_under_load(tmp_path: Path) -> None:
    """Streams all along: a new version comes in, one that cannot start goes back by itself; no stream ends badly."""
    policy = replace(Policy(), start_s=60.0)
    rig = Rig(tmp_path, policy, partial(replica_spec, home=tmp_path))
    plan = Rollout(steps=(0.5,), step=1.0, requests=5, latency=100.0)
    await rig.start_control()
    rig.start_agent()
    looking = asyncio.create_task(look_after(rig.plane))
    async with behind_a_gateway(rig, tmp_path) as site:
        change = Change("colonnade-tiny", 1, {"threads": "1"}, rollout=plan)
        await rig.plane.deploy("a", change)
        await rig.until_ready("a-0")
        load = [asyncio.create_task(site.stream_for_ever()) for _ in range(2)]
        second = await rig.plane.deploy(
            "a", msgspec.structs.replace(change, settings={"threads": "1", "max-running": "16"})
        )
        await rig.until(lambda: site.now().stage is None)
        await rig.until(lambda: [each.version for each in rig.replicas()] == [version_of(second)])
        bad = await rig.plane.deploy("a", msgspec.structs.replace(change, model="/no/such/model"))
        await rig.until(lambda: site.now().refused == version_of(bad))
        await rig.until(lambda: [each.version for each in rig.replicas()] == [version_of(second)])
        for each in load:
            each.cancel()
        await asyncio.wait(load)
        assert set(site.seen) == {200}
        assert site.whole > 10
        assert "its replicas fail" in (await site.told("rolled back"))[0]
    looking.cancel()
    await rig.stop_agent()
    await rig.stop_control()


def _all_at(site: Site, wanted: Deployment) -> bool:
    found = site.rig.replicas()
    return len(found) == 2 and all((each.version, each.state) == (version_of(wanted), "ready") for each in found)


def _routed(site: Site) -> set[str]:
    return {target.route.version for target in site.gateway.plane.table.targets.values()}
