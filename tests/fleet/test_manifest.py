"""Deployments as people write them: all faults at once, each with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from colonnade.fleet.manifest import BadManifest, read_manifest

WHOLE = """\
name: desk
model: colonnade-tiny
scaling: {min: 0, max: 4, target: 2.5}
settings:
  threads: 1
  prefix_cache: on
"""

FAULTY = """\
name: "not a name"
replicas: -1
scaling:
  min: 5
  max: 2
settings:
  nonsense: 1
modle: colonnade-tiny
"""


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "desk.yaml"
    file.write_text(text)
    return file


def test_a_whole_one(tmp_path: Path) -> None:
    read = read_manifest(written(tmp_path, WHOLE))
    assert (read.name, read.model, read.replicas) == ("desk", "colonnade-tiny", None)
    assert read.scaling is not None
    assert read.scaling.model_dump() == {"min": 0, "max": 4, "target": 2.5, "idle": 300.0, "forecast": False}
    assert read.settings == {"threads": "1", "prefix_cache": "true"}


def test_memory_and_budgets_as_people_write_them(tmp_path: Path) -> None:
    bounds = "resources: {memory: 4GiB}\nbudget: {cost: 500, fails: open}\n"
    read = read_manifest(written(tmp_path, "model: colonnade-tiny\n" + bounds))
    assert read.resources is not None
    assert read.resources.memory == 4 << 30
    assert read.budget is not None
    assert read.budget.model_dump(exclude_none=True) == {"cost": 500.0, "per": "month", "fails": "open"}
    wrong = "resources: {memory: much}\nbudget: {cost: 500, tokens: 3, fails: closed}\n"
    with pytest.raises(BadManifest) as refused:
        read_manifest(written(tmp_path, "model: colonnade-tiny\n" + wrong))
    assert [each.where for each in refused.value.faults] == ["resources.memory", "budget"]


def test_what_a_budget_does_in_doubt_has_to_be_said(tmp_path: Path) -> None:
    with pytest.raises(BadManifest) as refused:
        read_manifest(written(tmp_path, "model: colonnade-tiny\nbudget: {tokens: 3}\n"))
    assert [each.where for each in refused.value.faults] == ["budget.fails"]


def test_every_fault_at_once_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(BadManifest) as refused:
        read_manifest(written(tmp_path, FAULTY))
    assert [(each.line, each.where) for each in refused.value.faults] == [
        (1, "model"),
        (1, "name"),
        (2, "replicas"),
        (3, "scaling"),
        (7, "settings.nonsense"),
        (8, "modle"),
    ]
    assert "desk.yaml:7: settings.nonsense: there is no setting" in refused.value.hint


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("model: [", 1, ""),
        ("- a\n- b\n", 1, "valid dictionary"),
        ("model: m\nreplicas: 1\nscaling: {max: 2}\n", 2, "not both"),
        ("model: m\nsettings: 3\n", 2, "dictionary"),
    ],
)
def test_what_is_no_deployment(tmp_path: Path, text: str, line: int, said: str) -> None:
    with pytest.raises(BadManifest) as refused:
        read_manifest(written(tmp_path, text))
    assert refused.value.faults[0].line == line
    assert said in refused.value.faults[0].message


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadManifest, match="1 fault"):
        read_manifest(tmp_path / "none.yaml")
