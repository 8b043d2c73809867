"""The shipped model reads clinic notes into JSON: `python proofs/extraction.py [COUNT]`.

Held-out notes, greedy, each alone, on one thread, with the prefix cache as it is by default: without a grammar; held to
the schema of a note; and so with jump-forward. Of each note the three take turns, so that they see the same machine.
Prints forward passes and tokens (exact), fields that are right, answers that are of the schema, and processor time and
clock over those without jump-forward. Each note is asked about once more with log-probabilities, untimed, to compare.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from colonnade.bench.probe import measure
from colonnade.engine.config import EngineConfig
from colonnade.engine.folder import ModelFolder
from colonnade.engine.scheduler import Scheduler
from colonnade.engine.worker import LoadedWorker, load_worker
from colonnade.wire.messages import Grammar, Logprob, Sampling, Submit

sys.path.insert(0, str(Path(__file__).parents[1] / "models" / "colonnade-tiny"))

KINDS = {"name": str, "age": int, "complaint": str, "medication": str, "dose_mg": int, "follow_up_days": int}
SCHEMA = {
    "type": "object",
    "properties": {name: {"type": ["string" if kind is str else "integer", "null"]} for name, kind in KINDS.items()},
    "required": list(KINDS),
    "additionalProperties": False,
}
GRAMMAR = Grammar("json_schema", json.dumps(SCHEMA))


@dataclass
class Way:
    name: str
    config: EngineConfig
    loaded: LoadedWorker
    grammar: Grammar | None
    scheduler: Scheduler = field(init=False)
    passes: int = 0
    tokens: int = 0
    valid: int = 0
    right: int = 0
    seconds: float = 0.0
    """Of the processor."""
    clock: float = 0.0
    answers: list[tuple[list[int], list[Logprob]]] = field(default_factory=list[tuple[list[int], list[Logprob]]])

    def __post_init__(self) -> None:
        limits = self.config.limits(pages=self.loaded.pages, max_context=self.loaded.max_context, vocab_size=1024)
        self.scheduler = Scheduler(limits)

    def ask(self, prompt: list[int]) -> list[int]:
        """The answer, without its end."""
        steps, began, since = self.scheduler.steps, time.process_time(), time.perf_counter()
        tokens, _ = self._answer(prompt, None)
        self.seconds += time.process_time() - began
        self.clock += time.perf_counter() - since
        self.passes += self.scheduler.steps - steps
        self.tokens += len(tokens)
        self.answers.append(self._answer(prompt, 0))
        return [token for token in tokens if token not in self.loaded.eos_token_ids]

    def _answer(self, prompt: list[int], logprobs: int | None) -> tuple[list[int], list[Logprob]]:
        ends = self.loaded.eos_token_ids
        how = Sampling(temperature=0.0, max_tokens=112, stop_token_ids=ends, grammar=self.grammar, logprobs=logprobs)
        self.scheduler.submit(Submit("note", prompt, how))
        tokens: list[int] = []
        told: list[Logprob] = []
        while (step := self.scheduler.plan()) is not None:
            for delta in self.scheduler.commit(self.loaded.worker.run(step)):
                tokens += delta.tokens
                told += delta.logprobs or []
        return tokens, told

    def count(self, text: str, wanted: dict[str, Any]) -> None:
        try:
            said = json.loads(text)
        except ValueError:
            return
        if not isinstance(said, dict):
            return
        fit = (said[name] is None or type(said[name]) is kind for name, kind in KINDS.items() if name in said)
        self.valid += said.keys() == KINDS.keys() and all(fit)
        self.right += sum(name in said and said[name] == value for name, value in wanted.items())


def main(count: int) -> int:
    from colonnade_tiny.corpus import heldout
    from colonnade_tiny.scoring import turns
    from transformers import AutoTokenizer

    print(measure())
    folder = ModelFolder.open("colonnade-tiny")
    tokenizer, renderer = Tokenizer.from_file(str(folder.tokenizer_path)), AutoTokenizer.from_pretrained(folder.path)
    on, off = (EngineConfig(threads=1, jump_forward=each) for each in (True, False))
    free = Way("no grammar", on, load_worker(folder, on), None)
    slow = Way("schema, no jump-forward", off, load_worker(folder, off), GRAMMAR)
    fast = Way("schema, jump-forward", on, load_worker(folder, on), GRAMMAR)
    ways = [free, slow, fast]
    asked = [turn for example in heldout(1, "notes", count) for turn in turns(renderer, example)]
    for turn in asked:
        prompt = tokenizer.encode(turn.prompt, add_special_tokens=False).ids
        for way in ways:
            way.count(tokenizer.decode(way.ask(prompt)), json.loads(turn.expected))
    fields = len(asked) * len(KINDS)
    print("| way | passes | tokens | of the schema | fields right | CPU time | clock |\n|---|---|---|---|---|---|---|")
    for way in ways:
        shares = f"{way.valid} of {len(asked)} | {way.right} of {fields}"
        times = f"{way.seconds / slow.seconds:.2f} | {way.clock / slow.clock:.2f}"
        print(f"| {way.name} | {way.passes} | {way.tokens} | {shares} | {times} |")
    same = slow.answers == fast.answers
    print(f"same tokens and log-probabilities: {same}; passes {slow.passes / fast.passes:.2f} times fewer, wanted 1.5")
    print(f"CPU time {slow.seconds / fast.seconds:.2f} times less, clock {slow.clock / fast.clock:.2f}, wanted 1.5")
    sound = same and fast.valid == len(asked) and fast.right >= free.right
    return 0 if sound and slow.passes >= 1.5 * fast.passes else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100))
