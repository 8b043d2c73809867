"""What rounding costs the shipped model: `python proofs/quality.py [COUNT] [quantize=int8] [kv_dtype=float16] ...`.

Held-out conversations, greedy answers, scored as models/colonnade-tiny/score.py does it: once as stored, once with the
settings named. Prints both, with the difference in points; fails where the mean over the measures is more than half a
point lower. (One answer of a hundred is a point of its measure already: a single measure says less than the mean.)
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from colonnade.engine.config import EngineConfig
from colonnade.engine.folder import ModelFolder
from colonnade.engine.scheduler import Scheduler
from colonnade.engine.worker import load_worker
from colonnade.wire.messages import Sampling, Submit

sys.path.insert(0, str(Path(__file__).parents[1] / "models" / "colonnade-tiny"))

POINTS = 0.5
LONGEST = 112
"""Tokens of an answer, as in the model's own scoring."""


def answers(settings: dict[str, Any], prompts: list[str]) -> list[str]:
    """Greedy, all through one engine, in the order of the prompts."""
    folder, config = ModelFolder.open("colonnade-tiny"), replace(EngineConfig(threads=1), **settings)
    loaded, tokenizer = load_worker(folder, config), Tokenizer.from_file(str(folder.tokenizer_path))
    limits = config.limits(pages=loaded.pages, max_context=loaded.max_context, vocab_size=folder.vocab_size)
    scheduler = Scheduler(replace(limits, max_waiting=len(prompts)))
    ends = frozenset(folder.eos_token_ids)
    sampling = Sampling(temperature=0.0, max_tokens=LONGEST, stop_token_ids=tuple(sorted(ends)))
    found: dict[str, list[int]] = {str(index): [] for index in range(len(prompts))}
    for index, prompt in enumerate(prompts):
        tokens = tokenizer.encode(prompt, add_special_tokens=False).ids
        if scheduler.submit(Submit(str(index), tokens, sampling)) is not None:
            raise SystemExit(f"prompt {index} was refused")
    while (step := scheduler.plan()) is not None:
        for delta in scheduler.commit(loaded.worker.run(step)):
            found[delta.key].extend(delta.tokens)
    texts = [[token for token in found[str(index)] if token not in ends] for index in range(len(prompts))]
    return [tokenizer.decode(tokens, skip_special_tokens=True) for tokens in texts]


def main(count: int, settings: dict[str, Any]) -> int:
    from colonnade_tiny.corpus import SHARES, heldout
    from colonnade_tiny.scoring import tally, turns
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(ModelFolder.open("colonnade-tiny").path)
    asked = [turn for job in SHARES for example in heldout(1, job, count) for turn in turns(tokenizer, example)]
    prompts = [turn.prompt for turn in asked]
    plain, rounded = tally(asked, answers({}, prompts)), tally(asked, answers(settings, prompts))
    lost: list[float] = []
    print(f"| measure, of {len(asked)} answers | as stored | {settings} | points |\n|---|---|---|---|")
    for measure, whole in plain.items():
        points = 100 * (rounded[measure].share() - whole.share())
        lost.append(points)
        print(f"| {measure} | {whole.share():.2%} | {rounded[measure].share():.2%} | {points:+.2f} |")
    mean = sum(lost) / len(lost)
    print(f"mean: {mean:+.2f} points, wanted {-POINTS:+.2f} at least")
    return 0 if mean >= -POINTS else 1


if __name__ == "__main__":
    given = dict(argument.split("=", 1) for argument in sys.argv[1:] if "=" in argument)
    counts = [int(argument) for argument in sys.argv[1:] if "=" not in argument]
    sys.exit(main(counts[0] if counts else 100, given or {"quantize": "int8"}))
