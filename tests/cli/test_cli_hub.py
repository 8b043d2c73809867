"""A model named by its repository: `up` and `serve` with a hub of their own on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hub_server
import pytest
from command_line import Run
from hub_server import Hub, environment

from colonnade.engine.folder import SHIPPED

COLONNADE = [sys.executable, "-m", "colonnade.cli"]
PATIENCE = 90.0


@pytest.fixture
def hub(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with hub_server.serving() as hub:
        hub.repos["lab/tiny"] = SHIPPED / "colonnade-tiny"
        for name in [name for name in os.environ if name.startswith("HF_")]:
            monkeypatch.delenv(name)
        for name, value in environment(hub, tmp_path).items():
            monkeypatch.setenv(name, value)
        yield hub


def told(*words: str) -> Any:
    done = subprocess.run([*COLONNADE, *words, "--json"], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def until(condition: Callable[[], bool]) -> None:
    """Every look is a command that takes its time, so nothing is slept."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline


def test_up_fetches_and_ps_shows_how_far_it_is(hub: Hub) -> None:
    """The hub stops in the middle of the weights until `ps` has shown it; the next `up` asks the hub nothing."""
    hub.cut, hub.cuts, hub.hold = 1 << 20, 1, threading.Event()
    starting = subprocess.Popen(
        [*COLONNADE, "up", "lab/tiny", "--port", "0", "--detach", "--json"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert hub.held.wait(PATIENCE)
        until(lambda: " of 6.9 MiB (" in told("ps")[0]["reason"])
        (replica,) = told("ps")
        assert (replica["id"], replica["state"]) == ("tiny-0", "starting")
        assert replica["reason"].startswith("fetching lab/tiny: ")
        assert replica["facts"]["doing"] == replica["reason"]
        hub.hold.set()
        out, _ = starting.communicate(timeout=PATIENCE)
        assert json.loads(out)["model"] == "tiny"
        assert "doing" not in told("ps")[0]["facts"]
    finally:
        hub.hold.set()
        starting.communicate()
        told("down")
    hub.requests.clear()
    hub.down = True
    assert told("up", "lab/tiny", "--port", "0", "--detach")["model"] == "tiny"
    told("down")
    assert hub.requests == []


def test_serve_calls_it_by_its_name(hub: Hub) -> None:
    """The first line tells where it is served; what was said meanwhile is on stderr."""
    argv = [*COLONNADE, "serve", "lab/tiny@v1", "--port", "0", "--no-auth", "--json", "--stop-on-eof"]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["model"] == "tiny"
        assert "fetching" not in process.communicate(timeout=PATIENCE)[1]  # programs are not told how far it is


def test_serve_ends_with_the_reason_and_the_knob(hub: Hub, run: Run) -> None:
    result = run("serve", "lab/none", "--port", "0")
    assert result.exit_code == 1
    assert "there is no repository lab/none" in result.stderr
    assert "HF_TOKEN" in result.stderr
    assert "Traceback" not in result.stderr
