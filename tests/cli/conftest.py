"""Every command has a state folder of its own, and runs in a folder without a project file."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from command_line import Run

for room in ("bench", "engine"):  # the stand-in servers
    sys.path.insert(0, str(Path(__file__).parents[1] / room))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("COLONNADE_HOME", str(folder))
    return folder


@pytest.fixture
def run(home: Path) -> Run:
    return Run()
