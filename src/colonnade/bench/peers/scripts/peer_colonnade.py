"""Our own engine: scheduler and worker, stepped here as the engine's process steps them."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Any

from talk import Answer, talk

from colonnade import __version__
from colonnade.engine.config import EngineConfig
from colonnade.engine.folder import ModelFolder
from colonnade.engine.scheduler import Scheduler
from colonnade.engine.worker import load_worker
from colonnade.wire.messages import Sampling, Submit


class Colonnade:
    def __init__(self, asked: dict[str, Any]) -> None:
        whole = asked["precision"] == "fp32"
        config = EngineConfig(
            threads=asked["threads"],
            kv_tokens=asked["cache_tokens"],
            max_running=asked["together"],
            quantize="none" if whole else "int8",
            kv_dtype="float32" if whole else "float16",
        )
        folder = ModelFolder.open(asked["folder"])
        loaded = load_worker(folder, config, cache=Path(asked["scratch"]))
        limits = config.limits(pages=loaded.pages, max_context=loaded.max_context, vocab_size=folder.vocab_size)
        # A run never waits for room: how many are running at a time is what the runs say.
        self._scheduler, self._worker = Scheduler(replace(limits, max_waiting=1 << 20)), loaded.worker
        self._number = 0
        self.version = f"colonnade {__version__}"
        self.note = f"{config.kernels} kernels; keys and values in {config.kv_dtype}"

    def answer(self, requests: list[dict[str, Any]], together: int) -> list[Answer]:
        answers = [Answer() for _ in requests]
        waiting, running = deque(enumerate(requests)), dict[str, int]()
        while waiting or running:
            while waiting and len(running) < together:
                index, request = waiting.popleft()
                running[self._begin(request)] = index
            step = self._scheduler.plan()
            assert step is not None, "requests are under way, and the scheduler plans nothing"
            for delta in self._scheduler.commit(self._worker.run(step)):
                if delta.finish == "error":
                    raise RuntimeError(delta.reason)
                answers[running[delta.key]].add(delta.tokens)
                if delta.finish:
                    del running[delta.key]
        return answers

    def _begin(self, request: dict[str, Any]) -> str:
        self._number += 1
        key = str(self._number)
        sampling = Sampling(max_tokens=request["tokens"], temperature=0.0, ignore_eos=True)
        refused = self._scheduler.submit(Submit(key, request["prompt"], sampling))
        if refused is not None:
            raise RuntimeError(refused.message)
        return key


if __name__ == "__main__":
    talk(Colonnade)
