"""Code that changes under a served package: new methods, the old instance."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from package_process import Process

MODEL = """
from model.words import WORD


class Model:
    def load(self):
        self.loads = getattr(self, "loads", 0) + 1

    def predict(self, inputs):
        return {"word": WORD, "loads": self.loads}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "changing"
    (folder / "model").mkdir(parents=True)
    (folder / "config.yaml").write_text("model_name: changing\n")
    (folder / "model" / "model.py").write_text(MODEL)
    (folder / "model" / "words.py").write_text("WORD = 'one'\n")
    return folder


def test_hot_reload_keeps_the_instance_and_survives_bad_code(folder: Path) -> None:
    process = Process(folder)
    try:
        process.until("/v1/models/model/loaded", 200)
        assert process.predict(0).json == {"word": "one", "loads": 1}
        (folder / "model" / "words.py").write_text("WORD = 'three'\n")
        assert process.ask("POST", "/hot-reload").json == {"msg": "Hot reload complete"}
        assert process.predict(0).json == {"word": "three", "loads": 1}
        (folder / "model" / "model.py").write_text("class Model:\n    pass\n")
        refused = process.ask("POST", "/hot-reload")
        assert (refused.status, refused.json["error"].split(":")[0]) == (422, "ModelDefinitionError")
        (folder / "model" / "model.py").write_text("class Model(:\n")
        assert process.ask("POST", "/hot-reload").json["error"].startswith("SyntaxError")
        assert process.predict(0).json == {"word": "three", "loads": 1}
    finally:
        assert process.stop()[0] == 0


def test_watch_takes_over_what_is_saved(folder: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "colonnade.cli", "package", "watch", str(folder)),
            *("--port", "0", "--no-auth", "--json", "--stop-on-eof"),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"COLONNADE_HOME": str(tmp_path / "home")},
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        url = json.loads(process.stdout.readline())["url"] + "/v1/models/changing:predict"
        assert ask(url) == {"word": "one", "loads": 1}
        (folder / "model" / "words.py").write_text("WORD = 'eleven'\n")
        while "words.py changed: read anew" not in process.stderr.readline():
            continue
        assert ask(url) == {"word": "eleven", "loads": 1}
    finally:
        process.communicate(timeout=20)


def ask(url: str) -> object:
    with urllib.request.urlopen(url, b"0", timeout=20) as answer:
        return json.loads(answer.read())
