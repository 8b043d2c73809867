"""The fleet's small pure parts: keys, epochs, routes, launch, boards."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import re
import signal
from itertools import islice, pairwise
from pathlib import Path

import pytest

from colonnade.drivers import ADDRESS
from colonnade.fleet.board import Board
from colonnade.fleet.epochs import base36, epochs
from colonnade.fleet.home import Lock
from colonnade.fleet.keys import digest, new_key, new_pepper
from colonnade.fleet.launch import replica_spec, settings_argv
from colonnade.fleet.lifeline import LifeLine
from colonnade.fleet.orders import Start
from colonnade.fleet.run import listen
from colonnade.fleet.views import routes_of
from colonnade.wire.errors import InvalidRequest, SetupError
from colonnade.wire.routes import Deployment, KeyRecord, Observed, ReplicaState, ReplicaStatus


def test_keys_are_long_and_kept_as_keyed_digests() -> None:
    key, pepper = new_key(), new_pepper()
    assert re.fullmatch(r"cln_[A-Za-z0-9_-]{43}", key)
    assert key != new_key()
    assert digest(pepper, key) == hmac.new(bytes.fromhex(pepper), key.encode(), hashlib.sha256).hexdigest()
    assert digest(new_pepper(), key) != digest(pepper, key)


def test_epochs_are_short_and_later_ones_sort_higher() -> None:
    names = list(islice(epochs(), 50))
    assert all(re.fullmatch(r"[a-z0-9]{11}", name) for name in names)
    assert all(before < after for before, after in pairwise(names))
    assert base36(36**2 + 35, 4) == "010z"


def status(id: str, epoch: str, state: ReplicaState = "ready") -> ReplicaStatus:
    return ReplicaStatus(id, id.rpartition("-")[0], epoch, state, url=f"http://{epoch}", events=f"tcp://{epoch}")


def test_routes_are_the_ready_replicas_of_what_is_wanted() -> None:
    local = (status("a-0", "e1"), status("a-0", "e2"), status("a-1", "e3", "starting"), status("gone-0", "e4"))
    observed = {"local": Observed("local", 0, local), "east": Observed("east", 0, (status("a-0", "e5"),))}
    keys = (KeyRecord("z", "d", "t"), KeyRecord("k", "d", "t"))
    routes = routes_of(observed, [Deployment("b", "m"), Deployment("a", "m")], keys, "ab", auth=False)
    assert [(each.replica, each.epoch, each.model) for each in routes.routes] == [
        ("a-0@east", "e5", "a"),
        ("a-0", "e2", "a"),
    ]
    assert (routes.models, [key.name for key in routes.keys], routes.auth) == (("a", "b"), ["k", "z"], False)


def test_a_replicas_command_line() -> None:
    wanted = Deployment("tiny", "tiny-model", 1, 4, {"threads": "2", "engine.prefix-cache": "false"})
    spec = replica_spec(Start("tiny-0", "e1", wanted, 3), Path("/home"))
    assert spec.argv[1:] == (
        *("-m", "colonnade.replica", "--model", "tiny-model", "--host", ADDRESS, "--port", "0"),
        *("--epoch", "e1", "--served-name", "tiny", "--no-prefix-cache", "--threads=2"),
    )
    assert spec.env == {"COLONNADE_HOME": "/home"}
    assert (spec.labels["deployment"], spec.labels["generation"], spec.labels["restarts"]) == ("tiny", "4", "3")
    assert settings_argv({"prefix_cache": "true"}) == ["--prefix-cache"]


@pytest.mark.parametrize("settings", [{"threds": "2"}, {"threads": "many"}, {"backoff_first": "1s"}])
def test_a_setting_that_is_none_of_a_replicas_is_refused(settings: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest) as refused:
        settings_argv(settings)
    assert refused.value.param == f"settings.{next(iter(settings))}"


async def test_a_board_wakes_who_waits() -> None:
    board = Board(10, "a")
    assert await board.newer(-1, 60)
    assert not await board.newer(10, 0)
    assert not await board.newer(10, 0.01)
    waiting = asyncio.create_task(board.newer(10, 60))
    await asyncio.sleep(0)
    board.post("a")
    assert board.revision == 10
    board.post("b")
    assert await waiting
    assert (board.revision, board.value) == (11, "b")
    waiting = asyncio.create_task(board.newer(11, 60))
    await asyncio.sleep(0)
    board.close()
    assert not await waiting
    assert not await board.newer(11, 60)


async def _lifeline(*actions: object) -> str:
    """The reason that a life line gives, held by a pipe, after closing it or a signal to this process."""
    reading, writing = os.pipe()
    line = LifeLine(reading)
    try:
        for action in actions:
            os.kill(os.getpid(), action) if isinstance(action, signal.Signals) else os.close(writing)
        return await asyncio.wait_for(line.ended, 5)
    finally:
        line.close()
        os.close(reading)
        if "close" not in actions:
            os.close(writing)


async def test_a_life_line_ends_with_its_parent_or_at_a_signal() -> None:
    assert await _lifeline("close") == "the parent process is gone"
    assert await _lifeline(signal.SIGINT, signal.SIGTERM) == "SIGTERM"  # Ctrl-C is the parent's
    with Path("/dev/null").open() as nothing:
        line = LifeLine(nothing.fileno())
    os.kill(os.getpid(), signal.SIGINT)
    assert await asyncio.wait_for(line.ended, 5) == "SIGINT"
    line.close()
    LifeLine(1_000_000).close()  # closed by who started us


def test_one_lock_has_one_holder(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "lock", "an agent")
    with pytest.raises(SetupError, match="an agent runs"):
        Lock(tmp_path / "lock", "an agent")
    lock.release()
    Lock(tmp_path / "lock", "an agent").release()


def test_a_taken_port_is_left_or_told() -> None:
    first = listen(0, fallback=False)
    port = first.getsockname()[1]
    second = listen(port, fallback=True)
    assert second.getsockname()[1] != port
    with pytest.raises(SetupError, match=str(port)):
        listen(port, fallback=False)
    first.close()
    second.close()
