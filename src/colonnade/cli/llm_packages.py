"""A package with an LLM section: the model that it names, and the settings of who serves it."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path

from colonnade.cli.session import Session
from colonnade.packages.folder import Package, is_package, open_package
from colonnade.packages.llm import Llm
from colonnade.packages.llm_servers import SERVERS, command, lost

KIND, URL, COMMAND = (f"replica.engine_{name}" for name in ("kind", "url", "command"))


def as_model(session: Session, source: str, flags: Mapping[str, object]) -> tuple[str, dict[str, object]]:
    """What to serve, and the flags with what config.yaml adds to them; anything but such a package as it is. Says what
    maps and what is refused. Raises BadPackage."""
    given = {key: value for key, value in flags.items() if value is not None}
    if not source or URL in given or not is_package(source) or (llm := (package := open_package(source)).llm) is None:
        return source, dict(flags)
    if (kind := str(given.get(KIND, ""))) in SERVERS:
        return _elsewhere(session, package, llm, kind, given)
    for wish in llm.wishes:
        session.talk(f"{wish.verdict}: {wish.key}: {wish.said}")
    return _place(package, llm), {"served_name": package.name, **llm.settings, **given}


def _elsewhere(
    session: Session, package: Package, llm: Llm, kind: str, given: Mapping[str, object]
) -> tuple[str, dict[str, object]]:
    """By another engine's server, which becomes a child; "" for the only model that it serves."""
    port = _free_port()
    started = command(kind, llm, port)
    session.talk(f"mapped: {started}")
    for key in lost(kind, llm):
        session.talk(f"refused: {key}: that command has no counterpart")
    mapped = {"replica.served_name": package.name, URL: f"http://127.0.0.1:{port}", COMMAND: started}
    if llm.served_name:
        mapped["replica.served_name"] = llm.served_name
    return "", {**mapped, **given}


def _place(package: Package, llm: Llm) -> str:
    """A folder that config.yaml names is relative to the package."""
    folder = package.root / llm.model
    return str(folder) if Path(llm.model).is_absolute() or folder.is_dir() else llm.model


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
