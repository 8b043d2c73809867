"""What planning ahead gains: `python proofs/overlap.py [ROUNDS] [THREADS]`.

The shipped model, native kernels, 16 requests at a time at temperature 0.8: tokens a second of steps planned one ahead
over those of steps one at a time, interleaved; the median of the ratios. The machine probe is beside it.
"""

from __future__ import annotations

import statistics
import sys
import time

from colonnade.bench.probe import measure
from colonnade.engine.config import EngineConfig
from colonnade.engine.folder import ModelFolder
from colonnade.engine.pipeline import Ahead, Inline, Pipeline
from colonnade.engine.scheduler import Scheduler
from colonnade.engine.worker import LoadedWorker, load_worker
from colonnade.wire.messages import Sampling, Submit

BATCH, NEW = 16, 200


def tokens_a_second(loaded: LoadedWorker, config: EngineConfig, pipeline: Pipeline) -> float:
    scheduler = Scheduler(config.limits(pages=loaded.pages, max_context=loaded.max_context, vocab_size=1024))
    sampling = Sampling(seed=1, max_tokens=NEW, temperature=0.8, ignore_eos=True)
    for row in range(BATCH):
        scheduler.submit(Submit(f"{row}", [(row * 7 + i) % 500 + 20 for i in range(16)], sampling))
    began = time.perf_counter()
    while scheduler.has_work:
        step = scheduler.plan()
        if step is not None:
            pipeline.start(step)
        if pipeline.depth > (0 if step is None else pipeline.ahead):
            _, result = pipeline.finish()
            assert not isinstance(result, Exception)
            scheduler.commit(result)
    return BATCH * NEW / (time.perf_counter() - began)


def main() -> None:
    rounds, threads = (int(sys.argv[1]) if len(sys.argv) > 1 else 7), (int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    config = EngineConfig(kernels="native", threads=threads, prefix_cache=False)
    loaded = load_worker(ModelFolder.open("colonnade-tiny"), config)
    print(measure())
    inline, ahead = Inline(loaded.worker), Ahead(loaded.worker)
    found = [(tokens_a_second(loaded, config, inline), tokens_a_second(loaded, config, ahead)) for _ in range(rounds)]
    ratios = sorted(second / first for first, second in found)
    print(f"one at a time: {statistics.median(first for first, _ in found):,.0f} tokens/s")
    print(f"one ahead:     {statistics.median(second for _, second in found):,.0f} tokens/s")
    print(f"ratio: median {statistics.median(ratios):.3f}, {ratios[0]:.3f} to {ratios[-1]:.3f}; {threads} thread(s)")
    print(measure())


if __name__ == "__main__":
    main()
