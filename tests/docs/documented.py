"""What there is to document, found in the code, and the pages that must name it."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src"
DOCS = ROOT / "docs"


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def prose() -> list[Path]:
    """Every page a reader may open: the ones at the root, in docs/, and beside the code."""
    return sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *SRC.rglob("*.md")])


def sources(*rooms: str) -> Iterator[tuple[Path, ast.Module]]:
    for file in sorted((SRC / "colonnade").rglob("*.py")):
        if not rooms or file.relative_to(SRC / "colonnade").parts[0] in rooms:
            yield file, ast.parse(file.read_text(encoding="utf-8"), str(file))


def texts(tree: ast.Module) -> Iterator[str]:
    """All literals of a module, docstrings left out, the fixed parts of f-strings included."""
    prose_nodes = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in prose_nodes:
            match node.value:
                case str():
                    yield node.value
                case bytes():
                    yield node.value.decode("utf-8", "replace")
                case _:
                    continue


METRIC = re.compile(r"(?<![\w.-])colonnade_[a-z][a-z0-9_]*[a-z0-9](?![\w.-])")
SERIES = re.compile(r"_(?:bucket|sum|count)$")


def metrics() -> set[str]:
    """Names of metrics: whatever literal looks like one, as no other name of ours does."""
    return {name for _, tree in sources() for text in texts(tree) for name in METRIC.findall(text)}


PATH = re.compile(r"/(?:v\d|live|ready|metrics|snapshot|health|version|debug|admin)(?:/[\w{}.:-]*)*")


def paths() -> set[str]:
    """Paths of HTTP endpoints: literals of the rooms that serve."""
    found = {text for _, tree in sources("replica", "gateway", "fleet") for text in texts(tree) if PATH.fullmatch(text)}
    return {path.rstrip("/") for path in found}


def tables() -> Iterator[tuple[str, str, str]]:
    """(method, path, summary) of each row of each table `ROUTES` that a module exports."""
    for file, tree in sources("replica", "gateway", "fleet"):
        if "ROUTES" in assigned(tree):
            module = importlib.import_module(".".join(file.relative_to(SRC).with_suffix("").parts))
            yield from ((row[0], row[1], row[2]) for row in module.ROUTES)


def assigned(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


def codes() -> set[str]:
    """Error codes: what is assigned to, or passed as, `code`."""
    found: set[str] = set()
    for _, tree in sources():
        for node in ast.walk(tree):
            match node:
                case ast.keyword(arg="code", value=value):
                    found |= _words(value)
                case ast.Assign(targets=[ast.Name(id="code")], value=value):
                    found |= _words(value)
                case ast.AnnAssign(target=ast.Name(id="code"), value=ast.expr() as value):
                    found |= _words(value)
                case _:
                    continue
    return found


def _words(value: ast.expr) -> set[str]:
    """A literal, or the two of `a if … else b`."""
    match value:
        case ast.Constant(value=str(word)) if word:
            return {word}
        case ast.IfExp(body=body, orelse=orelse):
            return _words(body) | _words(orelse)
        case _:
            return set()


def attributes() -> set[str]:
    """Every name read as an attribute, outside of the registry itself."""
    registry = {"sections.py", "setting.py", "settings_page.py", "flags.py", "resolve.py"}
    return {
        node.attr
        for file, tree in sources()
        if not (file.parent.name == "wire" and file.name in registry)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    }


def slug(heading: str) -> str:
    """The anchor that a heading gets on GitHub."""
    plain = re.sub(r"[^\w\- ]", "", heading.strip().lower().replace("`", ""))
    return plain.replace(" ", "-")
