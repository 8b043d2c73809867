"""Packages that misbehave: a typed error for the caller, a reason for the operator, and no process left."""

from __future__ import annotations

import contextlib
import http.client
import signal
import time
from collections.abc import Iterator

import pytest
from package_process import FOLDERS, Process

from colonnade.drivers.process import start_ticks

ROGUE = FOLDERS / "rogue"


def start(*options: str, **environment: str) -> Process:
    process = Process(ROGUE, *options, **environment)
    process.until("/ready", 200)
    return process


@pytest.mark.parametrize(("how", "code", "said"), [("exit", 9, "I go now"), ("crash", -signal.SIGSEGV, "")])
def test_one_that_ends_its_process(how: str, code: int, said: str) -> None:
    """The caller's connection breaks, which a gateway takes for a lost replica."""
    process = start()
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        process.predict({"how": how})
    ended, log = process.stop()
    assert ended == code
    assert said in log


def test_one_that_ends_while_it_loads() -> None:
    process = Process(ROGUE, ROGUE="exits in load")
    process.child.wait(timeout=60)
    code, log = process.stop()
    assert code == 7
    assert log.rstrip().endswith("I go while I load")


def test_one_that_never_loads_ends_when_asked() -> None:
    process = Process(ROGUE, ROGUE="hangs in load")
    assert process.ask("GET", "/ready").json["phase"] == "starting"
    refused = process.predict({"how": "well"})
    assert (refused.status, refused.fault) == (503, ("04", "600"))
    assert process.stop()[0] == 0


def test_one_that_leaks_ends_with_the_reason() -> None:
    """Before it takes the memory of its neighbours."""
    process = start()
    with contextlib.suppress(http.client.HTTPException, OSError):  # its connection may go with the process
        assert process.predict({"how": "leak"}).status == 500
    code, log = process.stop()
    assert code == 1
    assert log.splitlines()[-1].endswith("more than resources.memory (400Mi)")


@pytest.fixture(scope="module")
def rogue() -> Iterator[Process]:
    process = start("--drain-timeout", "1")
    yield process
    if process.child.poll() is None:
        process.stop()


@pytest.mark.parametrize("how", ["garbage", "full"])
def test_what_it_returns_or_meets_is_an_error_of_its_own(rogue: Process, how: str) -> None:
    answer = rogue.predict({"how": how})
    assert answer.status == 500
    assert answer.fault[0] == "04"
    assert rogue.predict({"how": "well"}).json == "well"


def test_a_stream_that_falls_silent_is_cut(rogue: Process) -> None:
    with pytest.raises(http.client.IncompleteRead):
        rogue.predict({"how": "silent stream"})
    assert rogue.predict({"how": "well"}).json == "well"


def test_one_that_hangs_or_ignores_its_end_holds_nobody_and_ends_with_its_process(rogue: Process) -> None:
    """Others are served beside it; a drain has its bound."""
    for how in ("hang", "stubborn"):
        connection = rogue.connect()
        body = f'{{"how": "{how}"}}'.encode()
        connection.request("POST", "/v1/models/model:predict", body)
        if how == "stubborn":
            assert connection.getresponse().read(1) == b"a"
        connection.close()
        assert rogue.predict({"how": "well"}).json == "well"
    began = time.monotonic()
    code, _ = rogue.stop()
    assert code == 0
    assert time.monotonic() - began < 15
    assert start_ticks(rogue.child.pid) is None
