"""Everything that is wrong with a chain, judged from its facts: all of it at once, with file and line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from colonnade.chains.contract import METHOD, Parameter, Signature
from colonnade.chains.facts import CallSite, EdgeFact, StepFact
from colonnade.chains.kinds import fits, item_of, name_of
from colonnade.packages.fault import Fault, Weight


def faults_of(steps: Sequence[StepFact]) -> list[Fault]:
    """In the order of files and lines."""
    found = [*_names(steps), *_cycles(steps)]
    by_name = {each.name: each for each in steps}
    for step in steps:
        found += [*_own(step), *_secrets(step), *_timeouts(step, by_name)]
        for edge in step.edges:
            found += _promise(step, edge)
        for call in step.calls:
            found += _call(step, call)
    return sorted(set(found), key=lambda each: (each.file, each.line, each))


def _fault(step: StepFact, line: int, message: str, weight: Weight = "error") -> Fault:
    return Fault(step.file, line, message, step.name, weight)


def _own(step: StepFact) -> Iterator[Fault]:
    for line, message in step.problems:
        yield _fault(step, line, message)
    for field, message in step.options.faults():
        yield _fault(step, step.line, f"options.{field}: {message}")
    if step.edges and step.signature is not None and not step.signature.waits:
        yield _fault(step, step.method_line, f"{METHOD} is not async, and depends on other steps: write `async def`")


def _names(steps: Sequence[StepFact]) -> Iterator[Fault]:
    seen: dict[str, StepFact] = {}
    for step in steps:
        first = seen.setdefault(step.name, step)
        if first is not step:
            yield _fault(step, step.line, f"two steps have this name; the other is at {first.file}:{first.line}")


def _cycles(steps: Sequence[StepFact]) -> Iterator[Fault]:
    """Each edge that leads back to a step on the path to it."""
    by_name = {each.name: each for each in steps}
    done: set[str] = set()

    def visit(step: StepFact, path: tuple[str, ...]) -> Iterator[Fault]:
        for edge in step.edges:
            if not edge.here or edge.target not in by_name:
                continue
            if edge.target in path:
                around = " -> ".join((*path[path.index(edge.target) :], edge.target))
                yield _fault(step, edge.line, f"a cycle: {around}")
            elif edge.target not in done:
                yield from visit(by_name[edge.target], (*path, edge.target))
        done.add(step.name)

    for step in steps:
        if step.name not in done:
            yield from visit(step, (step.name,))


def _secrets(step: StepFact) -> Iterator[Fault]:
    declared = step.options.secrets
    for name, line in step.secrets:
        if name not in declared:
            yield _fault(step, line, f"the secret {name!r} is not declared: name it in options.secrets")
    for name in step.without_value:
        said = f"the secret {name!r} has no value here: set the environment variable TRUSS_SECRET_{name}"
        yield _fault(step, step.line, said, "warning")


def _timeouts(step: StepFact, by_name: dict[str, StepFact]) -> Iterator[Fault]:
    """No call can take longer than the call around it."""
    bound = step.options.timeout
    for edge in step.edges:
        callee = by_name.get(edge.target) if edge.here else None
        if edge.timeout is not None and edge.timeout > bound:
            said = f"a call to {edge.target} may take {edge.timeout:g} s, and {step.name} has {bound:g} s in all"
            yield _fault(step, edge.line, said)
        elif edge.timeout is None and callee is not None and callee.options.timeout > bound:
            said = f"{edge.target} may take {callee.options.timeout:g} s, and {step.name} has {bound:g} s in all"
            yield _fault(step, edge.line, said, "warning")


def _promise(step: StepFact, edge: EdgeFact) -> Iterator[Fault]:
    """The parameter's annotation against what is behind it."""
    wanted, given = edge.wanted, edge.signature
    if wanted is None or given is None:
        return
    takes = {each.name: each for each in given.parameters}
    asked = {each.name for each in wanted.parameters}
    same = all(each.name in takes and fits(each.kind, takes[each.name].kind) for each in wanted.parameters)
    enough = all(each.optional or each.name in asked for each in given.parameters)
    if not (same and enough and wanted.streams == given.streams and fits(given.kind, wanted.kind)):
        yield _fault(step, edge.line, f"{edge.parameter} promises {wanted}, and {edge.target} has {given}")


def _call(step: StepFact, call: CallSite) -> Iterator[Fault]:
    edge = next((each for each in step.edges if each.parameter == call.parameter), None)
    if edge is None or edge.signature is None:
        return
    promise = edge.wanted or edge.signature
    if promise.streams and call.use == "awaited":
        yield _fault(step, call.line, f"{edge.target} answers with a stream: iterate over it with `async for`")
    if not promise.streams and call.use == "iterated":
        yield _fault(step, call.line, f"{edge.target} answers with {name_of(promise.kind)}: await it")
    if not call.open:
        for message in _arguments(call, promise):
            yield _fault(step, call.line, f"{edge.target}{promise}: {message}")


def _arguments(call: CallSite, promise: Signature) -> Iterator[str]:
    names = {each.name: each for each in promise.parameters}
    if len(call.positional) > len(promise.parameters):
        yield f"{len(call.positional)} arguments are given, it takes {len(promise.parameters)}"
    pairs = [(each, kind) for each, kind in zip(promise.parameters, call.positional, strict=False)]
    given = {each.name for each, _ in pairs}
    for name, kind in call.named:
        if name not in names or name in given:
            yield f"{name} is given twice" if name in given else f"there is no parameter {name}"
        else:
            pairs.append((names[name], kind))
            given.add(name)
    yield from (
        f"{each.name} is missing" for each in promise.parameters if not each.optional and each.name not in given
    )
    yield from (said for each, kind in pairs if (said := _misfit(each, kind)))


def _misfit(parameter: Parameter, kind: object) -> str:
    wanted_stream, wanted = item_of(parameter.kind)
    given_stream, given = item_of(kind)
    if (wanted_stream or not given_stream) and fits(given, wanted):
        return ""
    return f"{parameter.name} is {name_of(parameter.kind)}, and {name_of(kind)} is given"
