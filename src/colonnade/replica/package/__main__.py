"""`python -m colonnade.replica.package --package DIR --port 0`: one serving process around one package.

Prints one line of JSON on stdout when its socket listens: {"url", "events", "epoch", "pid"}. Exits with 0 after a drain
(SIGTERM, or stdin closed by the parent); else with 1, and one line on stderr that says why.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import re
import secrets
import sys
from collections.abc import Callable, Coroutine
from functools import partial
from typing import NoReturn

import uvloop

from colonnade.packages.folder import Package, open_code
from colonnade.packages.loading import prepare
from colonnade.packages.secrets import Secrets
from colonnade.packages.stand_ins import stand_in
from colonnade.replica.command.app import CommandApp
from colonnade.replica.command.face import CommandFace
from colonnade.replica.package.app import PackageApp
from colonnade.replica.package.face import PackageFace
from colonnade.replica.package.later.pages import Later, attempt, webhook_keys
from colonnade.replica.package.later.worker import Worker
from colonnade.replica.server import host, is_loopback, listen, url
from colonnade.wire.errors import BadSetting, SetupError
from colonnade.wire.settings import Resolved, add_flags, given, load


def main() -> NoReturn:
    options = _parser().parse_args()
    try:
        resolved = load(given(options))
        if re.fullmatch(r"[a-z0-9]{1,32}", options.epoch) is None:
            raise BadSetting(f"--epoch {options.epoch!r}", hint="accepted: 1 to 32 of a-z and 0-9")
        logging.basicConfig(level=resolved.log.level.upper(), stream=sys.stderr, format="%(levelname)s %(message)s")
        reason = uvloop.run(_run(options, resolved))
    except SetupError as error:
        reason = f"{error.message}; {error.hint}" if error.hint else error.message
    _leave(reason)


def _leave(reason: str) -> NoReturn:
    """At once: a package's own threads and tasks may never end, and nothing of ours is left to do."""
    if reason:
        sys.stderr.write(f"{reason}\n")
    sys.stderr.flush()
    sys.stdout.flush()
    os._exit(1 if reason else 0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m colonnade.replica.package", description=__doc__)
    parser.add_argument("--package", required=True, help="a folder with a config.yaml, or one Python file")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--epoch", default=secrets.token_hex(4), help="the name of this life of the replica")
    add_flags(parser, "", "http", "replica", "log")
    return parser


async def _run(options: argparse.Namespace, resolved: Resolved) -> str:
    package = open_code(options.package)
    if not is_loopback(options.host):
        hint = "bind it to 127.0.0.1 and put a gateway in front: a replica trusts who connects to it"
        raise BadSetting(f"--host {options.host} is not of this machine alone", hint=hint)
    try:
        bound = listen(options.host, options.port)
    except OSError as error:
        hint = "choose another --port, or 0 for a free one"
        raise BadSetting(f"cannot listen on {options.host}:{options.port}: {error.strerror}", hint=hint) from error
    prepare(package)
    name = resolved.replica.served_name or package.name
    build = _command if package.config.docker_server is not None else _class
    face, app, start = build(package, name, options.epoch, resolved)

    def announce() -> None:
        line = {"url": url(options.host, bound), "events": face.events, "epoch": face.epoch, "pid": os.getpid()}
        sys.stdout.write(f"{json.dumps(line)}\n")
        sys.stdout.flush()

    _leave(await host(face, app, bound, announce, start, ws="auto"))


Parts = tuple[PackageFace | CommandFace, PackageApp | CommandApp, Callable[[], Coroutine[None, None, None]]]
"""A face, its endpoints, and what it begins with."""


def _class(package: Package, name: str, epoch: str, resolved: Resolved) -> Parts:
    stand_in()
    face = PackageFace(package, name, epoch, resolved.http, resolved.replica)

    file = resolved.home / "later" / f"{name}.db"
    keys = partial(webhook_keys, Secrets(package.config.secrets))
    worker = Worker(file, f"{epoch}-{os.getpid()}", partial(attempt, face), face.room, keys)

    async def start() -> None:
        face.load()
        await asyncio.gather(worker.work(), face.watch())

    return face, PackageApp(face, Later(face, worker)), start


def _command(package: Package, name: str, epoch: str, resolved: Resolved) -> Parts:
    face = CommandFace(package, name, epoch, resolved.http, resolved.replica)
    return face, CommandApp(face), face.start


if __name__ == "__main__":
    sys.exit(main())
