"""Agents elsewhere: they enrol by a one-time token, over TLS, and trust the control plane that made it and no other."""

from __future__ import annotations

import asyncio
import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from colonnade.fleet.api import application
from colonnade.fleet.control import ControlPlane
from colonnade.fleet.home import Home
from colonnade.fleet.run import access_of, agents_token, listen, server_of
from colonnade.fleet.spool import Spool
from colonnade.fleet.sqlite import SqliteStore
from colonnade.fleet.tls import Door, check_url, door_of
from colonnade.fleet.uplink import Uplink
from colonnade.gateway.tls import Certificate
from colonnade.wire.errors import BadSetting, SetupError
from colonnade.wire.routes import Desired

FILES = Path(__file__).parents[1] / "gateway" / "tls"
ADMIN = "the-admin-token"


class Site:
    """A control plane whose door can get another certificate."""

    def __init__(self, folder: Path, plane: ControlPlane) -> None:
        self.plane = plane
        self.folder = folder
        self.url = ""
        self.door = Door("127.0.0.1", 0, Certificate(folder / "door.crt", folder / "door.key"))

    @asynccontextmanager
    async def open(self, which: str) -> AsyncIterator[None]:
        for end in ("crt", "key"):
            shutil.copy(FILES / f"{which}.{end}", self.folder / f"door.{end}")
        listener = listen(int(self.url.rpartition(":")[2] or 0), fallback=False)
        self.url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        server = server_of(application(self.plane, ADMIN, door=self.door), self.door)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        yield
        server.should_exit = True
        await serving

    async def once(self, name: str) -> str:
        """A token for enrolment, as the API makes it."""
        trusting = ssl.create_default_context(cafile=str(self.folder / "door.crt"))
        headers = {"authorization": f"Bearer {ADMIN}"}
        body = {"name": name, "role": "enrol", "cluster": "mine"}
        async with aiohttp.ClientSession(headers=headers) as session:
            async with session.post(f"{self.url}/v1/tokens", json=body, ssl=trusting) as answer:
                return (await answer.json())["token"]


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    store = await SqliteStore.open(tmp_path / "state.db")
    plane = await ControlPlane.open(store)
    yield Site(tmp_path, plane)
    plane.close()
    await store.close()


def uplink(home: Home, cluster: str, url: str, token: Path | None, heard: list[Desired]) -> Uplink:
    return Uplink(cluster, "a", lambda: access_of(home, url, token), None, heard.append, Spool(home.usage))


async def test_an_agent_enrols_and_reports_over_tls_for_its_own_cluster_alone(site: Site, tmp_path: Path) -> None:
    home, file = Home(tmp_path / "far"), tmp_path / "enrol.token"
    async with site.open("first"):
        file.write_text(await site.once("new") + "\n")
        token = await agents_token(home, "mine", site.url, file)
        assert token == home.agent_token
        assert home.authority.read_text().strip() == (FILES / "first.crt").read_text().strip()
        assert await uplink(home, "mine", site.url, token, []).last_words(20)
        assert not await uplink(home, "other", site.url, token, []).last_words(20)
        assert [each.name for each in site.plane.clusters()] == ["mine"]
        clear = site.url.replace("https", "http")
        assert not await uplink(home, "mine", clear, token, []).last_words(20)
    async with site.open("second"):  # somebody else at this address
        assert not await uplink(home, "mine", site.url, token, []).last_words(20)
    async with site.open("first"):
        assert await uplink(home, "mine", site.url, token, []).last_words(20)


async def test_no_token_goes_to_another_than_the_one_that_made_it(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "enrol.token"
    async with site.open("first"):
        file.write_text(await site.once("new"))
        with pytest.raises(SetupError, match="speaks TLS"):
            await agents_token(Home(tmp_path / "far"), "mine", site.url.replace("https", "http"), file)
    async with site.open("second"):
        with pytest.raises(SetupError, match="is not the control plane"):
            await agents_token(Home(tmp_path / "far"), "mine", site.url, file)
    assert [each.used for each in site.plane.tokens.all()] == [None]
    with pytest.raises(SetupError, match="cannot be asked"):
        await agents_token(Home(tmp_path / "far"), "mine", site.url, file)


def test_a_token_never_goes_over_a_network_in_clear() -> None:
    for url in ("https://fleet.example:8443", "http://127.0.0.1:80", "http://[::1]:80", "http://localhost:1"):
        check_url(url)
    for url in ("http://fleet.example", "http://10.0.0.1:80"):
        with pytest.raises(SetupError, match="in clear"):
            check_url(url)


def test_what_a_door_needs() -> None:
    chain, key = FILES / "first.crt", FILES / "first.key"
    assert door_of("", None, None) is None
    assert door_of("[::1]:8443", chain, key) == Door("::1", 8443, Certificate(chain, key))
    for said in (("", chain, key), ("host", chain, key), ("host:1", None, key), ("host:1", chain, None)):
        with pytest.raises(BadSetting, match="an address, a certificate and its key"):
            door_of(*said)
    with pytest.raises(BadSetting, match="cannot use the certificate"):
        door_of("host:1", chain, FILES / "second.key")
