"""Children as real processes, and what is kept about them."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.cli import running
from colonnade.cli.announcing import Announcing, PhaseEnded, Ready, decode
from colonnade.cli.child import Child, describe, last_words, tail, turn_over
from colonnade.cli.greeting import Greeting
from colonnade.cli.home import Home, UpRecord
from colonnade.cli.restarts import Restarts
from colonnade.cli.signals import Stopped, until_stopped
from colonnade.cli.upping import locked, name_of
from colonnade.cli.waiting import until_ready
from colonnade.drivers.process import boot_id, start_ticks
from colonnade.wire.errors import Conflict, DeadlineExceeded, SetupError

PROGRAM = """
import json, signal, sys
what = sys.argv[1]
if what == "fail":
    sys.exit("no such model")
print("plain words", flush=True)
if what != "mute":
    print(json.dumps({"url": "http://x", "what": what}), flush=True)
print("more words", flush=True)
if what == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("ignoring", file=sys.stderr, flush=True)
    signal.pause()
sys.stdin.read()
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "child_program.py").write_text(PROGRAM)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "child_program"


async def started(program: str, what: str, tmp_path: Path) -> Child:
    child = Child("thing", program, [what], tmp_path / "thing.log")
    await child.start()
    return child


async def test_a_child_announces_itself_logs_and_leaves(program: str, tmp_path: Path) -> None:
    child = await started(program, "well", tmp_path)
    assert (await child.announcement(20))["url"] == "http://x"
    assert child.ticks == start_ticks(child.pid)
    assert os.getpgid(child.pid) == child.pid
    while tail(child.log, 9) != ["plain words", "more words"]:
        await asyncio.sleep(0)
    await child.stop(20)
    assert await child.ended() == "killed by signal 15 (SIGTERM)"
    assert child.log.stat().st_mode & 0o077 == 0
    await child.stop(1)
    child.hurry()


async def test_a_child_that_fails_says_why(program: str, tmp_path: Path) -> None:
    child = await started(program, "fail", tmp_path)
    with pytest.raises(SetupError, match="did not start: no such model"):
        await child.announcement(20)
    assert await child.ended() == "exit 1: no such model"


async def test_a_child_that_never_says_where_it_is(program: str, tmp_path: Path) -> None:
    child = await started(program, "mute", tmp_path)
    with pytest.raises(SetupError, match="did not say"):
        await child.announcement(0.05)
    await child.stop(20)


async def test_a_child_that_will_not_go_is_killed(program: str, tmp_path: Path) -> None:
    child = await started(program, "stubborn", tmp_path)
    await child.announcement(20)
    while "ignoring" not in tail(child.log, 9):
        await asyncio.sleep(0)
    await child.stop(0.05)
    assert await child.ended() == "killed by signal 9 (SIGKILL)"


async def test_waiting_ends_when_it_is_vain() -> None:
    async def doomed() -> str:
        return "it ended"

    with pytest.raises(SetupError, match="it ended"):
        await until_ready("http://127.0.0.1:9", 20, doomed(), "the thing")
    with pytest.raises(DeadlineExceeded, match="does not answer"):
        await until_ready("http://127.0.0.1:9", 0.0, asyncio.Event().wait(), "the thing")  # type: ignore[arg-type]


async def test_no_time_counts_while_something_is_fetched() -> None:
    said: list[str] = []
    doings = iter(["fetching a: 1 %", "fetching a: 2 %"])
    with pytest.raises(DeadlineExceeded):
        await until_ready(
            "http://127.0.0.1:9",
            0.0,
            asyncio.Event().wait(),  # type: ignore[arg-type]
            "the thing",
            tell=said.append,
            doing=lambda: next(doings, ""),
        )
    assert said == ["fetching a: 1 %"]  # the next word within PAUSE is one too many
    assert list(doings) == []


async def test_a_signal_cancels_and_a_second_one_hurries() -> None:
    steps: list[str] = []
    hurried = asyncio.Event()

    async def work() -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.Event().wait()
        finally:
            steps.append("stopping")
            os.kill(os.getpid(), signal.SIGTERM)
            await hurried.wait()
            steps.append("stopped")

    with pytest.raises(Stopped, match="SIGINT"):
        await until_stopped(work(), hurried.set)
    assert steps == ["stopping", "stopped"]


async def test_work_that_ends_by_itself() -> None:
    async def work() -> None:
        await asyncio.sleep(0)

    await until_stopped(work(), lambda: None)


