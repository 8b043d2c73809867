"""Packages with a server of their own: the command as a process, under the replica's contract."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from package_process import Process

from colonnade.drivers.process import start_ticks
from colonnade.packages.command import command_of, names_its_port
from colonnade.packages.schema.running import DockerServer

ECHO = Path(__file__).parent / "servers" / "echo"


def server(command: str, port: int = 8000) -> DockerServer:
    return DockerServer(
        start_command=command, server_port=port, predict_endpoint="/p", readiness_endpoint="/r", liveness_endpoint="/l"
    )


@pytest.fixture(scope="module")
def echo() -> Iterator[Process]:
    process = Process(ECHO, TRUSS_SECRET_greeting="hello")
    process.until("/ready", 200)
    yield process
    process.stop()


@pytest.mark.parametrize(
    ("method", "path", "said"),
    [
        ("POST", "/v1/models/model:predict", "/answer x"),
        ("POST", "/v1/models/echo:predict", "/answer x"),
        ("POST", "/anything/else?a=b%20c", "/anything/else?a=b%20c x"),
        ("GET", "/v1/models/model", "/well "),
        ("GET", "/", "/alive "),
        ("GET", "/own/page?q=1", "/own/page?q=1 "),
    ],
)
def test_routes(echo: Process, method: str, path: str, said: str) -> None:
    answer = echo.ask(method, path, b"x" if method == "POST" else None, X_Asked="yes")
    assert answer.status == 200
    assert answer.body.decode().startswith(said)
    assert (answer.headers["content-type"], answer.headers["x-own"]) == ("text/x-own", "yes")


def test_statuses_streams_and_secrets_pass(echo: Process) -> None:
    assert echo.predict(b"teapot").status == 418
    assert echo.ask("GET", "/stream").body == b"one two"
    assert echo.ask("GET", "/").body.endswith(b" hello")


def test_the_replicas_contract(echo: Process) -> None:
    assert echo.ask("GET", "/live").json == {"live": True, "epoch": echo.announced["epoch"]}
    assert echo.ask("GET", "/ready").json["ready"]
    assert echo.ask("GET", "/snapshot").json["epoch"] == echo.announced["epoch"]
    assert echo.ask("GET", "/v1/models").json["data"][0]["id"] == "echo"
    assert echo.ask("GET", "/health").json["status"] == "ready"
    assert echo.ask("GET", "/metrics").status == 200


def test_two_run_side_by_side_and_leave_nothing(echo: Process) -> None:
    """The second listens elsewhere; what it forks into a session of its own ends with it."""
    other = Process(ECHO, TRUSS_SECRET_greeting="again")
    other.until("/ready", 200)
    assert other.ask("GET", "/").body.endswith(b" again")
    assert echo.ask("GET", "/").body.endswith(b" hello")
    child = int(other.predict(b"fork").body.split()[1])
    assert start_ticks(child)
    code, _ = other.stop()
    assert code == 0
    assert start_ticks(child) is None


def test_its_end_is_the_replicas_end_with_the_reason() -> None:
    process = Process(ECHO, TRUSS_SECRET_greeting="hello")
    process.until("/ready", 200)
    assert process.predict(b"die").status == 502
    while (answer := process.ask("GET", "/ready")).json["phase"] != "failed":
        continue
    assert answer.json["reason"] == "the package's server ended: exit 3: told to die"
    refused = process.predict(b"x")
    assert (refused.status, refused.fault) == (503, ("04", "600"))
    code, said = process.stop()
    assert code == 1
    assert said.rstrip().endswith("the package's server ended: exit 3: told to die")


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    text = (ECHO / "config.yaml").read_text().replace("bash -c", "no-such-program")
    (tmp_path / "config.yaml").write_text(text)
    process = Process(tmp_path)
    code, said = process.stop()
    assert code == 1
    assert "the command cannot be started" in said


@pytest.mark.parametrize(
    ("command", "port", "argv"),
    [
        ("serve --port 8000 --model 18000", 8000, ("serve", "--port", "8000", "--model", "18000")),
        ("serve --port=8000 --size 8000.5", 9, ("serve", "--port=9", "--size", "8000.5")),
        ('sh -c "x $(cat /secrets/key) /app/data"', 9, ("sh", "-c", "x $(cat /s/key) /r/data")),
        ("python /app/x.py /my/app/y.py /application", 9, ("python", "/r/x.py", "/my/app/y.py", "/application")),
    ],
)
def test_what_becomes_of_a_command(command: str, port: int, argv: tuple[str, ...]) -> None:
    assert command_of(server(command), port, {"/app": "/r", "/secrets": "/s"}).argv == argv


def test_whether_a_command_names_its_port() -> None:
    assert names_its_port(server("serve --port 8000"))
    assert not names_its_port(server("serve --port 80001"))
