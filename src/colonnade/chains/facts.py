"""What a chain's source says, as far as it can be judged without running it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from colonnade.chains.contract import Signature
from colonnade.chains.options import Options

DEFAULT = Options()


@dataclass(frozen=True)
class CallSite:
    """A `self.HANDLE.run_remote(...)`. Types are Any where the source does not tell; `open` with * or **."""

    parameter: str
    line: int
    positional: tuple[Any, ...] = ()
    named: tuple[tuple[str, Any], ...] = ()
    use: Literal["awaited", "iterated", "other"] = "other"
    open: bool = False


@dataclass(frozen=True)
class EdgeFact:
    """`target` is the callee's name; `here` says that it is a step of this chain. `wanted` is the signature that the
    parameter's annotation promises, where that is another class than the callee's."""

    parameter: str
    line: int
    target: str
    here: bool = True
    signature: Signature | None = None
    wanted: Signature | None = None
    timeout: float | None = None


@dataclass(frozen=True)
class StepFact:
    """`problems` are those that were found on reading: (line, what). `secrets` are those that the code asks for."""

    name: str
    file: str
    line: int
    method_line: int = 0
    signature: Signature | None = None
    options: Options = DEFAULT
    edges: tuple[EdgeFact, ...] = ()
    calls: tuple[CallSite, ...] = ()
    secrets: tuple[tuple[str, int], ...] = ()
    without_value: tuple[str, ...] = ()
    problems: tuple[tuple[int, str], ...] = ()
