"""What holding answers to a grammar costs: `python proofs/masks.py [ROUNDS]`.

The shipped model, native kernels, batch 1 and 16: milliseconds of a decode step without a grammar and with one, the two
in turn, so that both see the same machine. Medians: of the clock, of the processor time of the thread that runs the
steps, which is what masks made beside it cannot hide, and of that of the whole process. The machine probe is beside.
"""

from __future__ import annotations

import statistics
import sys
import time

from colonnade.bench.probe import measure
from colonnade.engine.config import EngineConfig
from colonnade.engine.folder import ModelFolder
from colonnade.engine.scheduler import Scheduler
from colonnade.engine.worker import LoadedWorker, load_worker
from colonnade.wire.messages import Grammar, Sampling, Submit

NEW = 64
CONTEXT = 128
STRINGS = Grammar("json_schema", '{"type": "array", "minItems": 60, "items": {"type": "string", "minLength": 8}}')
"""It goes on for longer than is measured, and every mask has hundreds of tokens in it."""


Times = tuple[float, float, float]
CLOCKS = (time.perf_counter, time.thread_time, time.process_time)


def decode_steps(loaded: LoadedWorker, config: EngineConfig, batch: int, grammar: Grammar | None) -> list[Times]:
    """Seconds of each step that decodes all of the batch, by each clock."""
    scheduler = Scheduler(config.limits(pages=loaded.pages, max_context=loaded.max_context, vocab_size=1024))
    for row in range(batch):
        sampling = Sampling(seed=row, max_tokens=NEW, temperature=1.0, grammar=grammar)
        scheduler.submit(Submit(f"{row}", [3 + (row * 7 + n) % 900 for n in range(CONTEXT)], sampling))
    seconds: list[Times] = []
    while scheduler.has_work:
        began = [clock() for clock in CLOCKS]
        step = scheduler.plan()
        assert step is not None
        deltas = scheduler.commit(loaded.worker.run(step))
        assert all(delta.finish != "error" for delta in deltas), deltas
        if len(step.chunks) == batch and all(len(chunk.pages) == 1 for chunk in step.chunks):
            wall, own, whole = (clock() - start for clock, start in zip(CLOCKS, began, strict=True))
            seconds.append((wall, own, whole))
    return seconds


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    print(measure())
    config = EngineConfig(kernels="native", threads=1, prefix_cache=False, step_tokens=4096, prefill_chunk=4096)
    loaded = load_worker(ModelFolder.open("colonnade-tiny"), config)
    for batch in (1, 16):
        plain: list[Times] = []
        held: list[Times] = []
        for _ in range(rounds):
            plain += decode_steps(loaded, config, batch, None)
            held += decode_steps(loaded, config, batch, STRINGS)
        for at, name in enumerate(("clock", "stepping thread", "process")):
            without, with_one = (1e3 * statistics.median(each[at] for each in times) for times in (plain, held))
            cost = 100 * (with_one / without - 1)
            print(f"batch {batch:2}, {name:15}: {without:.3f} ms a step, {with_one:.3f} with a grammar ({cost:+.1f} %)")


if __name__ == "__main__":
    main()
