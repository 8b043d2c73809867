"""The engine's process, for real: sockets, life line, signals, faults."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import msgspec
import oracle_engine
import pytest
import zmq

from colonnade.engine.oracle import continuation
from colonnade.wire.messages import (
    Abort,
    Command,
    Delta,
    Deltas,
    Drop,
    Failed,
    Load,
    Loaded,
    Refused,
    Report,
    Sampling,
    Stored,
    Submit,
)

PROGRAM = Path(oracle_engine.__file__)
WAIT_MS = 20_000


class Face:
    """The other end of the two sockets."""

    def __init__(self, folder: Path, *flags: str, model: str = "oracle") -> None:
        self.context = zmq.Context[zmq.Socket[bytes]]()
        self.commands, self.reports = self.context.socket(zmq.PUSH), self.context.socket(zmq.PULL)
        ends = [f"ipc://{folder}/c", f"ipc://{folder}/r"]
        self.commands.bind(ends[0])
        self.reports.bind(ends[1])
        argv = [sys.executable, str(PROGRAM), "--commands", ends[0], "--reports", ends[1], "--model", model, *flags]
        self.log = (folder / "log").open("w+")
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log)
        self.cached: dict[bytes, int] = {}
        self.load = Load()

    def send(self, *commands: Command) -> None:
        for command in commands:
            self.commands.send(msgspec.msgpack.encode(command))

    def receive(self) -> Report:
        assert self.reports.poll(WAIT_MS), "no report"
        report = msgspec.msgpack.decode(self.reports.recv(), type=Report)
        if isinstance(report, Deltas):
            self.load = report.load
            for change in report.cache:
                if isinstance(change, Stored):
                    self.cached[change.digest] = change.length
                else:
                    del self.cached[change.digest]
        return report

    def collect(self, *keys: str) -> dict[str, list[Delta]]:
        """All deltas until each of `keys` has finished."""
        found: dict[str, list[Delta]] = {}
        left = set(keys)
        while left:
            report = self.receive()
            assert isinstance(report, Deltas)
            for delta in report.deltas:
                found.setdefault(delta.key, []).append(delta)
                if delta.finish is not None:
                    left.remove(delta.key)
        return found

    def until_idle(self) -> None:
        while self.load.running + self.load.waiting:
            self.receive()

    @property
    def stdin(self) -> IO[bytes]:
        assert self.process.stdin is not None
        return self.process.stdin

    def close(self) -> None:
        self.stdin.close()
        try:
            self.process.wait(WAIT_MS / 1000)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            for file in (self.log, self.process.stdout):
                assert file is not None
                file.close()
            self.commands.close(0)
            self.reports.close(0)
            self.context.term()


@pytest.fixture(params=["--no-overlap", "--overlap"])
def face(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Face]:
    face = Face(tmp_path, "--prefill-chunk=8", "--max-running=4", "--max-waiting=6", request.param)
    assert isinstance(face.receive(), Loaded)
    yield face
    face.close()


def submit(key: str, first: int = 1, length: int = 20, **sampling: Any) -> Submit:
    return Submit(key, [first, *range(2, length + 1)], Sampling(**sampling))


def output(request: Submit) -> list[int]:
    context = oracle_engine.CONTEXT
    return continuation(request.prompt, request.sampling, 0, vocab_size=oracle_engine.VOCAB, context=context)[0]


def tokens(deltas: list[Delta]) -> list[int]:
    return [token for delta in deltas for token in delta.tokens]


def test_says_what_it_loaded_and_ends_with_stdin(tmp_path: Path) -> None:
    face = Face(tmp_path)
    loaded = face.receive()
    assert loaded == Loaded("oracle", {"kernels": "oracle"}, oracle_engine.PAGES, oracle_engine.CONTEXT)
    face.close()
    assert face.process.returncode == 0


def test_leaked_pages_are_withdrawn_with_a_line_in_the_log_and_it_goes_on(tmp_path: Path) -> None:
    face = Face(tmp_path, model="leaky")
    assert isinstance(face.receive(), Loaded)
    face.send(Drop())
    while face.load.pages_total != oracle_engine.PAGES - oracle_engine.LOST:
        face.receive()
    assert face.load.pages_used == 0
    asked = submit("on", max_tokens=5)
    face.send(asked)
    assert tokens(face.collect("on")["on"]) == output(asked)
    assert f"{oracle_engine.LOST} pages had no owner and were withdrawn" in (tmp_path / "log").read_text()
    face.close()


def test_answers_many_and_publishes_load_and_cache(face: Face) -> None:
    requests = [submit(f"r{i}", seed=i, max_tokens=5 + i) for i in range(6)]
    face.send(*requests)
    found = face.collect(*(request.key for request in requests))
    for request in requests:
        assert tokens(found[request.key]) == output(request)
        assert found[request.key][-1].finish == "length"
    assert face.load.running == face.load.waiting == face.load.tokens == 0
    assert face.load.pages_used == face.load.pages_cached > 20
    assert face.load.pages_total == oracle_engine.PAGES
    assert face.load.steps > 10
    assert 20 in face.cached.values()
    face.send(submit("again", max_tokens=1))
    assert face.collect("again")["again"][0].cached == 19
    face.send(Drop())
    while face.cached:
        face.receive()
    assert face.load.pages_used == 0


def test_abort_ends_the_work_and_idles(face: Face) -> None:
    face.send(submit("long", max_tokens=100, seed=1), submit("other", max_tokens=3))
    face.send(Abort("long"), Abort("nobody"))
    found = face.collect("other")
    face.until_idle()
    assert all(delta.finish is None for delta in found.get("long", []))
    assert face.load.pages_used == face.load.pages_cached


def test_refuses_what_can_never_run(face: Face) -> None:
    face.send(submit("long", length=oracle_engine.CONTEXT), Submit("strange", [oracle_engine.VOCAB], Sampling()))
    refused = [face.receive(), face.receive()]
    assert [each.code for each in refused if isinstance(each, Refused)] == ["context_length_exceeded", "invalid_value"]


def test_a_frame_that_is_no_command_is_left_out(face: Face) -> None:
    face.commands.send(b"\xc1")
    face.send(submit("fine", max_tokens=2))
    assert tokens(face.collect("fine")["fine"]) == output(submit("fine", max_tokens=2))


def test_a_poisoned_request_ends_alone(face: Face) -> None:
    fine = [submit(f"fine{i}", seed=i, max_tokens=20) for i in range(3)]
    face.send(*fine[:2], submit("bad", first=oracle_engine.POISON), fine[2])
    found = face.collect("bad", *(request.key for request in fine))
    assert found["bad"][-1].finish == "error"
    assert "poisoned" in found["bad"][-1].reason
    for request in fine:
        assert tokens(found[request.key]) == output(request)
    assert face.process.poll() is None


def test_gives_up_when_every_step_fails(face: Face) -> None:
    for i in range(2):
        face.send(submit(f"bad{i}", first=oracle_engine.POISON))
        assert face.collect(f"bad{i}")
    face.send(submit("bad2", first=oracle_engine.POISON))
    report = face.receive()
    while isinstance(report, Deltas):
        report = face.receive()
    assert isinstance(report, Failed)
    assert report.code == "internal_error"
    assert "poisoned" in report.message
    assert face.process.wait(WAIT_MS / 1000) == 1


@pytest.mark.parametrize(("model", "code"), [("missing", "bad_model"), ("crash", "internal_error")])
def test_says_why_it_could_not_load(tmp_path: Path, model: str, code: str) -> None:
    face = Face(tmp_path, model=model)
    failed = face.receive()
    assert isinstance(failed, Failed)
    assert failed.code == code
    assert failed.hint
    assert face.process.wait(WAIT_MS / 1000) == 1
    face.close()


def test_ends_on_sigterm_with_work_in_flight_but_not_on_sigint(face: Face) -> None:
    face.process.send_signal(signal.SIGINT)
    face.send(submit("long", max_tokens=100))
    face.receive()
    face.process.send_signal(signal.SIGTERM)
    assert face.process.wait(WAIT_MS / 1000) == 0


def test_ends_with_stdin_even_when_a_step_is_stuck(face: Face) -> None:
    face.send(submit("stuck", first=oracle_engine.TAR))
    assert face.process.stdout is not None
    assert face.process.stdout.readline() == b"stuck\n"
    face.stdin.close()
    assert face.process.wait(WAIT_MS / 1000) == 1


def test_sleeps_when_idle(face: Face) -> None:
    face.send(submit("warm", max_tokens=1))
    face.collect("warm")
    before = _cpu_ticks(face.process.pid)
    assert not face.reports.poll(1500), "nothing to say"  # past the idle check
    assert _cpu_ticks(face.process.pid) - before <= 10


def test_bad_flags_are_named(tmp_path: Path) -> None:
    face = Face(tmp_path, "--step-tokens=many")
    assert face.process.wait(WAIT_MS / 1000) == 2
    face.close()
    assert "step-tokens" in (tmp_path / "log").read_text()


def _cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 100 // os.sysconf("SC_CLK_TCK")
