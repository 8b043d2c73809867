"""OpenVINO GenAI's continuous batching on the CPU, stepped here. It reads GGUF by itself, though none of float32."""

from __future__ import annotations

import importlib
from collections import deque
from typing import Any

from talk import Answer, talk


class OpenVino:
    def __init__(self, asked: dict[str, Any]) -> None:
        self._genai: Any = importlib.import_module("openvino_genai")
        self._core: Any = importlib.import_module("openvino")
        self._numpy: Any = importlib.import_module("numpy")
        whole = asked["precision"] == "fp32"
        scheduler = self._genai.SchedulerConfig()
        scheduler.enable_prefix_caching = True
        scheduler.max_num_seqs = asked["together"]
        scheduler.num_kv_blocks = -(-asked["cache_tokens"] // BLOCK)
        kept = "f32" if whole else "f16"
        properties = {
            "INFERENCE_NUM_THREADS": asked["threads"],
            "INFERENCE_PRECISION_HINT": "f32",
            "KV_CACHE_PRECISION": kept,
        }
        model = asked["gguf"]["F16" if whole else "Q8_0"]
        self._pipeline = self._genai.ContinuousBatchingPipeline(model, scheduler, "CPU", properties)
        self._number = 0
        self.version = f"openvino-genai {self._genai.__version__.partition('-')[0]}"
        self.note = f"weights from {'F16, which holds them exactly' if whole else 'Q8_0'}; keys and values in {kept}"

    def answer(self, requests: list[dict[str, Any]], together: int) -> list[Answer]:
        answers = [Answer() for _ in requests]
        waiting, running = deque(enumerate(requests)), dict[int, Any]()
        while waiting or running:
            while waiting and len(running) < together:
                index, request = waiting.popleft()
                running[index] = self._begin(request)
            self._pipeline.step()
            for index, handle in list(running.items()):
                while handle.can_read():
                    for output in handle.read().values():
                        answers[index].add(list(output.generated_ids))
                if len(answers[index].tokens) >= requests[index]["tokens"]:
                    del running[index]
        return answers

    def _begin(self, request: dict[str, Any]) -> Any:
        config = self._genai.GenerationConfig()
        config.max_new_tokens, config.ignore_eos, config.do_sample = request["tokens"], True, False
        self._number += 1
        prompt = self._core.Tensor(self._numpy.array([request["prompt"]], dtype="int64"))
        return self._pipeline.add_request(self._number, prompt, config)


BLOCK = 32
"""Tokens of a block of its cache on the CPU."""

if __name__ == "__main__":
    talk(OpenVino)
