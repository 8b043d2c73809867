"""How a deployment names a version of a package as its model. Pure."""

from __future__ import annotations

PREFIX = "package:"
"""Before the version's folder; the name of a package that is one file comes behind a #."""


def is_version(model: str) -> bool:
    return model.startswith(PREFIX)


def place_of(model: str) -> tuple[str, str]:
    """The Python that runs it, and the package."""
    root, _, file = model.removeprefix(PREFIX).partition("#")
    return f"{root}/environment/bin/python", f"{root}/package/{file}".rstrip("/")
