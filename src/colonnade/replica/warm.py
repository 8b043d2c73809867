"""`python -m colonnade.replica.warm --model FOLDER …`: what the replicas of one model begin as copies of.

It takes a replica's settings, does what does not depend on the life (imports, tokenizer, template, weights) and then
forks, see `replica.zygote`. Each fork takes the rest of a replica's command line and is one: a face that leads its
process group, with an engine and a template process, forked ahead of the face's threads.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from colonnade.engine.__main__ import load_model, work
from colonnade.engine.resident import Held, stamps
from colonnade.engine.worker import hold_weights
from colonnade.replica.__main__ import Means, replica_parser
from colonnade.replica.__main__ import main as replica_main
from colonnade.replica.bringing_up import ENGINE
from colonnade.replica.guise import Guise
from colonnade.replica.metrics import Metrics
from colonnade.replica.model import ServedModel
from colonnade.replica.spare import Spares
from colonnade.replica.template_process import TEMPLATES, go_on
from colonnade.replica.zygote import serve
from colonnade.wire.errors import BadSetting, SetupError
from colonnade.wire.settings import Resolved, given, load

LATER = (
    "uvicorn.lifespan.off",
    "uvicorn.loops.uvloop",
    "uvicorn.protocols.http.httptools_impl",
)
"""What a replica would import in its own time."""


@dataclass(frozen=True)
class Warm:
    """`parsers`: the settings that the model was opened with."""

    model: ServedModel
    parsers: tuple[str, str]
    held: Held | None
    stamps: tuple[object, ...]
    metrics: Metrics

    @classmethod
    def of(cls, model: str, resolved: Resolved) -> Warm:
        """Raises BadModel and BadSetting."""
        own = resolved.replica
        if own.engine_url:
            raise BadSetting("another engine's server does the work", hint="there is nothing to begin ahead of it")
        parsers = own.tool_parser, own.reasoning_parser
        served = ServedModel.open(model, own.served_name, *parsers)
        held = hold_weights(served.folder, resolved.engine, resolved.home / "cache")
        return cls(served, parsers, held, stamps(served.folder), Metrics())

    def stale(self) -> bool:
        """Whether the model's files have changed."""
        return self.stamps != stamps(self.model.folder)

    def opened(self, path: str, name: str, *parsers: str) -> ServedModel:
        """As `ServedModel.open`."""
        if parsers == self.parsers:
            return replace(self.model, name=name or self.model.folder.name)
        return ServedModel.open(path, name, *parsers)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m colonnade.replica.warm", parents=[replica_parser()], add_help=False
    )
    parser.add_argument("--control", type=int, required=True, help="the control socket's descriptor")
    parser.add_argument("--mark", required=True, help="the name of the variable that marks a life")
    parser.add_argument("--room", help="see colonnade.replica.guise")
    options = parser.parse_args()
    try:
        warm = Warm.of(options.model, load(given(options)))
    except SetupError as error:
        sys.stderr.write(f"{error.message}; {error.hint}\n" if error.hint else f"{error.message}\n")
        return 1
    for module in LATER:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()
    guise = Guise(options.mark)
    guise.show([sys.executable, "-m", "colonnade.replica.warm", *sys.argv[1:-2]])  # without the room
    with socket.socket(fileno=options.control) as control:
        serve(control, guise, partial(run, warm, guise), warm.stale)
    return 0


def run(warm: Warm, guise: Guise, argv: Sequence[str]) -> int:
    """One replica, in a process of its own that was just forked."""

    def prepare(resolved: Resolved) -> Spares:
        """They begin with the settings that were read here."""
        spares = Spares(guise)
        spares.fork(ENGINE, partial(engine, warm, resolved), answers=False)
        if (template := warm.model.template) is not None:
            memory = resolved.replica.template_memory
            spares.fork(TEMPLATES, lambda _: go_on(template, memory), answers=True)
        return spares

    return replica_main(
        argv[3:], Means(warm.opened, prepare, lambda: warm.metrics)
    )  # without `python -m colonnade.replica`


def engine(warm: Warm, resolved: Resolved, argv: Sequence[str]) -> int:
    """Of its command line only the two sockets are not known yet."""
    model, commands, reports = (argv[argv.index(flag) + 1] for flag in ("--model", "--commands", "--reports"))
    return work(model, resolved, commands, reports, partial(load_model, held=warm.held))


if __name__ == "__main__":
    sys.exit(main())
