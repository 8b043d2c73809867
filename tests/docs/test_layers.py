"""What the import contracts cannot see: what a process really loads when it starts."""

from __future__ import annotations

import configparser
import subprocess
import sys
import tomllib
from pathlib import Path

import documented
import pytest

ROOMS = {each.name for each in (documented.SRC / "colonnade").iterdir() if (each / "__init__.py").exists()}
LISTED = (documented.ROOT / ".importlinter").read_text(encoding="utf-8")


@pytest.mark.parametrize("room", sorted(ROOMS - {"engine"}))
def test_nothing_but_the_engine_loads_torch(room: str) -> None:
    files = [
        file for file in (documented.SRC / "colonnade" / room).rglob("*.py") if (file.parent / "__init__.py").exists()
    ]
    names = [".".join(file.relative_to(documented.SRC).with_suffix("").parts) for file in files]
    modules = sorted(name.removesuffix(".__init__") for name in names if not name.endswith(".__main__"))
    code = f"import sys, {', '.join(modules)}; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr or f"{room} loads torch"


def test_every_room_has_its_place_in_the_order() -> None:
    assert {room for room in ROOMS if f"colonnade.{room}" not in LISTED} == set()


def test_every_core_on_the_map_is_held_to_be_pure() -> None:
    """ARCHITECTURE.md names the cores; `.importlinter` holds them to it."""
    text = (documented.ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    cores = text.partition("The cores (")[2].partition("\n\n")[0]
    for room in sorted(ROOMS):
        for word in cores.replace(",", " ").replace("`", " ").split():
            if word.startswith(f"{room}."):
                assert f"colonnade.{word.rstrip('.')}\n" in LISTED, word


def test_every_core_is_checked_strictly() -> None:
    contracts = configparser.ConfigParser()
    contracts.read_string(LISTED)
    cores = contracts["importlinter:contract:purity"]["source_modules"].split()
    project = tomllib.loads((documented.ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    strict = [f"{path.removesuffix('.py')}/" for path in project["tool"]["basedpyright"]["strict"]]
    held = [core for core in cores if f"src/{core.replace('.', '/')}/".startswith(tuple(strict))]
    assert held == cores


def test_modules_have_unique_names_where_pytest_needs_them() -> None:
    names = [file.name for file in Path(__file__).parents[1].rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))
