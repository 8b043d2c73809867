"""The class contract, read from source: what can be seen without running any of it. Pure."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from colonnade.packages.fault import Fault

Function = ast.FunctionDef | ast.AsyncFunctionDef
KNOWN = ("config", "data_dir", "secrets", "environment", "lazy_data_resolver")
ANSWERING = ("preprocess", "predict", "postprocess", "chat_completions", "completions", "embeddings", "messages")


def faults_of_class(module: ast.Module, shown: str, name: str) -> Iterator[Fault]:
    for node in module.body:
        if isinstance(node, ast.ImportFrom) and node.level:
            said = "imported by itself: import from the package by its full name, not relative to it"
            yield Fault(shown, node.lineno, said)
    kinds = [node for node in module.body if isinstance(node, ast.ClassDef) and node.name == name]
    if kinds:
        yield from _Class(kinds[-1], shown).faults()
    elif not _imports(module, name):
        yield Fault(shown, 1, f"it defines no class {name}", "model_class_name")


def _imports(module: ast.Module, name: str) -> bool:
    """Whether the name comes from elsewhere, by an import or an assignment."""
    for node in ast.walk(module):
        match node:
            case ast.Import(names) | ast.ImportFrom(names=names):
                found = any((alias.asname or alias.name) in (name, "*") for alias in names)
            case ast.Name(id=stored, ctx=ast.Store()):
                found = stored == name
            case _:
                found = False
        if found:
            return True
    return False


class _Class:
    def __init__(self, node: ast.ClassDef, shown: str) -> None:
        self._node = node
        self._shown = shown
        self._methods = {each.name: each for each in node.body if isinstance(each, Function)}

    def faults(self) -> Iterator[Fault]:
        if not self._node.bases:  # what is inherited cannot be seen
            yield from self._presence()
        yield from self._constructor()
        yield from self._shapes()

    def _presence(self) -> Iterator[Fault]:
        if not self._methods.keys() & {"predict", "websocket"}:
            yield self._at(self._node, "the class needs a method `predict` or `websocket`")
        if "websocket" in self._methods:
            for name in ("preprocess", "predict", "postprocess"):
                if name in self._methods:
                    yield self._at(self._methods[name], f"`{name}` does not go with `websocket`")

    def _constructor(self) -> Iterator[Fault]:
        init = self._methods.get("__init__")
        if init is None:
            return
        arguments = init.args
        named = [*arguments.posonlyargs, *arguments.args][1:]
        needed = named[: len(named) - len(arguments.defaults)] if arguments.defaults else named
        needed = [*needed, *(a for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if d is None)]
        for each in needed:
            if each.arg not in KNOWN:
                said = f"nobody gives the constructor {each.arg!r}; it may ask for {', '.join(KNOWN)}, or **kwargs"
                yield self._at(each, said)

    def _shapes(self) -> Iterator[Fault]:
        for name, method in self._methods.items():
            count = _arguments(method)
            if name in ANSWERING and count is not None and count > 2:
                yield self._at(method, f"`{name}` takes inputs and a request at most")
            if name == "is_healthy" and count not in (None, 0):
                yield self._at(method, "`is_healthy` takes nothing but self")
            if name == "websocket" and count not in (None, 1):
                yield self._at(method, "`websocket` takes one argument, the socket")
            if name == "websocket" and not isinstance(method, ast.AsyncFunctionDef):
                yield self._at(method, "`websocket` must be async")
            if name == "load" and isinstance(method, ast.AsyncFunctionDef):
                yield self._at(method, "`load` must not be async: nobody would await it")

    def _at(self, node: ast.stmt | ast.arg, said: str) -> Fault:
        return Fault(self._shown, node.lineno, said)


def _arguments(method: Function) -> int | None:
    """Without self; None where decorators or stars hide it."""
    arguments = method.args
    if method.decorator_list or arguments.vararg or arguments.kwarg or arguments.kwonlyargs:
        return None
    return len(arguments.posonlyargs) + len(arguments.args) - 1
