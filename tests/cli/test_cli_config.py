"""`config`, `completion`: settings with their origins, scripts for shells."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import click
import pytest
from command_line import Run

from colonnade.cli.settings_options import given, setting_options
from colonnade.wire.settings import REGISTRY


def test_every_setting_is_shown_with_its_origin(run: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.mkdir()
    (home / "config.toml").write_text("[engine]\nthreads = 3\n")
    Path("colonnade.toml").write_text("[http]\nidle_timeout = 7\n")
    monkeypatch.setenv("COLONNADE_GATEWAY_PORT", "8181")
    rows = {row["key"]: row for row in json.loads(run("config", "show", "--json").stdout)}
    assert set(rows) == {each.key for each in REGISTRY}
    assert rows["engine.threads"]["value"] == "3"
    assert rows["engine.threads"]["origin"].startswith("user file")
    assert rows["http.idle_timeout"]["origin"].startswith("project file")
    assert rows["gateway.port"]["origin"] == "environment COLONNADE_GATEWAY_PORT"
    assert rows["gateway.host"]["origin"] == "default"
    assert rows["home"]["value"] == str(home)


def test_origins_are_shown_when_asked_for(run: Run) -> None:
    assert "ORIGIN" not in run("config", "show").stdout
    assert "ORIGIN" in run("config", "show", "--origin").stdout


def test_one_section(run: Run) -> None:
    rows = json.loads(run("config", "show", "engine", "--json").stdout)
    assert rows
    assert all(row["key"].startswith("engine.") for row in rows)
    refused = run("config", "show", "motor")
    assert refused.exit_code == 2
    assert "engine" in refused.stderr


def test_get(run: Run) -> None:
    result = run("config", "get", "port")
    assert (result.stdout, result.stderr) == ("8080\n", "gateway.port from default\n")
    assert run("config", "get", "gateway.port", "--quiet").stderr == ""
    told = json.loads(run("config", "get", "gateway.port", "--json").stdout)
    assert told == {"key": "gateway.port", "value": "8080", "origin": "default"}


def test_a_setting_that_is_wrong_names_its_origin(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLONNADE_GATEWAY_PORT", "many")
    result = run("ps")
    assert result.exit_code == 2
    assert "environment COLONNADE_GATEWAY_PORT" in result.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(run: Run, shell: str) -> None:
    script = run("completion", shell).stdout
    assert "_COLONNADE_COMPLETE" in script
    assert json.loads(run("completion", shell, "--json").stdout)["script"] == script.removesuffix("\n")
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True)


def test_options_are_made_of_settings() -> None:
    @click.command()
    @setting_options("gateway.port", "engine.")
    def command(**options: object) -> None:
        click.echo(str({key: value for key, value in given(options).items() if value is not None}))

    from click.testing import CliRunner

    words = ["--port", "9", "--threads", "auto", "--no-prefix-cache"]
    expected = {"gateway.port": "9", "engine.threads": "auto", "engine.prefix_cache": False}
    assert CliRunner().invoke(command, words).output.strip() == str(expected)
    text = CliRunner().invoke(command, ["--help"]).output
    assert "--kv-memory" in text
    assert "--host" not in text
