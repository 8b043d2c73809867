"""transformers' continuous batching: its manager, a thread of this process, fed and read here."""

from __future__ import annotations

import importlib
from typing import Any

from talk import Answer, talk

PAGE = 32
STEP_TOKENS = 512


class Transformers:
    def __init__(self, asked: dict[str, Any]) -> None:
        torch: Any = importlib.import_module("torch")
        library: Any = importlib.import_module("transformers")
        torch.set_num_threads(asked["threads"])
        model = library.AutoModelForCausalLM.from_pretrained(asked["folder"], dtype=torch.float32)
        blocks = -(-asked["cache_tokens"] // PAGE)
        batching = library.ContinuousBatchingConfig(
            page_size=PAGE, num_blocks=blocks, max_batch_tokens=STEP_TOKENS, max_requests_per_batch=asked["together"]
        )
        greedy = library.GenerationConfig(do_sample=False, max_new_tokens=16, eos_token_id=-1)
        self._manager = model.init_continuous_batching(greedy, batching)
        self._manager.start()
        self._number = 0
        self.version = f"transformers {library.__version__}, torch {torch.__version__}"
        self.note = f"{self._manager.model.config._attn_implementation}; pages of {PAGE}, {STEP_TOKENS} tokens a step"

    def answer(self, requests: list[dict[str, Any]], together: int) -> list[Answer]:
        answers = [Answer() for _ in requests]
        names = {self._name(): index for index in range(len(requests))}
        waiting, running = iter(names.items()), 0
        done = 0
        while done < len(requests):
            while running < together and (entry := next(waiting, None)):
                self._begin(entry[0], requests[entry[1]])
                running += 1
            told = self._manager.get_result(timeout=1)
            if told is None:
                self._alive()
                continue
            if told.error:
                raise RuntimeError(told.error)
            answer = answers[names[told.request_id]]
            answer.add(told.generated_tokens[len(answer.tokens) :])
            if told.is_finished():
                running, done = running - 1, done + 1
        return answers

    def _begin(self, name: str, request: dict[str, Any]) -> None:
        self._manager.add_request(request["prompt"], name, request["tokens"], streaming=True, eos_token_id=-1)

    def _name(self) -> str:
        self._number += 1
        return str(self._number)

    def _alive(self) -> None:
        if not self._manager.is_running():
            raise RuntimeError("the manager stopped")


if __name__ == "__main__":
    talk(Transformers)
