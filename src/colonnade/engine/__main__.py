"""`python -m colonnade.engine`: the engine's process, as the replica's face starts it.

It ends when its stdin reaches end of file (whoever started it is gone) and on SIGTERM, after the step under way.
SIGINT is the face's to handle: Ctrl-C reaches both, and work in flight may still drain.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from colonnade.engine.config import EngineConfig
from colonnade.engine.process import Servable, Stop, log, serve
from colonnade.wire.errors import BadSetting
from colonnade.wire.settings import Resolved, add_flags, given
from colonnade.wire.settings import load as load_settings

if TYPE_CHECKING:
    from colonnade.engine.resident import Held

GRACE_S = 3.0
"""From being asked to end to the end, however stuck it is."""

Loader = Callable[[str, EngineConfig, Path], Servable]
"""Model (a folder or a shipped name), settings, folder for what is worth keeping between two starts."""


def load_model(model: str, config: EngineConfig, cache: Path, held: Held | None = None) -> Servable:
    """`held`: weights in memory, if this process has any. Raises BadModel and BadSetting."""
    from colonnade.engine.folder import ModelFolder
    from colonnade.engine.worker import load_worker  # imports the kernels: seconds

    folder = held.folder if held is not None and str(held.folder.path) == model else ModelFolder.open(model)
    loaded = load_worker(folder, config, lambda phase: log.info("loading %s: %s", folder.name, phase), cache, held)
    limits = config.limits(pages=loaded.pages, max_context=loaded.max_context, vocab_size=folder.vocab_size)
    facts = loaded.facts | config.facts()
    return Servable(
        loaded.worker,
        limits,
        loaded.fingerprint,
        facts,
        config.drafter(),
        loaded.resident,
        config.overlaps,
        config.fingerprint,
    )


def main(argv: Sequence[str] | None = None, load: Loader = load_model) -> int:
    """The exit status: 0 when it was asked to end."""
    parser = argparse.ArgumentParser(prog="python -m colonnade.engine", description=__doc__)
    parser.add_argument("--commands", required=True, metavar="ENDPOINT", help="where commands come from; bound there")
    parser.add_argument("--reports", required=True, metavar="ENDPOINT", help="where reports go; bound there")
    parser.add_argument("--model", required=True, metavar="PATH_OR_NAME", help="a model folder, or a shipped model")
    add_flags(parser, "", "engine", "replica", "log")
    arguments = parser.parse_args(argv)
    try:
        resolved = load_settings(given(arguments))
    except BadSetting as error:
        parser.error(f"{error.message} ({error.hint})")
    return work(arguments.model, resolved, arguments.commands, arguments.reports, load)


def work(model: str, resolved: Resolved, commands: str, reports: str, load: Loader) -> int:
    """As the process that this now is, until it is asked to end."""
    form = "%(asctime)s %(name)s %(levelname)s: %(message)s"
    logging.basicConfig(level=resolved.log.level.upper(), format=form, force=True)
    config = EngineConfig.of(resolved.engine, resolved.replica)
    stop, ended = Stop(), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: _end(stop, ended))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_watch_stdin, args=(stop, ended), name="lifeline", daemon=True).start()
    status = serve(lambda: load(model, config, resolved.home / "cache"), commands, reports, stop)
    ended.set()
    return status


def _watch_stdin(stop: Stop, ended: threading.Event) -> None:
    while os.read(sys.stdin.fileno(), 4096):
        continue
    _end(stop, ended)


def _end(stop: Stop, ended: threading.Event) -> None:
    """Ask, and do not wait for ever: a load or a step may be stuck."""
    stop.request()
    threading.Thread(target=_insist, args=(ended,), name="insist", daemon=True).start()


def _insist(ended: threading.Event) -> None:
    if not ended.wait(GRACE_S):
        log.error("did not end within %g s of being asked to", GRACE_S)
        os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
