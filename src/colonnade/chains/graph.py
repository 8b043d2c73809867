"""A chain as a graph of named steps, read from a file: imported, wired by name, and checked."""

from __future__ import annotations

import hashlib
import inspect
import os
import sys
import traceback
import typing
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from colonnade.chains.checking import faults_of
from colonnade.chains.contract import METHOD, Contract, Signature, Unfit, signature_of
from colonnade.chains.facts import EdgeFact, StepFact
from colonnade.chains.options import Options
from colonnade.chains.source import Source
from colonnade.chains.steps import Dependency, Step, is_entry
from colonnade.packages.fault import Fault
from colonnade.packages.importing import import_module
from colonnade.packages.secrets import Secrets
from colonnade.wire.errors import BadChain


@dataclass(frozen=True)
class EdgeTo:
    """`target` is the name of the step here, or the interface's where `deployment` or `url` leads out of the chain."""

    parameter: str
    target: str
    step: type[Step]
    given: Dependency

    @property
    def here(self) -> bool:
        return not (self.given.deployment or self.given.url)


@dataclass(frozen=True)
class Node:
    name: str
    step: type[Step]
    options: Options
    edges: tuple[EdgeTo, ...] = ()


@dataclass(frozen=True)
class Chain:
    """`digest` is of the file's text: the state of the chain that its processes have in common."""

    file: Path
    entry: Node
    nodes: tuple[Node, ...]
    digest: str = ""

    def node(self, name: str) -> Node:
        """Raises BadChain."""
        for each in self.nodes:
            if each.name == name:
                return each
        raise BadChain(f"{self.file.name} has no step {name}", hint=f"it has {', '.join(e.name for e in self.nodes)}")

    @property
    def leaves_first(self) -> tuple[Node, ...]:
        """Each after those that it depends on."""
        done: dict[str, Node] = {}

        def visit(node: Node) -> None:
            for edge in node.edges:
                if edge.here and edge.target not in done:
                    visit(self.node(edge.target))
            done.setdefault(node.name, node)

        visit(self.entry)
        return tuple(done.values())


def contract_of(step: type[Step]) -> Contract:
    """Raises Unfit."""
    return Contract(signature_of(getattr(step, METHOD)))


def open_chain(file: Path) -> Chain:
    """Imports the file. Raises BadChain with every fault."""
    chain, faults = read_chain(file)
    wrong = [each for each in faults if each.weight == "error"]
    if chain is None or wrong:
        count = "1 fault" if len(wrong) == 1 else f"{len(wrong)} faults"
        raise BadChain(f"{file} has {count}", hint="\n".join(map(str, wrong)))
    return chain


def read_chain(file: Path) -> tuple[Chain | None, list[Fault]]:
    """The chain, if its steps can be told apart, and everything that is wrong with it."""
    if not file.is_file():
        return None, [Fault(str(file), 1, "there is no such file")]
    module, broken = _imported(file)
    if module is None:
        return None, broken
    steps = [each for each in vars(module).values() if _is_step(each) and each.__module__ == module.__name__]
    steps = list(dict.fromkeys(steps))
    reading = _Reading(module)
    roots, entry, faults = _entries(file, steps)
    for step in roots:
        reading.add(step, Dependency(step))
    faults = [*faults, *faults_of(reading.facts(file.parent))]
    nodes = tuple(reading.nodes.values())
    if entry is None:
        return None, faults
    digest = hashlib.sha256(file.read_bytes()).hexdigest()[:16]
    return Chain(file, next(each for each in nodes if each.step is entry), nodes, digest), faults


def _is_step(found: object) -> typing.TypeGuard[type[Step]]:
    return isinstance(found, type) and issubclass(found, Step) and found is not Step and hasattr(found, METHOD)


