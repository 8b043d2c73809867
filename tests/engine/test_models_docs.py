"""docs/models.md says what the registry and the rope tables say."""

from __future__ import annotations

import re
from pathlib import Path

from colonnade.engine.models import rope
from colonnade.engine.models.registry import ARCHITECTURES, model_class

DOCS = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return DOCS.split(f"\n## {title}\n")[1].split("\n## ")[0]


def first_cells(text: str) -> list[str]:
    return re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)


def test_every_family_has_its_row() -> None:
    assert sorted(first_cells(section("Families"))) == sorted(ARCHITECTURES)


def test_every_rope_scaling_has_its_row() -> None:
    assert tuple(name for name in first_cells(section("Rope scaling")) if name != "rope_type") == rope.KINDS


def test_every_family_can_be_loaded() -> None:
    for name in ARCHITECTURES:
        assert callable(model_class(name).bind)
