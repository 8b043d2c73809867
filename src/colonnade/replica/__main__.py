"""`python -m colonnade.replica --model PATH_OR_NAME --port 0`: one serving process and its engine.

Prints one line of JSON on stdout when its socket listens: {"url", "events", "epoch", "pid"}. Exits with 0 after a drain
(SIGTERM, or stdin closed by the parent); else with 1, and one line on stderr that says why.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import secrets
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Protocol

import uvloop

from colonnade.replica.bringing_up import ENGINE, BringingUp, Open
from colonnade.replica.foreign.serving import is_foreign, serve_foreign
from colonnade.replica.metrics import Metrics
from colonnade.replica.model import ServedModel
from colonnade.replica.server import is_loopback, listen, serve, url
from colonnade.replica.spare import Spares
from colonnade.wire.errors import BadSetting, SetupError
from colonnade.wire.settings import Resolved, add_flags, given, load

Prepare = Callable[[Resolved], Spares]
"""Begins processes that will be wanted, while there is one thread."""


@dataclass(frozen=True)
class Means:
    """How a replica comes by what does not depend on its life; one that was forked has some of it already."""

    opens: Open = ServedModel.open
    prepare: Prepare = lambda resolved: Spares()
    metrics: Callable[[], Metrics] = Metrics


def main(argv: Sequence[str] | None = None, means: Means | None = None) -> int:
    means = means or Means()
    options = replica_parser().parse_args(argv)
    spares = Spares()
    try:
        resolved = load(given(options))
        if re.fullmatch(r"[a-z0-9]{1,32}", options.epoch) is None:
            raise BadSetting(f"--epoch {options.epoch!r}", hint="accepted: 1 to 32 of a-z and 0-9")
        logging.basicConfig(level=resolved.log.level.upper(), stream=sys.stderr, format="%(levelname)s %(message)s")
        spares = means.prepare(resolved)
        reason = uvloop.run(_run(options, resolved, means, spares))
    except SetupError as error:
        reason = f"{error.message}; {error.hint}" if error.hint else error.message
    spares.close()
    if reason:
        sys.stderr.write(f"{reason}\n")
    return 1 if reason else 0


@cache
def replica_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m colonnade.replica", description=__doc__)
    parser.add_argument(
        "--model",
        default="",
        help="a folder, a shipped model's name, or org/name on a hub; with --engine-url, its name at that server",
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--epoch", default=secrets.token_hex(4), help="the name of this life of the replica")
    parser.add_argument("--engine-module", default=ENGINE, help=argparse.SUPPRESS)
    add_flags(parser, "", "http", "replica", "engine", "log")
    return parser


async def _run(options: argparse.Namespace, resolved: Resolved, means: Means, spares: Spares) -> str:
    if is_foreign(resolved.replica):
        return await serve_foreign(options.model, options.epoch, resolved, _listen(options), partial(_say, options))
    if not options.model:
        raise BadSetting("--model is missing", hint="it may be left out with --engine-url alone")
    return await _run_own(options, resolved, means, spares)


async def _run_own(options: argparse.Namespace, resolved: Resolved, means: Means, spares: Spares) -> str:
    coming = BringingUp(
        options.model,
        options.epoch,
        resolved,
        opens=means.opens,
        spares=spares,
        metrics=means.metrics(),
        module=options.engine_module,
    )
    bound = _listen(options)
    return await serve(coming.face, bound, coming.start, partial(_say, options, coming.face))


def _listen(options: argparse.Namespace) -> socket.socket:
    """Sets `options.url`. Raises BadSetting."""
    if not is_loopback(options.host):
        hint = "bind it to 127.0.0.1 and put a gateway in front: a replica trusts who connects to it"
        raise BadSetting(f"--host {options.host} is not of this machine alone", hint=hint)
    try:
        bound = listen(options.host, options.port)
    except OSError as error:
        hint = "choose another --port, or 0 for a free one"
        raise BadSetting(f"cannot listen on {options.host}:{options.port}: {error.strerror}", hint=hint) from error
    options.url = url(options.host, bound)
    return bound


class _Told(Protocol):
    @property
    def events(self) -> str: ...

    @property
    def epoch(self) -> str: ...


def _say(options: argparse.Namespace, face: _Told) -> None:
    """It listens."""
    line = {"url": options.url, "events": face.events, "epoch": face.epoch, "pid": os.getpid()}
    sys.stdout.write(f"{json.dumps(line)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
