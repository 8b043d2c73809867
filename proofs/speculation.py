"""What speculation is worth: `python proofs/speculation.py [ROUNDS]`.

The shipped model on one thread; answers that copy from their prompt and answers that do not, alone and eight at once,
with and without n-gram drafts in turn. For each: steps and drafts (exact), and the time of a run with drafts over that
of one without (medians; the machine probe is beside them). The answers are compared, too.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from typing import Any

from tokenizers import Tokenizer

from colonnade.bench.probe import measure
from colonnade.engine.config import EngineConfig
from colonnade.engine.folder import ModelFolder
from colonnade.engine.scheduler import Scheduler
from colonnade.engine.worker import LoadedWorker, load_worker
from colonnade.wire.messages import Sampling, Submit

ASKED = {
    "copies": "My name is Anna Bloom and I come on Monday at 10:30.",
    "does not": "Hello! What can you do for me?",
}
NEW = 48


def run(
    loaded: LoadedWorker, config: EngineConfig, prompt: list[int], batch: int, temperature: float
) -> dict[str, Any]:
    limits = config.limits(pages=loaded.pages, max_context=loaded.max_context, vocab_size=1024)
    scheduler = Scheduler(limits, config.drafter())
    for row in range(batch):
        sampling = Sampling(seed=row, max_tokens=NEW, temperature=temperature, stop_token_ids=loaded.eos_token_ids)
        scheduler.submit(Submit(f"{row}", prompt, sampling))
    tokens: dict[str, list[int]] = {}
    began = time.perf_counter()
    while (step := scheduler.plan()) is not None:
        for delta in scheduler.commit(loaded.worker.run(step)):
            tokens.setdefault(delta.key, []).extend(delta.tokens)
    load = scheduler.load()
    counts = {"steps": load.steps, "drafted": load.drafted, "accepted": load.accepted}
    return {"seconds": time.perf_counter() - began, "tokens": tokens, **counts}


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    folder = ModelFolder.open("colonnade-tiny")
    tokenizer = Tokenizer.from_file(str(folder.tokenizer_path))
    configs = [EngineConfig(threads=1, prefix_cache=False, speculation=each) for each in ("off", "ngram")]
    loaded = load_worker(folder, configs[0])
    print(json.dumps({"machine": str(measure())}))
    for asked, text in ASKED.items():
        prompt = tokenizer.encode(f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n").ids
        for batch in (1, 8):
            for temperature in (0.0, 0.8):
                pairs = [[run(loaded, each, prompt, batch, temperature) for each in configs] for _ in range(rounds)]
                plain, drafting = pairs[0]
                assert plain["tokens"] == drafting["tokens"]
                off, on = (statistics.median(pair[at]["seconds"] for pair in pairs) for at in (0, 1))
                counts = {"steps off": plain["steps"], "steps on": drafting["steps"]}
                drafts = {name: drafting[name] for name in ("drafted", "accepted")}
                row = {"answer": asked, "batch": batch, "temperature": temperature, **counts, **drafts}
                print(json.dumps(row | {"time on/off": round(on / off, 2)}), flush=True)


if __name__ == "__main__":
    main()