def _imported(file: Path) -> tuple[ModuleType | None, list[Fault]]:
    folder = str(file.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        return import_module(file.resolve()), []
    except SyntaxError as error:
        return None, [Fault(_short(error.filename or "", file), error.lineno or 1, f"it does not compile: {error.msg}")]
    except Exception as error:
        here = [each for each in traceback.extract_tb(error.__traceback__) if Path(each.filename) == file.resolve()]
        line = here[-1].lineno or 1 if here else 1
        return None, [Fault(file.name, line, f"it cannot be imported: {type(error).__name__}: {error}")]


def _short(name: str, file: Path) -> str:
    return file.name if Path(name).name == file.name else name


def _entries(file: Path, steps: list[type[Step]]) -> tuple[list[type[Step]], type[Step] | None, list[Fault]]:
    """(the steps to begin from, the entry, what is wrong)."""
    marked = [each for each in steps if is_entry(each)]
    if len(marked) == 1:
        return marked, marked[0], []
    if not steps:
        return [], None, [Fault(file.name, 1, "there is no step: a class that derives from Step and has run_remote")]
    if marked:
        names = ", ".join(each.__name__ for each in marked)
        return steps, None, [Fault(file.name, 1, f"more than one step is marked with @entry: {names}")]
    used = {name for step in steps for name in _depended(step)}
    free = [each for each in steps if each.__name__ not in used]
    if len(free) == 1:
        return free, free[0], []
    names = ", ".join(each.__name__ for each in free or steps)
    return (
        steps,
        None,
        [Fault(file.name, 1, f"which step is the entry cannot be told: mark one of {names} with @entry")],
    )


def _depended(step: type[Step]) -> Iterable[str]:
    for given in _dependencies(step).values():
        yield given.step if isinstance(given.step, str) else given.step.__name__


def _dependencies(step: type[Step]) -> dict[str, Dependency]:
    parameters = inspect.signature(step.__init__).parameters
    return {name: each.default for name, each in parameters.items() if isinstance(each.default, Dependency)}


class _Reading:
    """Walks from the entry along the edges."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module
        self.nodes: dict[str, Node] = {}
        self._problems: dict[str, list[tuple[str, str]]] = {}
        self._clashes: list[Node] = []

    def add(self, step: type[Step], given: Dependency) -> str:
        """The name of the node."""
        options = given.options or step.options
        name = given.name or options.name or step.__name__
        known = self.nodes.get(name)
        if known is not None:
            if known.step is not step or (given.options is not None and known.options != options):
                self._clashes.append(Node(name, step, options))
            return name
        self.nodes[name] = Node(name, step, options)
        self._problems[name] = []
        edges = [edge for each in _dependencies(step).items() if (edge := self._edge(name, *each)) is not None]
        self.nodes[name] = replace(self.nodes[name], edges=tuple(edges))
        return name

    def _edge(self, name: str, parameter: str, given: Dependency) -> EdgeTo | None:
        step = given.step
        if isinstance(step, str):
            found = getattr(self._module, step, None)
            if not _is_step(found):
                self._problems[name].append((parameter, f"depends({step!r}): there is no step of this name"))
                return None
            step = found
        if not _is_step(step):
            self._problems[name].append((parameter, f"{getattr(step, '__name__', step)} is not a step"))
            return None
        outside = given.deployment or given.url
        target = step.__name__ if outside else self.add(step, given)
        return EdgeTo(parameter, target, step, given)

    def facts(self, root: Path) -> list[StepFact]:
        nodes = [*self.nodes.values(), *self._clashes]
        return [self._fact(node, root) for node in nodes]

    def _fact(self, node: Node, root: Path) -> StepFact:
        file = Path(inspect.getfile(node.step))
        source = Source(file, node.step.__qualname__)
        problems = [(source.parameter_line(at), said) for at, said in self._problems.get(node.name, ())]
        signature, unfit = _signature(node.step)
        problems += [(source.method_line(), f"{METHOD}: {said}") for said in unfit]
        problems += [(source.method_line("__init__"), said) for said in _constructor(node.step)]
        return StepFact(
            node.name,
            os.path.relpath(file, root.resolve()),
            source.line,
            source.method_line(),
            signature,
            node.options,
            tuple(_edge_fact(node, each, source) for each in node.edges),
            tuple(source.calls(signature)),
            tuple(source.secrets()),
            tuple(Secrets(dict.fromkeys(node.options.secrets)).missing()),
            tuple(problems),
        )


def _signature(step: type[Step]) -> tuple[Signature | None, list[str]]:
    try:
        return signature_of(getattr(step, METHOD)), []
    except Unfit as unfit:
        return None, unfit.faults


def _constructor(step: type[Step]) -> Iterable[str]:
    if "__init__" not in vars(step):
        return
    for name, each in list(inspect.signature(step.__init__).parameters.items())[1:]:
        if not isinstance(each.default, Dependency):
            yield f"__init__: {name} is no dependency: its default must be depends(...)"


def _edge_fact(node: Node, edge: EdgeTo, source: Source) -> EdgeFact:
    signature, _ = _signature(edge.step)
    promised = _annotation(node.step, edge.parameter)
    wanted = None
    if isinstance(promised, type) and promised not in edge.step.__mro__ and hasattr(promised, METHOD):
        wanted, _ = _signature(promised)
    line = source.parameter_line(edge.parameter)
    return EdgeFact(edge.parameter, line, edge.target, edge.here, signature, wanted, edge.given.timeout)


def _annotation(step: type[Step], parameter: str) -> Any:
    try:
        return typing.get_type_hints(step.__init__).get(parameter)
    except (NameError, TypeError):
        return None
