"""Roles and tokens: who may do what, over HTTP, and that a stolen agent is good for its own cluster alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from colonnade.fleet.api import ENDPOINTS, application
from colonnade.fleet.control import ControlPlane
from colonnade.fleet.home import Home
from colonnade.fleet.roles import ROLES, Holder, may
from colonnade.fleet.run import agents_token, listen, server_of
from colonnade.fleet.sqlite import SqliteStore
from colonnade.wire.errors import Conflict, InvalidRequest, NotFound, SetupError, Unauthenticated

ADMIN = "the-admin-token"
GUARDED = [(each.method, each.path) for each in ENDPOINTS if not each.open]


class Site:
    def __init__(self, plane: ControlPlane, store: SqliteStore, url: str, session: aiohttp.ClientSession) -> None:
        self.plane = plane
        self.store = store
        self.url = url
        self._session = session

    async def status(self, token: str, method: str, path: str, body: object = None) -> int:
        headers = {"authorization": f"Bearer {token}"}
        async with self._session.request(method, self.url + path, json=body, headers=headers) as answer:
            await answer.read()
            return answer.status

    async def make(self, name: str, role: str, cluster: str = "") -> str:
        secret, _ = await self.plane.tokens.create(name, role, cluster)
        return secret


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    store = await SqliteStore.open(tmp_path / "state.db")
    plane = await ControlPlane.open(store)
    server = server_of(application(plane, ADMIN))
    listener = listen(0, fallback=False)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    async with aiohttp.ClientSession() as session:
        yield Site(plane, store, f"http://127.0.0.1:{listener.getsockname()[1]}", session)
    plane.close()
    server.should_exit = True
    await serving
    await store.close()


def test_what_each_role_may() -> None:
    allowed = {role: {pair for pair in GUARDED if may(Holder("x", role, "mine"), *pair, "mine")} for role in ROLES}
    assert allowed["admin"] == set(GUARDED) - {("POST", "/v1/enrol")}
    assert allowed["agent"] == {("POST", "/v1/clusters/{name}/sync"), ("POST", "/v1/clusters/{name}/beat")}
    assert allowed["gateway"] == {("GET", "/v1/routes"), ("POST", "/v1/demand")}
    assert allowed["enrol"] == {("POST", "/v1/enrol")}
    assert ("PUT", "/v1/deployments/{name}") in allowed["deployer"]
    assert not any(
        "keys" in path or "tokens" in path or method != "GET"
        for method, path in allowed["deployer"]
        if "deployments" not in path
    )


def test_an_agent_is_of_its_cluster() -> None:
    assert not any(may(Holder("x", "agent", "mine"), *pair, "another") for pair in GUARDED)


async def test_a_stolen_agent_can_act_for_its_own_cluster_alone(site: Site) -> None:
    token = await site.make("thief", "agent", "mine")
    report = {"cluster": "mine", "revision": -1, "replicas": []}
    assert await site.status(token, "POST", "/v1/clusters/mine/sync?wait=0", report) == 200
    assert await site.status(token, "POST", "/v1/clusters/mine/sync?wait=0", {**report, "cluster": "other"}) == 400
    others = ("/v1/clusters/other/sync?wait=0", "/v1/keys", "/v1/tokens", "/v1/enrol", "/v1/demand")
    assert {await site.status(token, "POST", path, {**report, "cluster": "other"}) for path in others} == {403}
    assert {await site.status(token, "GET", path) for path in ("/v1/routes", "/v1/events", "/v1/deployments")} == {403}
    assert [each.name for each in site.plane.clusters()] == ["mine"]


async def test_an_agent_enrols_once(site: Site, tmp_path: Path) -> None:
    home, file = Home(tmp_path / "far"), tmp_path / "enrol.token"
    file.write_text(await site.make("once", "enrol", "mine") + "\n")
    assert await agents_token(home, "mine", site.url, file) == home.agent_token
    own = home.agent_token
    assert own.stat().st_mode & 0o077 == 0
    secret = own.read_text()
    assert await site.plane.tokens.holder(secret) == Holder("agent-mine", "agent", "mine")
    assert await agents_token(home, "mine", site.url, file) == own  # it asks no more
    with pytest.raises(SetupError, match="not enrolled: status 401"):
        await agents_token(Home(tmp_path / "another"), "mine", site.url, file)

    file.write_text(await site.make("again", "enrol", "mine"))
    await agents_token(Home(tmp_path / "another"), "mine", site.url, file)
    with pytest.raises(Unauthenticated):
        await site.plane.tokens.holder(secret)  # another agent has followed it
    kinds = [each.event.kind for each in await site.plane.events(0, 100)]
    assert kinds.count("agent enrolled") == 2


async def test_a_token_that_is_not_for_enrolment_is_used_as_it_is(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(ADMIN)
    home = Home(tmp_path / "far")
    assert await agents_token(home, "mine", site.url, file) == file
    assert await agents_token(home, "mine", "", None) is None


async def test_tokens_are_rotated_revoked_and_their_use_is_known(site: Site) -> None:
    first = await site.make("ci", "deployer")
    assert await site.status(first, "GET", "/v1/deployments") == 200
    (token,) = site.plane.tokens.all()
    assert token.used is not None
    second, _ = await site.plane.tokens.rotate("ci")
    assert await site.status(first, "GET", "/v1/deployments") == 401
    assert await site.status(second, "GET", "/v1/deployments") == 200
    again = await ControlPlane.open(site.store)
    assert await again.tokens.holder(second) == Holder("ci", "deployer")
    await site.plane.tokens.revoke("ci")
    assert await site.status(second, "GET", "/v1/deployments") == 401
    assert await site.status(ADMIN, "GET", "/v1/tokens") == 200
    assert await site.status(ADMIN, "POST", "/v1/tokens", {"name": "x", "role": "gateway"}) == 200
    assert await site.status(ADMIN, "POST", "/v1/tokens/x/rotate") == 200
    assert await site.status(ADMIN, "DELETE", "/v1/tokens/x") == 200


async def test_what_cannot_be_is_refused(site: Site) -> None:
    tokens = site.plane.tokens
    for role, cluster in (("king", ""), ("agent", ""), ("admin", "mine")):
        with pytest.raises(InvalidRequest):
            await tokens.create("x", role, cluster)
    await tokens.create("x", "admin")
    with pytest.raises(Conflict):
        await tokens.create("x", "admin")
    with pytest.raises(NotFound):
        await tokens.revoke("y")
