"""How a chain is written: steps, what they depend on, and the step that the outside calls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar, cast, overload

from colonnade.chains.options import Options

ENTRY = "__chain_entry__"


class Step:
    """One service. `__init__` takes nothing but dependencies; `load`, sync or async, runs once before the first call;
    `run_remote` is what others call. Where it runs is not its business."""

    options: ClassVar[Options] = Options()
    secrets: Mapping[str, str]
    """By name, those that `options.secrets` lists; set before `__init__`."""


S = TypeVar("S", bound=Step)


@dataclass(frozen=True)
class Dependency:
    """What `depends` leaves as a parameter's default, until a handle takes its place."""

    step: type[Step] | str
    name: str = ""
    deployment: str = ""
    url: str = ""
    timeout: float | None = None
    retries: int = 2
    options: Options | None = None


@overload
def depends(
    step: type[S],
    *,
    name: str = ...,
    deployment: str = ...,
    url: str = ...,
    timeout: float | None = ...,
    retries: int = ...,
    options: Options | None = ...,
) -> S: ...
@overload
def depends(step: str, *, name: str = ..., timeout: float | None = ..., retries: int = ...) -> Any: ...


def depends(
    step: type[Step] | str,
    *,
    name: str = "",
    deployment: str = "",
    url: str = "",
    timeout: float | None = None,
    retries: int = 2,
    options: Options | None = None,
) -> Any:
    """As a default in `__init__`: the parameter will be a handle with the step's `run_remote`.

    `step` is a class, or the name of one further down in the file. The same class under two names is two services, each
    with its own `options`. With `deployment` or `url` the class is only the interface: the service is one that runs
    elsewhere, found by name (`chain run --at NAME=URL`) or at `unix:///path` or `tcp://host:port`.
    `timeout` bounds a call through this edge in seconds; `retries` is how often what is safe is tried again.
    """
    return cast(Any, Dependency(step, name, deployment, url, timeout, retries, options))


E = TypeVar("E", bound=type[Step])


def entry(step: E) -> E:
    """Marks the step that a chain is called through. Without a mark it is the one that nothing depends on."""
    setattr(step, ENTRY, step.__qualname__)
    return step


def is_entry(step: type[Step]) -> bool:
    """A subclass does not inherit the mark."""
    return getattr(step, ENTRY, None) == step.__qualname__
