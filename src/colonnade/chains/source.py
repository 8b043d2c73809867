"""What the text of a step's class tells: the calls it makes through its handles, and the secrets it asks for."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from colonnade.chains.contract import METHOD, Signature
from colonnade.chains.facts import CallSite

Method = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def tree_of(file: Path, changed: int) -> ast.Module:
    """`changed` is the file's time, so that an edited file is read anew."""
    return ast.parse(file.read_bytes(), str(file))


class Source:
    """Of one class. A class that cannot be found in its file tells nothing."""

    def __init__(self, file: Path, qualified: str) -> None:
        self._class = _find(tree_of(file, file.stat().st_mtime_ns), qualified.split("."))
        self.line = self._class.lineno if self._class else 1
        self._attributes = dict(self._kept())

    def method_line(self, name: str = METHOD) -> int:
        method = self._method(name)
        return method.lineno if method else self.line

    def parameter_line(self, name: str) -> int:
        """Of a parameter of __init__."""
        method = self._method("__init__")
        lines = [each.lineno for each in _arguments(method) if each.arg == name] if method else []
        return lines[0] if lines else self.line

    def calls(self, signature: Signature | None) -> Iterator[CallSite]:
        for method in self._methods():
            known = _known(method, signature) if method.name == METHOD and signature else {}
            uses = {id(node.value): "awaited" for node in ast.walk(method) if isinstance(node, ast.Await)}
            uses |= {id(node.iter): "iterated" for node in ast.walk(method) if isinstance(node, ast.AsyncFor)}
            for node in ast.walk(method):
                if isinstance(node, ast.Call) and (handle := self._handle(node)):
                    yield _site(node, handle, known, uses.get(id(node), "other"))

    def secrets(self) -> Iterator[tuple[str, int]]:
        """`self.secrets["NAME"]`."""
        for node in ast.walk(self._class) if self._class else ():
            match node:
                case ast.Subscript(
                    value=ast.Attribute(value=ast.Name(id="self"), attr="secrets"), slice=ast.Constant(value=str(name))
                ):
                    yield name, node.lineno
                case _:
                    continue

    def _methods(self) -> Iterator[Method]:
        for node in self._class.body if self._class else ():
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node

    def _method(self, name: str) -> Method | None:
        return next((each for each in self._methods() if each.name == name), None)

    def _kept(self) -> Iterator[tuple[str, str]]:
        """(attribute, parameter) of each `self.attribute = parameter` in __init__."""
        method = self._method("__init__")
        for node in ast.walk(method) if method else ():
            match node:
                case ast.Assign(targets=[ast.Attribute(value=ast.Name(id="self"), attr=kept)], value=ast.Name(id=name)):
                    yield kept, name
                case _:
                    continue

    def _handle(self, node: ast.Call) -> str:
        match node.func:
            case ast.Attribute(value=ast.Attribute(value=ast.Name(id="self"), attr=kept), attr="run_remote"):
                return self._attributes.get(kept, "")
            case _:
                return ""


def _find(tree: ast.Module, path: list[str]) -> ast.ClassDef | None:
    body: list[ast.stmt] = tree.body
    found = None
    for name in path:
        found = next((each for each in body if isinstance(each, ast.ClassDef) and each.name == name), None)
        if found is None:
            return None
        body = found.body
    return found


def _arguments(method: Method) -> list[ast.arg]:
    return [*method.args.posonlyargs, *method.args.args, *method.args.kwonlyargs]


def _known(method: Method, signature: Signature) -> dict[str, Any]:
    """The parameters whose type still holds: nothing is assigned to them."""
    stored = {node.id for node in ast.walk(method) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return {each.name: each.kind for each in signature.parameters if each.name not in stored}


def _site(node: ast.Call, handle: str, known: dict[str, Any], use: Any) -> CallSite:
    open_ended = any(isinstance(each, ast.Starred) for each in node.args) or any(not each.arg for each in node.keywords)
    positional = tuple(_kind(each, known) for each in node.args)
    named = tuple((each.arg or "", _kind(each.value, known)) for each in node.keywords)
    return CallSite(handle, node.lineno, positional, named, use, open_ended)


def _kind(node: ast.expr, known: dict[str, Any]) -> Any:
    match node:
        case ast.Constant(value=value):
            return type(value)
        case ast.JoinedStr():
            return str
        case ast.Name(id=name):
            return known.get(name, Any)
        case _:
            return Any
