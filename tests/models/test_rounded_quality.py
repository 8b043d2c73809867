"""Weights in int8 and keys in float16 leave the shipped model's answers as they are, but for near ties."""

from dataclasses import replace

import pytest
from colonnade_tiny.corpus import SHARES, heldout
from colonnade_tiny.scoring import turns
from transformers import AutoTokenizer

from colonnade.engine.config import EngineConfig
from colonnade.engine.folder import ModelFolder
from colonnade.engine.scheduler import Scheduler
from colonnade.engine.worker import load_worker
from colonnade.wire.messages import Sampling, Submit

MODEL = ModelFolder.open("colonnade-tiny")


@pytest.fixture(scope="module")
def prompts() -> list[list[int]]:
    tokenizer = AutoTokenizer.from_pretrained(MODEL.path)
    asked = [turn for job in SHARES for example in heldout(1, job, 4) for turn in turns(tokenizer, example)]
    return [tokenizer(turn.prompt)["input_ids"] for turn in asked]


def answers(config: EngineConfig, prompts: list[list[int]]) -> list[list[int]]:
    loaded = load_worker(MODEL, config)
    limits = config.limits(pages=loaded.pages, max_context=loaded.max_context, vocab_size=MODEL.vocab_size)
    scheduler = Scheduler(limits)
    sampling = Sampling(temperature=0.0, max_tokens=60, stop_token_ids=tuple(MODEL.eos_token_ids))
    for index, prompt in enumerate(prompts):
        assert scheduler.submit(Submit(str(index), prompt, sampling)) is None
    found: dict[str, list[int]] = {str(index): [] for index in range(len(prompts))}
    while (step := scheduler.plan()) is not None:
        for delta in scheduler.commit(loaded.worker.run(step)):
            found[delta.key].extend(delta.tokens)
    return list(found.values())


def test_answers_stay_as_they_are(prompts: list[list[int]]) -> None:
    config = EngineConfig(kernels="native", threads=1, kv_tokens=20_000)
    plain = answers(config, prompts)
    for change in ({"quantize": "int8"}, {"kv_dtype": "float16"}):
        rounded = answers(replace(config, **change), prompts)
        same = sum(ours == theirs for ours, theirs in zip(rounded, plain, strict=True))
        assert same >= 0.9 * len(prompts), f"{change}: {same} of {len(prompts)}"
