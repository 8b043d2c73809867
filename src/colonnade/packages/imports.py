"""What a package's own files import, and whether anything gives it: read from source, none of it runs."""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from colonnade.packages.fault import Fault, Weight
from colonnade.packages.requirements import normal

GIVEN = frozenset({"fastapi", "model", "truss", "truss_chains", "truss_transfer"})
"""By the server itself."""


class Providers:
    """Who may give a module: the standard library, the package's folders, what is asked for, what is installed.

    `asked`: names of requirements; `open_ended`: something else may bring more (a base image, build commands).
    """

    def __init__(self, places: Sequence[Path], asked: Sequence[str], open_ended: bool) -> None:
        self._places = places
        self._asked = frozenset(asked)
        self._open_ended = open_ended

    def faults(self, module: ast.Module, shown: str) -> Iterator[Fault]:
        for node, name, names in _imported(module):
            if (root := name.partition(".")[0]) in sys.stdlib_module_names:
                continue
            if (own := self._own(root)) is not None:
                yield from self._within(own, node, name, names, shown)
            elif not self._given(root):
                yield Fault(shown, node.lineno, self._said(root), weight=self._weight)

    @property
    def _weight(self) -> Weight:
        """With requirements whose modules cannot be known here, one of them may bring it under another name."""
        return "warning" if self._asked or self._open_ended else "error"

    def _said(self, root: str) -> str:
        return f"nothing gives the module {root!r}: name what brings it under `requirements`, or put it into packages/"

    def _own(self, root: str) -> Path | None:
        """The file or folder of the package that gives it."""
        for place in self._places:
            for each in (place / root, place / f"{root}.py"):
                if each.exists():
                    return each
        return None

    def _given(self, root: str) -> bool:
        if root in GIVEN or normal(root) in self._asked:
            return True
        return importlib.util.find_spec(root) is not None

    def _within(self, own: Path, node: ast.stmt, name: str, names: list[str], shown: str) -> Iterator[Fault]:
        """That the module below it is there, and defines the names that are taken from it."""
        for step in name.split(".")[1:]:
            folder, file = own / step, own / f"{step}.py"
            if not folder.exists() and not file.exists():
                yield Fault(shown, node.lineno, f"there is no module {name!r} in the package")
                return
            own = folder if folder.is_dir() else file
        source = own / "__init__.py" if own.is_dir() else own
        known = _names_in(source)
        for each in names:
            beside = own.is_dir() and ((own / each).exists() or (own / f"{each}.py").exists())
            if known is not None and each not in known and not beside:
                yield Fault(shown, node.lineno, f"{name!r} defines no {each!r}")


def _imported(module: ast.Module) -> Iterator[tuple[ast.stmt, str, list[str]]]:
    """Of the module's own body: what a function or a `try` imports may be meant to be absent."""
    for node in module.body:
        if isinstance(node, ast.Import):
            yield from ((node, alias.name, []) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node, node.module, [alias.name for alias in node.names if alias.name != "*"]


def _names_in(source: Path) -> set[str] | None:
    """What a module defines; None where that cannot be told from its text."""
    try:
        tree = ast.parse(source.read_bytes()) if source.is_file() else ast.Module([], [])
    except (SyntaxError, ValueError):
        return None
    names = {"__file__", "__name__", "__doc__"}
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                names.add(node.name)
            case ast.Import() | ast.ImportFrom():
                if any(alias.name == "*" for alias in node.names):
                    return None
                names |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
            case ast.Name(id=name, ctx=ast.Store()):
                names.add(name)
            case ast.Name(id="globals"):
                return None
            case _:
                pass
    return None if "__getattr__" in names else names
