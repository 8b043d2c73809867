"""Secrets as a model sees them: looked up by name, never listed, so that they do not end in a log."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

MOUNT = Path("/secrets")
VARIABLE = "TRUSS_SECRET_"


class SecretNotFound(Exception):
    pass


class Secrets(Mapping[str, str]):
    """`declared` are the names of config.yaml, with what counts where nothing else is found. A value is taken from the
    file /secrets/NAME, else from the variable TRUSS_SECRET_NAME, else from `declared`."""

    def __init__(self, declared: Mapping[str, str | None], mount: Path = MOUNT) -> None:
        self._declared = declared
        self._mount = mount

    def __getitem__(self, name: str) -> str:
        """Raises SecretNotFound, saying what to do about it."""
        found = self._find(name) if name in self._declared else None
        if not found:
            raise SecretNotFound(
                f"secret {name!r} was not found: it must be named under `secrets` in config.yaml, and have a value in"
                f" {self._mount / name} or in the environment variable {VARIABLE}{name}"
            )
        return found

    def __iter__(self) -> Iterator[str]:
        raise TypeError("secrets are looked up by name and cannot be listed")

    def __len__(self) -> int:
        return len(self._declared)

    def _find(self, name: str) -> str | None:
        file = self._mount / name
        if file.is_file():
            return file.read_text(encoding="utf-8")
        return os.environ.get(VARIABLE + name, self._declared[name])

    def missing(self) -> list[str]:
        """Declared and without a value, or with nothing but the placeholder that config.yaml gives."""
        return [name for name in self._declared if not self._find(name) or self._find(name) == self._declared[name]]
