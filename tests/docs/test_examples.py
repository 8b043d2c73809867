"""Examples in the pages hold: code parses, settings resolve, and what is marked `run` runs.

A fenced block whose info string is `python run` or `bash run` is executed in an empty folder with a fresh state folder,
and must exit with 0. `colonnade` and `python` are those of this environment. With a third word, `server`, it runs
beside a served `colonnade-tiny`: the page's `http://127.0.0.1:8080` and `cln_...` become that server's URL and key.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import documented
import msgspec
import pytest

from colonnade.wire.settings import resolve

BLOCK = re.compile(r"^```(\w+)((?: \w+)*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Example:
    page: Path
    line: int
    language: str
    marks: tuple[str, ...]
    text: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def examples(page: Path) -> list[Example]:
    text = page.read_text(encoding="utf-8")
    return [
        Example(page, text.count("\n", 0, block.start()) + 1, block[1], tuple(block[2].split()), block[3])
        for block in BLOCK.finditer(text)
    ]


EXAMPLES = [example for page in documented.prose() for example in examples(page)]
RUN = [example for example in EXAMPLES if "run" in example.marks and "server" not in example.marks]
SERVED = [example for example in EXAMPLES if "run" in example.marks and "server" in example.marks]
PARSERS = {"python": ast.parse, "toml": tomllib.loads, "json": msgspec.json.decode}
PARSED = [example for example in EXAMPLES if example.language in PARSERS]
SETTINGS = [example for example in EXAMPLES if example.language == "toml" and "[project" not in example.text]


@pytest.mark.parametrize("example", PARSED, ids=str)
def test_it_parses(example: Example) -> None:
    PARSERS[example.language](example.text)


@pytest.mark.parametrize("example", SETTINGS, ids=str)
def test_settings_in_it_exist(example: Example) -> None:
    resolve({}, {}, example.text, project_name=str(example))


@pytest.mark.parametrize("example", RUN, ids=str)
def test_it_runs(example: Example, tmp_path: Path) -> None:
    run(example, example.text, tmp_path)


@pytest.mark.parametrize("example", SERVED, ids=str)
def test_it_runs_beside_a_server(example: Example, tmp_path: Path, server: dict[str, str]) -> None:
    text = example.text.replace("http://127.0.0.1:8080", server["url"]).replace("cln_...", server["key"])
    run(example, text, tmp_path)


def run(example: Example, text: str, folder: Path) -> None:
    command = {"python": [sys.executable, "-W", "error", "-c"], "bash": ["bash", "-euo", "pipefail", "-c"]}
    done = subprocess.run(
        [*command[example.language], text],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def environment(folder: Path) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {"PATH": path, "HOME": str(folder), "COLONNADE_HOME": str(folder / "home")}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """`url` and `key` of a served model, as `colonnade serve --json` prints them; stopped by the end of its input."""
    folder = tmp_path_factory.mktemp("served")
    command = [
        sys.executable,
        "-m",
        "colonnade.cli",
        "serve",
        "colonnade-tiny",
        "--port",
        "0",
        "--json",
        "--stop-on-eof",
    ]
    with (folder / "stderr").open("w+b") as said:
        process = subprocess.Popen(
            command, cwd=folder, env=environment(folder), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said
        )
        with process:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, (folder / "stderr").read_text()
            yield msgspec.json.decode(line)
            process.communicate(timeout=30)
