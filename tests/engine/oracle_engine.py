"""The engine's process around the token oracle, as a program: what test_process starts."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from colonnade.engine import process
from colonnade.engine.__main__ import main
from colonnade.engine.config import EngineConfig
from colonnade.engine.oracle import OracleWorker
from colonnade.engine.process import Servable
from colonnade.engine.scheduler import Scheduler
from colonnade.engine.step import Result, Step
from colonnade.wire.errors import BadModel

VOCAB, PAGES, CONTEXT = 101, 256, 128
LOST = 10
POISON, TAR = 97, 98
"""Prompts that begin with these make a step raise, or never end."""


class Moody(OracleWorker):
    def run(self, step: Step) -> Result:
        result = super().run(step)
        begun = {chunk.slot: self.tokens(chunk.slot)[0] for chunk in step.chunks}
        if POISON in begun.values():
            raise RuntimeError("poisoned")
        if TAR in begun.values():
            sys.stdout.write("stuck\n")
            sys.stdout.flush()
            threading.Event().wait()
        return result


class Leaky(Scheduler):
    """Has a defect: with its cache it drops pages that it forgets."""

    def drop(self) -> None:
        super().drop()
        self.cache.pages.take(LOST)


def load(model: str, config: EngineConfig, cache: Path) -> Servable:
    if model == "missing":
        raise BadModel("no such model", hint="name one that is there")
    if model == "crash":
        raise ZeroDivisionError("while loading")
    if model == "leaky":
        process.Scheduler = Leaky
    limits = config.limits(pages=PAGES, max_context=CONTEXT, vocab_size=VOCAB)
    return Servable(
        Moody(config.max_running, PAGES, VOCAB), limits, "oracle", {"kernels": "oracle"}, overlap=config.overlaps
    )


if __name__ == "__main__":
    sys.exit(main(load=load))
