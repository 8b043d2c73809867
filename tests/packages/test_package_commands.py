"""`colonnade package` and `colonnade serve DIR`, as people run them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner
from package_process import FOLDERS

from colonnade.cli import cli
from colonnade.packages.check import check
from colonnade.packages.fault import BadPackage
from colonnade.packages.folder import is_package, open_package


def test_what_init_writes_passes_check_and_is_not_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLONNADE_HOME", str(tmp_path / "home"))
    folder = tmp_path / "fresh"
    assert CliRunner().invoke(cli, ["package", "init", str(folder)]).exit_code == 0
    checked = CliRunner().invoke(cli, ["package", "check", str(folder), "--json"])
    assert checked.exit_code == 0
    assert json.loads(checked.stdout)["passed"]
    assert CliRunner().invoke(cli, ["package", "init", str(folder)]).exit_code == 1
    assert sum(len(file.read_text().splitlines()) for file in folder.rglob("*") if file.is_file()) <= 10


@pytest.mark.parametrize("name", sorted(each.name for each in FOLDERS.iterdir()))
def test_folders_that_serve_pass(name: str) -> None:
    assert check(FOLDERS / name).passed, check(FOLDERS / name).faults


def test_faults_of_files_and_limits_come_all_at_once(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(
        "external_package_dirs:\n- ../nowhere\nrequirements_file: gone.txt\nsecrets:\n  key: null\n"
        "runtime:\n  predict_concurrency: 0\n  colour: red\nresources:\n  memory: 4Pi\nweights:\n"
        "- source: hf://a/b\n  mount_location: /m\n"
    )
    found = {(each.line, each.weight) for each in check(tmp_path).faults}
    assert found == {
        *((1, "error"), (2, "error"), (3, "error"), (7, "error")),
        (8, "refused"),
        *((5, "warning"), (10, "warning"), (11, "warning")),
    }


def test_what_is_no_package_is_none(tmp_path: Path) -> None:
    (tmp_path / "config.json").touch()
    assert not is_package(tmp_path)
    assert is_package(FOLDERS / "plain")


@pytest.mark.parametrize("text", ["docker_server: {}\n", "bis_llm: {}\n", "python_version: 3\n"])
def test_what_cannot_be_served_is_refused_with_a_reason(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(BadPackage) as refused:
        open_package(tmp_path)
    assert refused.value.hint.startswith("config.yaml:1: ")


def test_serve_answers_through_the_gateway(tmp_path: Path) -> None:
    file = tmp_path / "one.py"
    shutil.copy(FOLDERS / "typed" / "model" / "model.py", file)
    process = subprocess.Popen(
        [sys.executable, "-m", "colonnade.cli", "serve", str(file), "--port", "0", "--json", "--stop-on-eof"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"COLONNADE_HOME": str(tmp_path / "home")},
    )
    assert process.stdout is not None
    try:
        served = json.loads(process.stdout.readline())
        assert served["model"] == "one"
        for name in ("one", "model"):
            assert ask(served, f"/v1/models/{name}:predict", b'{"prompt": "a"}') == (200, b'{"answer":"A","total":0}')
        assert ask(served, "/v1/models/one/loaded") == (200, b"{}")
        assert ask(served, "/v1/models/one:predict", b"{}")[0] == 400
        assert ask({**served, "key": ""}, "/v1/models/one:predict", b"{}")[0] == 401
        assert ask(served, "/v1/models/two:predict", b"{}")[0] == 400
    finally:
        process.communicate(timeout=20)


def ask(served: dict[str, str], path: str, body: bytes | None = None) -> tuple[int, bytes]:
    headers = {"Authorization": f"Bearer {served['key']}"} if served["key"] else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(served["url"] + path, body, headers), timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
