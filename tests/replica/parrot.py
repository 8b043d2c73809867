"""A model without weights behind the real engine process: it says what it is told to.

A chat is answered by the last user message, then the end of the turn; a completion by its prompt, again and again.
Between steps it waits as many seconds as the file `pace` says. At `<|endoftext|>` it stands still until there is a
file `release`, at `</tool_response>` the request fails, at `<tool_response>` the process dies. With a file `broken` it
does not load.
"""

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tokenizers import Tokenizer

from colonnade.engine.__main__ import main
from colonnade.engine.config import EngineConfig
from colonnade.engine.folder import ModelFolder
from colonnade.engine.process import Servable
from colonnade.engine.step import Chunk, Drawn, Result, Scored, Step
from colonnade.wire.errors import BadModel
from colonnade.wire.messages import Logprob


@dataclass
class Parrot:
    folder: Path
    tokenizer: Tokenizer
    pace: float
    scripts: dict[int, tuple[int, list[int]]] = field(default_factory=dict)
    wanted: dict[int, int | None] = field(default_factory=dict)
    prompts: dict[int, list[int]] = field(default_factory=dict)
    labels: dict[int, list[float]] = field(default_factory=dict)

    def run(self, step: Step) -> Result:
        time.sleep(self.pace)
        for admit in step.admits:
            prompt = list(admit.tokens[: admit.prompt_length])
            self.scripts[admit.slot] = (admit.prompt_length, self.script(prompt))
            self.wanted[admit.slot] = admit.sampling.logprobs
            asked = admit.scoring or admit.sampling
            self.labels[admit.slot] = [-3.0 for _ in asked.labels]
            self.prompts[admit.slot] = prompt
        drawn = [self.draw(chunk.slot, chunk.start + len(chunk.pages)) for chunk in step.chunks if chunk.sample]
        return Result(step.number, tuple(drawn), tuple(self.score(chunk) for chunk in step.chunks if chunk.scored[1]))

    def score(self, chunk: Chunk) -> Scored:
        """Each token is as probable as any; of a vector nothing is told."""
        labels = self.labels[chunk.slot]
        tokens = self.prompts[chunk.slot][chunk.scored[0] + 1 : chunk.scored[1] + 1]
        return Scored(chunk.slot, [Logprob(token, -0.5, [(token, -0.5)], labels) for token in tokens])

    def script(self, prompt: Sequence[int]) -> list[int]:
        start, end = (self.tokenizer.token_to_id(mark) or 0 for mark in ("<|im_start|>", "<|im_end|>"))
        role = self.tokenizer.encode("user\n", add_special_tokens=False).ids
        for index in range(len(prompt) - 1, -1, -1):
            said = index + 1 + len(role)
            if prompt[index] == start and list(prompt[index + 1 : said]) == role:
                return [*prompt[said : prompt.index(end, said)], end]
        return list(prompt)

    def draw(self, slot: int, position: int) -> Drawn:
        prompt_length, script = self.scripts[slot]
        token = script[(position - prompt_length) % len(script)]
        name = self.tokenizer.id_to_token(token)
        while name == "<|endoftext|>" and not (self.folder / "release").exists():
            time.sleep(0.005)
        if name == "</tool_response>":
            return Drawn(slot, token, error="out of luck")
        if name == "<tool_response>":
            os._exit(7)
        top = self.wanted[slot]
        if top is None:
            return Drawn(slot, token)
        return Drawn(slot, token, Logprob(token, -0.5, [(token, -0.5), (1, -2.0)][:top], self.labels[slot]))


def load(model: str, config: EngineConfig, cache: Path) -> Servable:
    folder = ModelFolder.open(model)
    if (folder.path / "broken").exists():
        raise BadModel("the parrot is no more", hint="get another")
    pace = folder.path / "pace"
    worker = Parrot(
        folder.path, Tokenizer.from_file(str(folder.tokenizer_path)), float(pace.read_text()) if pace.exists() else 0.0
    )
    limits = config.limits(
        pages=config.kv_tokens or 1 << 20, max_context=folder.max_context, vocab_size=folder.vocab_size
    )
    return Servable(worker, limits, "parrot", {"kernels": "parrot", "batch_invariant": True})


if __name__ == "__main__":
    sys.exit(main(load=load))
