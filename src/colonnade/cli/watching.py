"""A package's files as they change: its class is read anew in its process, which keeps what it has loaded."""

from __future__ import annotations

import asyncio
import http.client
import time
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from colonnade.cli.session import Session
from colonnade.packages.folder import CONFIG, Package

INTERVAL = 0.2
"""Seconds between two looks at the files."""
PATIENCE = 30.0
"""Seconds that reading the class anew may take."""


class Watching:
    """Looks at the Python files of a package, and at its config.yaml, which takes a new start."""

    def __init__(self, session: Session, package: Package) -> None:
        self._session = session
        self._package = package
        self._seen = stamps(package)

    async def run(self, url: str) -> None:
        """Until it is cancelled. `url` is the replica's."""
        while True:
            await asyncio.sleep(INTERVAL)
            now = await asyncio.to_thread(stamps, self._package)
            changed = [file for file in now.keys() | self._seen.keys() if now.get(file) != self._seen.get(file)]
            self._seen = now
            if changed:
                await self._tell(url, changed)

    async def _tell(self, url: str, changed: list[Path]) -> None:
        names = ", ".join(sorted(file.name for file in changed))
        if any(file.name == CONFIG for file in changed):
            self._session.talk(f"{names} changed: start again for it to count")
            return
        began = time.perf_counter()
        said = await asyncio.to_thread(reload, url)
        took = time.perf_counter() - began
        self._session.talk(f"{names} changed: {said or f'read anew in {took * 1000:.0f} ms'}")


def stamps(package: Package) -> dict[Path, tuple[int, int]]:
    """When each file was written, and its size."""
    if package.one_file:
        files = [package.module]
    else:
        files = [package.root / CONFIG, *(file for place in package.search_path for file in place.rglob("*.py"))]
    found: dict[Path, tuple[int, int]] = {}
    for file in files:
        try:
            stat = file.stat()
        except FileNotFoundError:  # gone since it was listed
            continue
        found[file] = (stat.st_mtime_ns, stat.st_size)
    return found


def reload(url: str) -> str:
    """Empty when the class was read anew; else why not: the process goes on with the one it has."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=PATIENCE)
    try:
        connection.request("POST", "/hot-reload")
        answer = connection.getresponse()
        body = answer.read()
        return "" if answer.status == 200 else f"not taken over: {msgspec.json.decode(body)['error']}"
    except (OSError, http.client.HTTPException) as error:
        return f"not taken over: {error}"
    finally:
        connection.close()
