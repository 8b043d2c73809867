"""The class contract, read from source: what can be seen without running any of it. Pure."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from colonnade.packages.fault import Fault

Function = ast.FunctionDef | ast.AsyncFunctionDef
KNOWN = ("config", "data_dir", "secrets", "environment", "lazy_data_resolver")
ANSWERING = (
    *("preprocess", "predict", "postprocess"),
    *("chat_completions", "completions", "embeddings", "messages", "responses"),
)
ALONE = ("is_healthy", "load")
"""Methods that take nothing but self."""


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
        self._written = [each for each in node.body if isinstance(each, Function)]
        self._methods = {each.name: each for each in self._written}

    def faults(self) -> Iterator[Fault]:
        yield from self._twice()
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

    def _twice(self) -> Iterator[Fault]:
        for each in self._written:
            if self._methods[each.name] is not each and not each.decorator_list:
                yield self._at(each, f"`{each.name}` is defined again below, and this one is lost")

    def _shapes(self) -> Iterator[Fault]:
        for name, method in self._methods.items():
            count = _arguments(method)
            if count == -1 and name in (*ANSWERING, *ALONE, "websocket", "setup_environment"):
                yield self._at(method, f"`{name}` has no self")
            elif name in ANSWERING and count is not None:
                yield from self._answering(name, method, count)
            elif name in ALONE and count not in (None, 0):
                yield self._at(method, f"`{name}` takes nothing but self")
            elif name == "setup_environment" and count not in (None, 1):
                yield self._at(method, "`setup_environment` takes one argument, the environment")
            elif name == "websocket":
                yield from self._websocket(method, count)
            if name in ("load", "setup_environment", "__init__") and isinstance(method, ast.AsyncFunctionDef):
                yield self._at(method, f"`{name}` must not be async: nobody would await it")
        yield from self._ends()

    def _answering(self, name: str, method: Function, count: int) -> Iterator[Fault]:
        if count > 2:
            yield self._at(method, f"`{name}` takes inputs and a request at most")
            return
        asked = [_is_request(each) for each in (*method.args.posonlyargs, *method.args.args)[1:]]
        if len(asked) == 2 and not asked[1]:
            said = f"the second argument of `{name}` must be the request, annotated as fastapi.Request"
            yield self._at(method, said)
        if asked == [True] and name == "predict" and "preprocess" in self._methods:
            yield self._at(method, "`predict` takes the request alone, so what preprocess returns is lost")
        if asked == [True] and name == "postprocess":
            yield self._at(method, "`postprocess` takes the request alone, so what predict returns is lost")

    def _websocket(self, method: Function, count: int | None) -> Iterator[Fault]:
        if count not in (None, 1):
            yield self._at(method, "`websocket` takes one argument, the socket")
        if not isinstance(method, ast.AsyncFunctionDef):
            yield self._at(method, "`websocket` must be async")

    def _ends(self) -> Iterator[Fault]:
        """A stream has nothing for postprocess to work on."""
        predict, after = self._methods.get("predict"), self._methods.get("postprocess")
        if predict is not None and after is not None and _generates(predict):
            yield self._at(after, "predict streams, so there is nothing for `postprocess` to work on")

    def _at(self, node: ast.stmt | ast.arg, said: str) -> Fault:
        return Fault(self._shown, node.lineno, said)


def _arguments(method: Function) -> int | None:
    """Without self; None where decorators or stars hide it."""
    arguments = method.args
    if method.decorator_list or arguments.vararg or arguments.kwarg or arguments.kwonlyargs:
        return None
    return len(arguments.posonlyargs) + len(arguments.args) - 1


def _is_request(argument: ast.arg) -> bool:
    return argument.annotation is not None and ast.unparse(argument.annotation).strip("'\"").endswith("Request")


def _generates(method: Function) -> bool:
    """Whether it has a yield of its own, functions inside it left out."""
    inner = {
        id(n) for f in ast.walk(method) if f is not method and isinstance(f, Function | ast.Lambda) for n in ast.walk(f)
    }
    return any(isinstance(each, ast.Yield | ast.YieldFrom) and id(each) not in inner for each in ast.walk(method))
