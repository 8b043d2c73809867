"""With real models: drafts change neither tokens nor log-probabilities, whatever else is in the step."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

import pytest
import tiny_families
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_family_invariance import MODELS
from tokenizers import Tokenizer

from colonnade.engine.config import EngineConfig
from colonnade.engine.drafter import Drafter, Proposal
from colonnade.engine.folder import SHIPPED, ModelFolder
from colonnade.engine.limits import Limits
from colonnade.engine.ngram import NgramDrafter
from colonnade.engine.scheduler import Scheduler
from colonnade.engine.worker import LoadedWorker, load_worker
from colonnade.wire.messages import Grammar, Logprob, Sampling, Submit

Output = tuple[list[int], list[Logprob], str]

PAGES, CONTEXT = 1024, 128
TEXT = "<|im_start|>user\nMy name is Anna Bloom and I come on Monday at 10:30.<|im_end|>\n<|im_start|>assistant\n"
WALL = [40, 41, 42, 43] * 5
GRAMMAR = Grammar("regex", r'\{"name":"(ab){3,5}","count":[0-9]{1,2}\}')


@dataclass(frozen=True)
class Subject:
    workers: dict[int, LoadedWorker]
    """By threads."""
    vocab_size: int
    submits: list[Submit]


def subject(folder: ModelFolder, prompts: list[list[int]], **extra: Any) -> Subject:
    config = EngineConfig(kv_tokens=PAGES, max_context=CONTEXT, max_running=6)
    workers = {threads: load_worker(folder, replace(config, threads=threads)) for threads in (1, 2)}
    samplings = [
        Sampling(seed=1, max_tokens=24, temperature=0.0, logprobs=2),
        Sampling(seed=2, max_tokens=26, temperature=0.8, logprobs=0),
        Sampling(seed=3, max_tokens=18, temperature=0.8, top_p=0.9, repetition_penalty=1.1, frequency_penalty=0.2),
        Sampling(seed=4, max_tokens=26, temperature=0.8, **extra),
    ]
    submits = [
        Submit(f"{i}.{j}", prompt, sampling, choice=j)
        for i, prompt in enumerate(prompts)
        for j, sampling in enumerate(samplings)
    ]
    return Subject(workers, workers[1].worker._vocab_size, submits)


@pytest.fixture(
    scope="module", params=["colonnade-tiny", "colonnade-tiny-moe", "window of 20", "many experts", "latent attention"]
)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    if request.param.startswith("colonnade"):
        folder = ModelFolder.open(request.param)
        tokens = Tokenizer.from_file(str(folder.tokenizer_path)).encode(TEXT).ids
        return subject(folder, [tokens, WALL], grammar=GRAMMAR, stop_token_ids=(2,))
    family, config = MODELS[request.param]
    made = tiny_families.make(tmp_path_factory.mktemp("model"), family, **config)
    return subject(ModelFolder.open(made.folder), [WALL, [7, 8, 9]], stop_token_ids=(41, 9))


class Prompter:
    """Knows the answers, and errs where `mistakes` holds."""

    def __init__(self, answers: dict[str, Output], mistakes: list[bool], submits: list[Submit]) -> None:
        self._answers, self._mistakes = answers, mistakes
        self._lengths = {submit.key: len(submit.prompt) for submit in submits}

    def propose(self, key: str, tokens: Any, count: int) -> Proposal:
        start = len(tokens) - self._lengths[key]
        rest = self._answers[key][0][start : start + count]
        wrong = [self._mistakes[at % len(self._mistakes)] for at in range(start, start + count)]
        return Proposal([token ^ mistake for token, mistake in zip(rest, wrong, strict=False)])

    def forget(self, key: str) -> None:
        pass


def run(worker: LoadedWorker, scheduler: Scheduler, submits: list[Submit]) -> dict[str, Output]:
    found: dict[str, tuple[list[int], list[Logprob]]] = {submit.key: ([], []) for submit in submits}
    ends: dict[str, str] = {}
    for submit in submits:
        assert scheduler.submit(submit) is None
    while (step := scheduler.plan()) is not None:
        for delta in scheduler.commit(worker.worker.run(step)):
            found[delta.key][0].extend(delta.tokens)
            found[delta.key][1].extend(delta.logprobs or [])
            ends[delta.key] = delta.finish or ""
        scheduler.validate()
    return {key: (*both, ends[key]) for key, both in found.items()}


@pytest.fixture(scope="module")
def undisturbed(model: Subject) -> dict[str, Output]:
    """Each request alone, its prompt in one chunk, without a prefix cache and without drafts."""
    found: dict[str, Output] = {}
    for submit in model.submits:
        limits = Limits(PAGES, CONTEXT, model.vocab_size, 6, prefix_cache=False)
        found |= run(model.workers[1], Scheduler(limits), [submit])
    return found


limits = st.builds(
    Limits,
    pages=st.sampled_from([64, 96, 200, PAGES]),
    max_context=st.just(CONTEXT),
    max_running=st.integers(1, 6),
    step_tokens=st.sampled_from([4, 16, 64, 512]),
    prefill_chunk=st.sampled_from([1, 3, 16, 512]),
    extent=st.integers(1, 16),
    prefix_cache=st.booleans(),
    draft_tokens=st.integers(1, 9),
)


@given(
    limits=limits,
    threads=st.sampled_from([1, 2]),
    mistakes=st.none() | st.lists(st.booleans(), min_size=1, max_size=5),
    chosen=st.sets(st.integers(0, 7), min_size=1),
)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_drafts_leave_no_trace(
    model: Subject,
    undisturbed: dict[str, Output],
    limits: Limits,
    threads: int,
    mistakes: list[bool] | None,
    chosen: set[int],
) -> None:
    submits = [model.submits[at] for at in sorted(chosen)]
    drafter: Drafter = NgramDrafter() if mistakes is None else Prompter(undisturbed, mistakes, submits)
    scheduler = Scheduler(replace(limits, vocab_size=model.vocab_size), drafter)
    found = run(model.workers[threads], scheduler, submits)
    assert found == {submit.key: undisturbed[submit.key] for submit in submits}


def test_ngrams_are_drafted_and_found_right_and_wrong(model: Subject, undisturbed: dict[str, Output]) -> None:
    scheduler = Scheduler(Limits(PAGES, CONTEXT, model.vocab_size, 6), NgramDrafter(1))
    assert run(model.workers[1], scheduler, model.submits) == undisturbed
    assert 0 < scheduler.speculation.accepted < scheduler.speculation.drafted


def test_an_answer_under_a_grammar_is_drafted_for(model: Subject, undisturbed: dict[str, Output]) -> None:
    for submit in (each for each in model.submits if each.sampling.grammar):
        scheduler = Scheduler(Limits(PAGES, CONTEXT, model.vocab_size, 6), NgramDrafter())
        assert run(model.workers[1], scheduler, [submit]) == {submit.key: undisturbed[submit.key]}
        assert scheduler.speculation.accepted
        text = Tokenizer.from_file(str(SHIPPED / "colonnade-tiny" / "tokenizer.json")).decode(
            undisturbed[submit.key][0]
        )
        assert re.fullmatch(GRAMMAR.text, text)


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_an_answer_that_copies_takes_fewer_steps(temperature: float) -> None:
    folder = ModelFolder.open("colonnade-tiny")
    loaded = load_worker(folder, EngineConfig(kv_tokens=PAGES, max_context=CONTEXT, max_running=1))
    prompt = Tokenizer.from_file(str(folder.tokenizer_path)).encode(TEXT).ids
    sampling = Sampling(seed=1, max_tokens=60, temperature=temperature, stop_token_ids=(2,))
    found, steps = [], []
    for drafter in (None, NgramDrafter()):
        scheduler = Scheduler(Limits(PAGES, CONTEXT, folder.vocab_size, 1), drafter)
        found.append(run(loaded, scheduler, [Submit("a", prompt, sampling)]))
        steps.append(scheduler.steps)
    assert found[0] == found[1]
    assert steps[1] <= 0.7 * steps[0]
