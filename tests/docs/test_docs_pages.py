"""Pages hold together: links lead somewhere, and nothing is said that does not belong."""

from __future__ import annotations

import re
from pathlib import Path

import documented
import pytest

PAGES = documented.prose()
CODE = sorted(
    file
    for folder in ("src", "tests", "native", "models", "proofs")
    for file in (documented.ROOT / folder).rglob("*")
    if file.suffix in {".py", ".cpp", ".h", ".hpp", ".toml", ".yaml"}
)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)

UNFINISHED = re.compile(r"TOD[O]|FIXM[E]|\bXX[X]\b|NotImplemente[d]|lorem ipsu[m]")
MERGE_MARK = re.compile(r"^(?:<{7}|>{7}) ")
SOMEONES_PATH = re.compile(r"(?<![\w.}])/(?:root|work|Users|home/\w+)/")


def name(file: Path) -> str:
    return str(file.relative_to(documented.ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for target in LINK.findall(text):
        if not re.match(r"https?:|mailto:", target):
            path, _, anchor = target.partition("#")
            file = (page.parent / path).resolve() if path else page
            assert file.exists(), target
            assert not anchor or anchor in anchors(file), target


def anchors(file: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", file.read_text(encoding="utf-8")), re.MULTILINE)
    return {documented.slug(heading) for heading in headings}


@pytest.mark.parametrize("page", [page for page in PAGES if page.parent == documented.DOCS], ids=name)
def test_every_page_is_reached_from_another(page: Path) -> None:
    others = (other.read_text(encoding="utf-8") for other in PAGES if other != page)
    assert any(page.name in text for text in others)


@pytest.mark.parametrize("pattern", [UNFINISHED, MERGE_MARK, SOMEONES_PATH], ids=["unfinished", "merges", "paths"])
def test_nothing_is_said_that_does_not_belong(pattern: re.Pattern[str]) -> None:
    found = [
        f"{name(file)}:{number}: {line.strip()}"
        for file in (*PAGES, *CODE)
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if pattern.search(line)
    ]
    assert found == []


def test_each_dependency_has_its_reason() -> None:
    import tomllib

    project = tomllib.loads((documented.ROOT / "pyproject.toml").read_text())["project"]
    names = {re.split(r"[<>=\[; ]", each)[0] for each in project["dependencies"]}
    table = set(re.findall(r"^\| ([a-z0-9-]+) \| .+ \|$", documented.page("dependencies.md"), re.MULTILINE)) - {
        "package"
    }
    assert table == names
    assert len(names) < 20