def test_what_is_recorded_is_found_only_while_it_runs(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.prepare()
    assert running.running_up(home) is None
    assert running.children(home) == []
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        ticks = start_ticks(process.pid)
        assert ticks is not None
        record = UpRecord(process.pid, ticks, boot_id(), "http://x", children={"control": (process.pid, ticks)})
        home.keep_up(record)
        assert running.running_up(home) == record
        [named] = running.children(home)
        assert (named.name, named.alive) == ("control", True)
        assert running.stop(running.Named("other", process.pid, ticks + 1), 1)  # not the one that was meant
        assert process.poll() is None
        assert running.stop(named, 20)
        assert running.stop(named, 20)
    assert running.stop(named, 20)
    assert running.running_up(home) is None
    home.keep_up(UpRecord(os.getpid(), start_ticks(os.getpid()) or 0, "another boot"))
    assert running.running_up(home) is None
    home.up_file.write_text("{}")
    assert home.up() is None


def test_what_ignores_sigterm_is_killed() -> None:
    code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); signal.pause()"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        ticks = start_ticks(process.pid)
        assert ticks is not None
        assert not running.stop(running.Named("stubborn", process.pid, ticks), 0.05)
        assert process.wait() == -9


def test_one_up_a_home(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.prepare()
    with locked(home), pytest.raises(Conflict, match="another"):
        with locked(home):
            raise AssertionError
    with locked(home):
        assert home.lock_file.exists()


def test_the_state_folder_is_its_owners_alone(tmp_path: Path) -> None:
    home = Home(tmp_path / "new")
    home.prepare()
    home.keep_key("cln_x")
    assert home.key() == "cln_x"
    for path in (home.path, home.run, home.key_file):
        assert path.stat().st_mode & 0o077 == 0
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match="cannot make"):
        Home(tmp_path / "file" / "home").prepare()


@given(st.lists(st.floats(0, 200), max_size=30), st.floats(0.01, 1), st.floats(1, 60))
def test_restarts_wait_longer_with_each_failure_up_to_a_limit(lives: list[float], first: float, limit: float) -> None:
    restarts = Restarts(first, limit, reset=100)
    before = 0.0
    for lived in lives:
        delay = restarts.after(lived)
        assert 0 <= delay <= limit
        assert delay == 0 if lived >= 100 else delay >= before or before == 0
        before = 0.0 if lived >= 100 else delay
    assert restarts.total == len(lives)


def test_the_greeting_is_one_line_to_paste() -> None:
    """A shell and curl's own reading of it give back what was meant."""
    import json
    import shlex

    words = shlex.split(Greeting("http://h:1", "cln_k", "it's a model", 7).curl)
    assert words[:3] == ["curl", "-s", "http://h:1/v1/chat/completions"]
    assert "Authorization: Bearer cln_k" in words
    assert json.loads(words[-1])["model"] == "it's a model"
    assert "Authorization" not in Greeting("http://h:1", "", "m", 7).curl
    lines = Greeting("http://h:1", "cln_k", "m", 7).text().splitlines()
    assert len([line for line in lines if line.startswith("curl ")]) == 1


def test_a_detached_run_tells_its_phases() -> None:
    reading, writing = os.pipe()
    greeting = Greeting("http://h:1", "k", "m", 7)
    with Announcing(writing) as announcing:
        announcing.phase("one", 1.5)
        announcing.greeting(greeting)
    with os.fdopen(reading, "rb") as pipe:
        assert [decode(line) for line in pipe] == [PhaseEnded("one", 1.5), Ready(greeting)]


def test_a_detached_run_whose_listener_has_gone_goes_on() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with Announcing(writing) as announcing:
        announcing.phase("one", 1.5)
        announcing.close()


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("colonnade-tiny", "colonnade-tiny"),
        ("/m/My Llama+/", "My-Llama"),
        ("///", "model"),
        ("org/My_Llama@v1", "My_Llama"),
    ],
)
def test_names_of_deployments(model: str, name: str) -> None:
    assert name_of(model) == name


def test_logs_are_put_aside_when_they_are_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("colonnade.cli.child.LOG_LIMIT", 3)
    log = tmp_path / "a.log"
    turn_over(log)
    log.write_text("abc")
    turn_over(log)
    assert log.exists()
    log.write_text("abcd\n\n")
    assert last_words(log) == "abcd"
    turn_over(log)
    assert not log.exists()
    assert (tmp_path / "a.old").read_text() == "abcd\n\n"
    assert last_words(log) == ""
    assert describe(3) == "exit 3"
