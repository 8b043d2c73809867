"""The model and the chain as processes of this one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHAIN = Path(__file__).parents[1] / "chain.py"


@contextmanager
def started(*command: str, **environment: str) -> Iterator[dict[str, Any]]:
    """A command of colonnade that serves, and what it says of itself; it ends with its standard input."""
    full = [sys.executable, "-m", "colonnade.cli", *command, "--port", "0", "--json", "--stop-on-eof"]
    pipe = subprocess.PIPE
    with subprocess.Popen(full, stdin=pipe, stdout=pipe, env={**os.environ, **environment}) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise SystemExit(f"colonnade {command[0]} did not start")
        try:
            yield json.loads(line)
        finally:
            assert process.stdin is not None
            process.stdin.close()


@contextmanager
def phone(book: str | Path, **environment: str) -> Iterator[dict[str, Any]]:
    """Model and chain; yields what the chain says of itself, with `model` beside it."""
    with started("serve", "colonnade-tiny", **environment) as model:
        told = {"PHONE_URL": model["url"], "PHONE_KEY": model["key"], "PHONE_BOOK": str(book)}
        with started("chain", "run", str(CHAIN), **told, **environment) as chain:
            yield {**chain, "model": model}
