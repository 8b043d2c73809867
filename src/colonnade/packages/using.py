"""How a class uses what it is given, read from source. Pure."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator

from colonnade.packages.fault import Fault

CONSTRUCTOR = ("config", "data_dir", "secrets", "environment", "lazy_data_resolver")


def faults_of_use(module: ast.Module, shown: str, secrets: Collection[str]) -> Iterator[Fault]:
    """Secrets that config.yaml does not name, and names that no constructor gets."""
    for node in ast.walk(module):
        match node:
            case ast.Subscript(value=held, slice=ast.Constant(value=str(name))) if _is_named(held, "secrets"):
                if name not in secrets:
                    said = f"the secret {name!r} is not named under `secrets` in config.yaml"
                    yield Fault(shown, node.lineno, said)
            case ast.Subscript(value=ast.Name(id="kwargs"), slice=ast.Constant(value=str(name))):
                if name not in CONSTRUCTOR:
                    said = f"nobody gives the constructor {name!r}; there are {', '.join(CONSTRUCTOR)}"
                    yield Fault(shown, node.lineno, said)
            case _:
                continue


def _is_named(node: ast.expr, name: str) -> bool:
    """Whether it is `secrets`, `self._secrets`, `kwargs["secrets"]`."""
    match node:
        case ast.Name(id=found) | ast.Attribute(attr=found) | ast.Subscript(slice=ast.Constant(value=str(found))):
            return found.strip("_") == name
        case _:
            return False
