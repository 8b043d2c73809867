"""llama.cpp by its own parallel server, called in its process: no HTTP in between.

Its slots share one cache; a request goes to the slot that holds most of its prompt.
"""

from __future__ import annotations

import importlib
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import Any

from talk import Answer, talk

UNKNOWN = -1
"""A token whose id was not asked for: ids come with probabilities, which cost time."""


class LlamaCpp:
    def __init__(self, asked: dict[str, Any]) -> None:
        library: Any = importlib.import_module("xllamacpp")
        whole = asked["precision"] == "fp32"
        params = library.CommonParams()
        params.model.path = asked["gguf"]["F32" if whole else "Q8_0"]
        params.n_parallel, params.n_ctx, params.kv_unified = asked["together"], asked["cache_tokens"], True
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = asked["threads"]
        kinds = library.ggml_type
        params.cache_type_k = params.cache_type_v = kinds.GGML_TYPE_F32 if whole else kinds.GGML_TYPE_F16
        params.cache_prompt, params.cont_batching, params.endpoint_metrics = True, True, False
        self._server = library.Server(params)
        self.version = f"xllamacpp {version('xllamacpp')}"
        self.note = "keys and values in float32" if whole else "Q8_0; keys and values in float16"

    def answer(self, requests: list[dict[str, Any]], together: int) -> list[Answer]:
        with ThreadPoolExecutor(together) as pool:
            return list(pool.map(self._one, requests))

    def _one(self, request: dict[str, Any]) -> Answer:
        answer = Answer()
        body = {
            "prompt": request["prompt"],
            "n_predict": request["tokens"],
            "ignore_eos": True,
            "temperature": 0,
            "cache_prompt": True,
            "stream": True,
        }
        if request.get("ids"):
            body["logprobs"] = 1

        def take(said: Any) -> bool:
            if "error" in said:
                raise RuntimeError(said["error"])
            for choice in said["choices"]:
                if choice["finish_reason"] is None:
                    answer.add([entry["id"] for entry in (choice["logprobs"] or {}).get("content", [])] or [UNKNOWN])
            return False

        self._server.handle_completions(body, take)
        answer.add([UNKNOWN] * (request["tokens"] - len(answer.tokens)))  # half a character, held back to the end
        return answer


if __name__ == "__main__":
    talk(LlamaCpp)
