"""`doctor`, `logs`, addresses: what is looked at on this machine."""

from __future__ import annotations

import itertools
import json
import os
import socket
from pathlib import Path

import pytest
from command_line import Run

from colonnade.cli import checks
from colonnade.cli.address import check_auth, check_free, is_loopback
from colonnade.cli.commands.logs import followed, last_lines, sources
from colonnade.cli.commands.ps import age_of, row
from colonnade.cli.home import Home, UpRecord
from colonnade.cli.phases import Phases
from colonnade.drivers.process import boot_id, start_ticks
from colonnade.wire.errors import BadSetting, SetupError
from colonnade.wire.routes import ReplicaStatus
from colonnade.wire.settings import resolve


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def test_doctor_finds_nothing_wrong_with_a_fresh_home(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLONNADE_GATEWAY_PORT", str(free_port()))
    result = run("doctor", "--json")
    findings = {each["check"]: each for each in json.loads(result.stdout)}
    assert result.exit_code == (1 if "fail" in {each["status"] for each in findings.values()} else 0)
    assert findings["python"]["status"] == findings["home"]["status"] == findings["port"]["status"] == "ok"
    assert findings["up"]["found"] == "not running"
    assert all(each["fix"] for each in findings.values() if each["status"] != "ok")
    assert "python" in run("doctor").stdout


def test_doctor_finds_what_is_wrong(run: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.mkdir(mode=0o755)
    home.chmod(0o755)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setenv("COLONNADE_GATEWAY_PORT", str(taken.getsockname()[1]))
        result = run("doctor")
    assert result.exit_code == 1
    assert "FAIL  port" in result.stdout
    assert "COLONNADE_GATEWAY_PORT" in result.stdout
    assert f"chmod go-rwx {home}" in result.stdout


def test_doctor_finds_a_wrong_setting(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLONNADE_GATEWAY_PROT", "1")
    result = run("doctor")
    assert result.exit_code == 1
    assert "COLONNADE_GATEWAY_PROT" in result.stdout


def test_doctor_knows_what_runs_and_what_was_left(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.prepare()
    ticks = start_ticks(os.getpid()) or 0
    settings = resolve({"gateway.port": str(free_port())}, {})
    home.keep_up(UpRecord(os.getpid(), ticks, boot_id(), "http://127.0.0.1:9"))
    up, gateway = checks.running(home, settings)
    assert (up.status, gateway.status) == ("ok", "fail")
    home.keep_up(UpRecord(os.getpid(), ticks + 1, boot_id(), children={"agent": (os.getpid(), ticks)}))
    left, port = checks.running(home, settings)
    assert left.status == "warn"
    assert "agent" in left.found
    assert port.status == "ok"


@pytest.mark.parametrize(("free", "status"), [(1 << 40, "ok"), (1 << 30, "warn"), (1 << 20, "fail")])
def test_doctor_weighs_memory(monkeypatch: pytest.MonkeyPatch, free: int, status: str) -> None:
    monkeypatch.setattr(checks, "_available_memory", lambda: free)
    assert checks.memory().status == status


def test_doctor_looks_at_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    assert checks.clock().status == "ok"
    monkeypatch.setattr(checks.time, "time", lambda: 0.0)
    assert checks.clock().status == "fail"


def test_a_port_in_use_names_the_knob_and_its_origin() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SetupError, match=f"port {port}") as refused:
            check_free(resolve({"gateway.port": str(port)}, {}))
    assert "--port N" in refused.value.hint
    assert "flag --port" in refused.value.hint
    with pytest.raises(SetupError, match=r"cannot listen on 192\.0\.2\.1"):
        check_free(resolve({"gateway.host": "192.0.2.1"}, {}))
    check_free(resolve({"gateway.port": "0"}, {}))


def test_keys_are_not_off_where_others_can_reach() -> None:
    check_auth(resolve({"gateway.auth": "off"}, {}))
    check_auth(resolve({"gateway.host": "0.0.0.0"}, {}))
    with pytest.raises(BadSetting, match="keys are off"):
        check_auth(resolve({"gateway.auth": "off", "gateway.host": "0.0.0.0"}, {}))
    assert is_loopback("::1")
    assert is_loopback("localhost")
    assert not is_loopback("")
    assert not is_loopback("example.org")


@pytest.mark.parametrize("words", [["up"], ["serve", "colonnade-tiny"]])
def test_no_command_starts_on_such_an_address(run: Run, words: list[str]) -> None:
    result = run(*words, "--host", "0.0.0.0", "--no-auth", "--port", "0")
    assert result.exit_code == 2
    assert "--no-auth" in result.stderr


def test_logs(run: Run, home: Path) -> None:
    folder = home / "logs"
    folder.mkdir(parents=True)
    assert run("logs", "--json").stdout == "[]\n"
    (folder / "tiny-0.e1.log").write_text("old\n")
    (folder / "tiny-0.e2.log").write_text("one\ntwo\nthree\n")
    (folder / "tiny-0.log").symlink_to("tiny-0.e2.log")
    (folder / "Qwen2.5-0.e1.log").write_text("dots in a name\n")
    (folder / "Qwen2.5-0.log").symlink_to("Qwen2.5-0.e1.log")
    (folder / "gateway.log").write_text("up")
    assert [each["source"] for each in json.loads(run("logs", "--json").stdout)] == ["Qwen2.5-0", "gateway", "tiny-0"]
    assert run("logs", "tiny-0", "--lines", "2").stdout == "two\nthree\n"
    assert json.loads(run("logs", "gateway", "--json").stdout) == {"source": "gateway", "line": "up"}
    missing = run("logs", "tiny-1")
    assert missing.exit_code == 1
    assert "Qwen2.5-0, gateway, tiny-0" in missing.stderr


def test_last_lines_of_a_long_log(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    lines = [f"line {n} " + "x" * 90 for n in range(5000)]
    path.write_text("\n".join(lines) + "\n")
    assert last_lines(path, 3) == lines[-3:]
    assert last_lines(path, 2000) == lines[-2000:]
    assert last_lines(path, 10**6) == lines
    assert last_lines(path, 0) == []


def test_following_goes_on_in_the_next_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written while it looks, by each look: more, a cut file, a new life, half a line."""
    path = tmp_path / "a.log"
    path.write_text("before\n")

    def more() -> None:
        with path.open("a") as file:
            file.write("more\nha")

    def rest() -> None:
        with path.open("a") as file:
            file.write("lf\n")

    def cut() -> None:
        os.truncate(path, 0)
        path.write_text("cut\n")

    def replaced() -> None:
        path.rename(tmp_path / "old.log")
        path.write_text("another life\n")

    steps = iter([more, rest, path.name.lower, cut, replaced])
    monkeypatch.setattr("colonnade.cli.commands.logs.time.sleep", lambda _: next(steps)())
    assert list(itertools.islice(followed(path), 4)) == ["more", "half", "cut", "another life"]
    assert sources(tmp_path) == ["a", "old"]


def test_ages_and_rows() -> None:
    assert [age_of(n) for n in (-1, 59, 60, 7200, 90000)] == ["0s", "59s", "1m", "2h", "1d"]
    status = ReplicaStatus("t-0", "t", "e", "starting", reason="loading", restarts=2)
    found = row(status, 100.0)
    assert {"id": "t-0", "pid": None, "state": "starting", "reason": "loading", "restarts": 2}.items() <= found.items()
    assert found["age"] is None


def test_phases_are_lines_where_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    phases = Phases()
    with phases("loading"):
        assert phases.total >= 0
    assert capsys.readouterr().err.endswith(" s  loading\n")
    with pytest.raises(ValueError, match="no"), phases("failing"):
        raise ValueError("no")
    with Phases(quiet=True)("loading"):
        pass
    assert capsys.readouterr().err == ""
    told: list[str] = []
    with Phases(ended=lambda title, _: told.append(title))("loading"):
        pass
    assert told == ["loading"]
