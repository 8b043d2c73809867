"""With a real model: company, chunks, cache hits, retraction and replay change neither tokens nor log-probabilities."""

from __future__ import annotations

from dataclasses import replace

import pytest

from colonnade.engine.config import EngineConfig
from colonnade.engine.folder import ModelFolder
from colonnade.engine.scheduler import Scheduler
from colonnade.engine.worker import LoadedWorker, load_worker
from colonnade.wire.messages import Delta, Logprob, Sampling, Submit

Output = tuple[list[int], list[Logprob]]

PROMPTS = [[*range(40, 60), 7, 8], [*range(40, 60), 9], [*range(40, 55)], [11], [*range(60, 90)]]
SAMPLINGS = [
    Sampling(seed=1, max_tokens=24, temperature=0.0, logprobs=2),
    Sampling(seed=2, max_tokens=30, temperature=1.0, logprobs=0),
    Sampling(seed=3, max_tokens=18, temperature=0.8, top_p=0.9, repetition_penalty=1.2, logprobs=1),
]
SUBMITS = [
    Submit(f"{i}", prompt, SAMPLINGS[i % 3], choice=i % 2)
    for i, prompt in enumerate(prompt for prompt in PROMPTS for _ in range(2))
]


def load(tokens: int) -> LoadedWorker:
    config = EngineConfig(kv_tokens=tokens, max_context=128, max_running=6, threads=1)
    return load_worker(ModelFolder.open("colonnade-tiny"), config)


def answer(loaded: LoadedWorker, scheduler: Scheduler, submits: list[Submit]) -> dict[str, Output]:
    deltas: list[Delta] = []
    for submit in submits:
        assert scheduler.submit(submit) is None
    while (step := scheduler.plan()) is not None:
        deltas += scheduler.commit(loaded.worker.run(step))
        scheduler.validate()
    found: dict[str, Output] = {submit.key: ([], []) for submit in submits}
    for delta in deltas:
        found[delta.key][0].extend(delta.tokens)
        found[delta.key][1].extend(delta.logprobs or [])
    return found


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, Output]:
    """Each request alone, its prompt in one chunk, without a prefix cache."""
    loaded = load(1024)
    limits = EngineConfig(prefix_cache=False).limits(pages=loaded.pages, max_context=128, vocab_size=1024)
    found: dict[str, Output] = {}
    for submit in SUBMITS:
        found |= answer(loaded, Scheduler(limits), [submit])
    return found


def test_a_crowd_in_a_small_cache_answers_the_same(undisturbed: dict[str, Output]) -> None:
    loaded = load(160)
    limits = EngineConfig(max_running=6, step_tokens=32, prefill_chunk=7)
    scheduler = Scheduler(replace(limits.limits(pages=loaded.pages, max_context=128, vocab_size=1024), extent=2))
    assert answer(loaded, scheduler, SUBMITS) == undisturbed
    assert scheduler.retractions
    assert answer(loaded, scheduler, SUBMITS[::-1]) == undisturbed


def test_a_replay_goes_on_the_same(undisturbed: dict[str, Output]) -> None:
    loaded = load(1024)
    limits = EngineConfig(max_running=6, prefill_chunk=5).limits(pages=loaded.pages, max_context=128, vocab_size=1024)
    resumed = [
        Submit(s.key, s.prompt, s.sampling, s.choice, undisturbed[s.key][0][: 3 + 2 * i]) for i, s in enumerate(SUBMITS)
    ]
    found = answer(loaded, Scheduler(limits), resumed)
    for submit in resumed:
        tokens, logprobs = undisturbed[submit.key]
        assert found[submit.key] == (tokens[len(submit.replay) :], logprobs[len(submit.replay) :])
