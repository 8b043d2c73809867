"""What the gateway follows: the control plane's routes, and the loads that replicas publish."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import zmq
import zmq.asyncio
from fake_worker import Connection, Got, Worker, by_contract, response
from gateway_house import House, until

from colonnade.gateway.plane import Limits
from colonnade.gateway.server import Gateway, Source
from colonnade.wire.errors import BadSetting
from colonnade.wire.messages import CacheChanged, Envelope, Load, LoadChanged, Phase, Published, Snapshot
from colonnade.wire.routes import Demand, Demands, Route, Routes
from colonnade.wire.settings import GatewaySettings, HttpSettings


class Control:
    """A control plane: answers a poll when it has something newer than what was asked for."""

    def __init__(self) -> None:
        self.routes: Routes | None = None
        self.changed = asyncio.Event()
        self.asked: list[Got] = []
        self.told: list[Demands] = []
        self.deaf = False  # to demand, as an older release is
        self.unheard = 0
        self.worker = Worker(self.answer)

    def publish(self, routes: Routes) -> None:
        self.routes = routes
        self.changed.set()

    async def answer(self, connection: Connection, got: Got) -> None:
        if got.path == "/v1/demand" and self.deaf:
            self.unheard += 1
            connection.write(response(b"{}", "404 Not Found"))
            return
        if got.path == "/v1/demand":
            self.told.append(msgspec.json.decode(got.body, type=Demands))
            connection.write(response(b"{}"))
            return
        self.asked.append(got)
        while self.routes is None or f"since={self.routes.revision}" in got.path:
            self.changed.clear()
            await self.changed.wait()
        connection.write(response(msgspec.json.encode(self.routes)))


async def follow(house: House, control: Control, token: Path, host: str = "127.0.0.1") -> Gateway:
    gateway = Gateway(
        Source(control=control.worker.url + "/", token_file=token),
        HttpSettings(),
        GatewaySettings(host=host, port=0, shutdown_timeout=0.1),
        limits=Limits(tick=0.02),
    )
    house.gateways.append(gateway)
    await gateway.start()
    return gateway


@pytest.fixture
async def control(house: House) -> Control:
    made = Control()
    house.workers.append(await made.worker.start())
    return made


async def test_routes_come_by_long_poll(house: House, control: Control, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    gateway = await follow(house, control, token)
    assert (await house.ask(gateway)).code == "starting"
    worker = await house.worker()
    control.publish(house.routes(worker))
    await until(lambda: gateway.plane.revision == 1)
    assert (await house.ask(gateway)).status == 200
    control.publish(house.routes(worker, keys=()))
    await until(lambda: gateway.plane.revision == 2)
    assert (await house.ask(gateway)).code == "invalid_api_key"
    await until(lambda: len(control.asked) == 3)
    assert [got.path for got in control.asked] == [f"/v1/routes?since={since}" for since in (-1, 1, 2)]
    assert control.asked[0].headers["authorization"] == "Bearer s3cret"


async def test_the_control_plane_may_go_and_come_back_elsewhere(
    house: House, control: Control, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("colonnade.gateway.feed.FIRST", 0.001)
    monkeypatch.setattr("colonnade.gateway.feed.LONGEST", 0.01)
    caplog.set_level("INFO")
    file = tmp_path / "control.json"
    file.write_text(msgspec.json.encode({"url": control.worker.url, "token": "one", "pid": 1}).decode())
    worker = await house.worker()
    gateway = await follow(house, control, file)
    control.publish(house.routes(worker))
    await until(lambda: gateway.plane.revision == 1)
    control.worker.kill()
    await until(lambda: caplog.records)
    assert (await house.ask(gateway)).status == 200, "what was known stays in use"
    second = Control()
    house.workers.append(await second.worker.start())
    file.write_text("{")
    second.publish(house.routes(worker))
    file.write_text(msgspec.json.encode({"url": second.worker.url, "token": "two"}).decode())
    await until(lambda: gateway.plane.revision == 2)
    assert second.asked[0].headers["authorization"] == "Bearer two"
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


async def test_what_the_control_plane_may_not_say(
    house: House, control: Control, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("colonnade.gateway.feed.FIRST", 0.001)
    token = tmp_path / "token"
    token.write_text("t")
    answers = [
        response(b"", "204 No Content").replace(b"Content-Length: 0\r\n", b""),
        response(b"{}", "500 Oh"),
        response(b'{"revision": "x"}'),
        response(msgspec.json.encode(Routes(1, routes=(Route("r", "e", "ftp://x", "m"),)))),
        response(msgspec.json.encode(Routes(1, pepper="zz"))),
        response(msgspec.json.encode(Routes(2))),
    ]

    async def answer(connection: Connection, got: Got) -> None:
        if answers:
            connection.write(answers.pop(0))

    control.worker.answer = answer
    gateway = await follow(house, control, token)
    await until(lambda: gateway.plane.revision == 2)
    assert not answers


async def test_where_others_can_reach_us_keys_are_waited_for(
    house: House, control: Control, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    token = tmp_path / "token"
    token.write_text("t")
    worker = await house.worker()
    control.publish(house.routes(worker))
    gateway = await follow(house, control, token, host="0.0.0.0")
    assert len(gateway.plane.keys) == 1
    control.publish(house.routes(worker, keys=()))
    with pytest.raises(BadSetting, match="no keys"):
        await follow(house, control, token, host="0.0.0.0")
    monkeypatch.setattr("colonnade.gateway.server.FIRST_ROUTES", 0.01)
    control.routes = None
    gateway = await follow(house, control, token, host="0.0.0.0")
    assert "nobody is let in" in caplog.text
    assert (await house.ask(gateway)).code == "starting"


class Publisher:
    """A worker with events and /snapshot. Nothing is said before its socket has a subscriber."""

    def __init__(self) -> None:
        self.context = zmq.asyncio.Context()
        self.socket = self.context.socket(zmq.XPUB)
        self.socket.linger = 0
        port = self.socket.bind_to_random_port("tcp://127.0.0.1")
        self.events = f"tcp://127.0.0.1:{port}"
        self.seq = 0
        self.snapshots = 0
        self.broken = b""
        self.state = Snapshot("w0", 0, "ready", Load(), [])
        self.as_json = True

    async def answer(self, connection: Connection, got: Got) -> None:
        if got.path != "/snapshot":
            await by_contract(connection, got)
            return
        self.snapshots += 1
        body = msgspec.json.encode(self.state) if self.as_json else msgspec.msgpack.encode(self.state)
        connection.write(self.broken or response(body))

    async def say(self, event: Published, *, skip: int = 0, epoch: str = "w0") -> None:
        self.seq += 1 + skip
        await self.socket.send(msgspec.msgpack.encode(Envelope(epoch, self.seq, event)))

    def close(self) -> None:
        self.context.destroy(linger=0)


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    opened = Publisher()
    yield opened
    opened.close()


async def listening(house: House, publisher: Publisher) -> Gateway:
    """A gateway that hears whatever is said from now on."""
    worker = await house.worker(publisher.answer)
    route = Route("tiny-0", "w0", worker.url, "tiny", events=publisher.events)
    gateway = await house.gateway(worker)
    house.write(Routes(9, (route,), house.routes(worker).keys, "00" * 32))
    gateway.plane.table.targets.clear()
    gateway.reload()
    assert await publisher.socket.recv() == b"\x01"  # it subscribed, to all
    return gateway


@pytest.mark.parametrize("as_json", [True, False])
async def test_loads_are_followed(house: House, publisher: Publisher, as_json: bool) -> None:
    publisher.as_json = as_json
    gateway = await listening(house, publisher)
    target = gateway.plane.table.targets["w0"]
    await publisher.say(LoadChanged(Load(running=3, waiting=2)))
    await until(lambda: target.load.running == 3)
    assert (publisher.snapshots, gateway.plane.stats.load_gaps) == (1, 0)
    publisher.state = Snapshot("w0", publisher.seq + 5, "draining", Load(running=7), [])
    await publisher.say(CacheChanged([]), skip=4)
    await until(lambda: target.load.running == 7)
    assert target.leaving
    assert gateway.plane.stats.load_gaps == 1
    await publisher.say(Phase("ready"))
    await until(lambda: not target.leaving)
    await publisher.say(LoadChanged(Load(running=99)), epoch="old")
    await publisher.socket.send(b"nonsense")
    await publisher.say(LoadChanged(Load(running=8)), skip=-1)
    await until(lambda: target.load.running == 8)


async def test_a_replica_without_a_snapshot_is_known_by_its_events(house: House, publisher: Publisher) -> None:
    publisher.broken = response(b"{}", "500 Oh")
    gateway = await listening(house, publisher)
    target = gateway.plane.table.targets["w0"]
    await publisher.say(LoadChanged(Load(running=1)))
    await until(lambda: target.load.running == 1)
    for broken in (response(b"{}", "500 Oh"), response(b"{")):
        publisher.broken = broken
        asked = publisher.snapshots
        await publisher.say(LoadChanged(Load(running=2)), skip=3)
        await until(lambda asked=asked: publisher.snapshots > asked)
    await publisher.say(LoadChanged(Load(running=4)))
    await until(lambda: target.load.running == 4)
    assert gateway.plane.stats.load_gaps == 3  # the first event, and the two after those that were missed


async def test_the_control_plane_hears_what_waits_for_a_deployment_that_rests(
    house: House, control: Control, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("colonnade.gateway.teller.QUIET_S", 0.01)
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    control.publish(Routes(1, models=("tiny",), resting=("tiny",), auth=False))
    gateway = await follow(house, control, token)
    await until(lambda: gateway.plane.revision == 1)
    assert gateway.plane.reason_not_ready() == ""
    client = await house.client(gateway)
    client.post()
    await until(lambda: control.told and control.told[-1].demands == (Demand("tiny", 1, 1),))
    worker = await house.worker()
    control.publish(msgspec.structs.replace(house.routes(worker), revision=2, auth=False))
    assert (await client.reply()).status == 200
    await until(lambda: control.told[-1].demands == (Demand("tiny", 0, 0),))


async def test_demand_that_nobody_hears_is_said_once_in_the_log(
    house: House, control: Control, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("colonnade.gateway.teller.QUIET_S", 0.001)
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    control.publish(Routes(1))
    control.deaf = True
    gateway = await follow(house, control, token)
    await until(lambda: gateway.plane.revision == 1 and control.unheard > 3)
    assert [record.getMessage() for record in caplog.records] == [
        "the control plane does not hear what there is to do: status 404"
    ]
