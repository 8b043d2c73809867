"""What a step costs: `python proofs/steps.py [ROUNDS]`.

The shipped model, native kernels and torch reference in turn, by batch and context: milliseconds of a decode step, of
which microseconds in the scheduler (plan and commit), and prefill tokens a second. Medians; the machine probe is
beside them.
"""

from __future__ import annotations

import statistics
import sys
import time
from dataclasses import dataclass, field

from colonnade.bench.probe import measure
from colonnade.engine.config import EngineConfig
from colonnade.engine.folder import ModelFolder
from colonnade.engine.scheduler import Scheduler
from colonnade.engine.worker import LoadedWorker, load_worker
from colonnade.wire.messages import Sampling, Submit

NEW = 48
PREFILL = 2048


@dataclass
class Times:
    """Seconds: of each decode step, of its share in the scheduler, and of a whole prefill."""

    step: list[float] = field(default_factory=list[float])
    host: list[float] = field(default_factory=list[float])
    prefill: list[float] = field(default_factory=list[float])


def load(kernels: str) -> tuple[LoadedWorker, EngineConfig]:
    config = EngineConfig(kernels=kernels, threads=1, prefix_cache=False, step_tokens=PREFILL, prefill_chunk=PREFILL)
    return load_worker(ModelFolder.open("colonnade-tiny"), config), config


def run(loaded: LoadedWorker, config: EngineConfig, batch: int, context: int, temperature: float, times: Times) -> None:
    limits = config.limits(pages=loaded.pages, max_context=loaded.max_context, vocab_size=1024)
    scheduler = Scheduler(limits)
    sampling = Sampling(seed=1, max_tokens=NEW, temperature=temperature, ignore_eos=True)
    for row in range(batch):
        scheduler.submit(Submit(f"{row}", [(row * 7 + i) % 500 + 20 for i in range(context)], sampling))
    while True:
        began = time.perf_counter()
        step = scheduler.plan()
        planned = time.perf_counter()
        if step is None:
            return
        result = loaded.worker.run(step)
        computed = time.perf_counter()
        scheduler.commit(result)
        ended = time.perf_counter()
        if len(step.chunks) == batch and not step.admits:
            times.step.append(ended - began)
            times.host.append(planned - began + ended - computed)
        elif sum(len(chunk.pages) for chunk in step.chunks) == PREFILL:
            times.prefill.append(ended - began)


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    sides = {kernels: load(kernels) for kernels in ("native", "torch")}
    cells = [(batch, context, t) for batch, context in ((1, 16), (1, 512), (16, 16), (16, 512)) for t in (0.0, 0.8)]
    print(measure())
    print("| kernels | batch | context | temperature | step ms | scheduler us |\n|---|---|---|---|---|---|")
    for batch, context, temperature in cells:
        found = {kernels: Times() for kernels in sides}
        for _ in range(rounds):
            for kernels, (loaded, config) in sides.items():
                run(loaded, config, batch, context, temperature, found[kernels])
        for kernels, times in found.items():
            step, host = statistics.median(times.step) * 1e3, statistics.median(times.host) * 1e6
            print(f"| {kernels} | {batch} | {context} | {temperature} | {step:.3f} | {host:.0f} |")
    for kernels, (loaded, config) in sides.items():
        times = Times()
        for _ in range(rounds):
            run(loaded, config, 1, PREFILL, 0.0, times)
        print(f"prefill of {PREFILL} tokens, {kernels}: {PREFILL / statistics.median(times.prefill):,.0f} tokens/s")
    print(measure())


if __name__ == "__main__":
    main()
