"""Errors become words and exit codes in one place."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest
from command_line import Run

from colonnade.cli import exits
from colonnade.cli.root import report
from colonnade.cli.session import Session, table
from colonnade.wire import errors
from colonnade.wire.errors import ColonnadeError


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.BadSetting("x"), 2),
        (errors.SetupError("x", code="not_running"), 3),
        (errors.NotFound("x", code="not_running"), 3),
        (errors.Overloaded("x"), 4),
        (errors.ReplicaLost("x"), 4),
        (errors.BadModel("x"), 1),
        (errors.Internal("x"), 1),
        (KeyboardInterrupt(), 130),
        (click.Abort(), 130),
        (click.UsageError("x"), 2),
        (click.exceptions.Exit(7), 7),
        (SystemExit(5), 5),
        (SystemExit("words"), 1),
        (ExceptionGroup("one", [errors.Overloaded("x")]), 4),
        (ExceptionGroup("two", [errors.Overloaded("x"), ValueError()]), 1),
        (ValueError("x"), 1),
    ],
    ids=repr,
)
def test_exit_codes(error: BaseException, code: int) -> None:
    assert report(error, Session()) == code


def test_the_codes_are_those_of_the_page() -> None:
    page = Path(__file__).parents[2].joinpath("docs", "cli.md").read_text()
    for code in (exits.OK, exits.FAILED, exits.USAGE, exits.NOT_RUNNING, exits.BUSY, exits.INTERRUPTED):
        assert f"| {code} |" in page


def said(error: BaseException, capsys: pytest.CaptureFixture[str], **session: bool) -> str:
    try:
        raise error
    except BaseException as raised:
        report(raised, Session(**session))
    out, err = capsys.readouterr()
    assert out == ""
    return err


def test_words_without_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    error = errors.BadSetting("too small", hint="--threads 1\nor more")
    assert said(error, capsys) == "error: too small\n hint: --threads 1\n     : or more\n"
    assert "Traceback" in said(error, capsys, debug=True)


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    told = json.loads(said(errors.Overloaded("full", hint="wait"), capsys, as_json=True))
    assert (told["error"]["message"], told["error"]["retryable"]) == ("full", True)


def test_a_defect_says_that_it_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert "defect of colonnade: ValueError: x" in said(ValueError("x"), capsys)
    assert "Traceback" in said(ValueError("x"), capsys, debug=True)


@pytest.mark.parametrize(
    "words", [["ps"], ["keys", "list"], ["chat", "hi"], ["bench", "--requests", "1", "--no-probe"]]
)
def test_what_needs_something_running_says_how_to_start_it(run: Run, words: list[str]) -> None:
    result = run(*words)
    assert result.exit_code == 3
    assert result.stdout == ""
    assert "colonnade up" in result.stderr


@pytest.mark.parametrize(
    "words",
    [["nonsense"], ["up", "--port", "x"], ["up", "--port", "70000"], ["serve"], ["config", "get", "gateway.prot"]],
)
def test_wrong_usage(run: Run, words: list[str]) -> None:
    assert run(*words).exit_code == 2


def test_an_unknown_name_brings_the_closest(run: Run) -> None:
    assert "gateway.port" in run("config", "get", "gateway.prot").stderr


def test_debug_and_home_stand_before_or_behind_the_command(run: Run, tmp_path: Path) -> None:
    other = str(tmp_path / "other")
    assert other in run("--home", other, "ps").stderr
    assert other in run("ps", "--home", other).stderr
    assert "Traceback" in run("ps", "--debug").stderr


def test_every_error_of_the_tree_has_a_code() -> None:
    def below(kind: type[ColonnadeError]) -> list[type[ColonnadeError]]:
        return [kind, *(each for child in kind.__subclasses__() for each in below(child))]

    tree = [kind for kind in below(ColonnadeError) if kind.__module__ == ColonnadeError.__module__]
    assert {exits.code_for(kind("x")) for kind in tree} == {1, 2, 4}


def test_tables() -> None:
    rows = [{"id": "a", "ready_s": None, "reason": ""}, {"id": "longer", "ready_s": 1.5, "reason": "because"}]
    lines = table(("id", "ready_s", "reason"), rows).splitlines()
    assert lines == ["ID      READY S  REASON", "a       -        -", "longer  1.5      because"]
