"""Scores of prompts: equal to transformers, to the bit whatever the chunks, the cache and the company."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_llama
import torch
from numpy.typing import NDArray
from transformers import AutoModelForCausalLM

from colonnade.engine.folder import SHIPPED, ModelFolder
from colonnade.engine.kernels.ops import Batch, Floats
from colonnade.engine.limits import Limits
from colonnade.engine.scheduler import Scheduler
from colonnade.engine.spot import Span, Spot, layout
from colonnade.engine.step import Chunk
from colonnade.engine.worker import KEEPS_NONE, LoadedWorker, load_worker
from colonnade.wire.messages import Delta, Logprob, Namespace, Sampling, Scoring, Submit
from colonnade.wire.settings import EngineSettings

SHIPPED_MODELS = ["colonnade-tiny", "colonnade-tiny-moe"]
ALL = Scoring()
ONE = Sampling(max_tokens=1, temperature=0.0)
LENGTH = 600


def load(model: str | Path, kernels: str = "native") -> LoadedWorker:
    settings = replace(EngineSettings(), kernels=kernels, kv_tokens=2048, max_context=1024, max_running=8, threads=1)
    return load_worker(ModelFolder.open(model), settings)


class Scorer:
    """A scheduler over a loaded model, fed and drained."""

    def __init__(self, loaded: LoadedWorker, **limits: Any) -> None:
        self.loaded = loaded
        usual: dict[str, Any] = {"pages": loaded.pages, "max_context": 1024, "vocab_size": 1024}
        self.scheduler = Scheduler(Limits(**(usual | limits)))
        self._keys = map(str, count())

    def submit(self, prompt: list[int], scoring: Scoring | None = ALL, sampling: Sampling = ONE) -> str:
        key = next(self._keys)
        assert self.scheduler.submit(Submit(key, prompt, sampling, scoring=scoring, namespace=Namespace())) is None
        return key

    def run(self) -> dict[str, list[Delta]]:
        deltas: dict[str, list[Delta]] = {}
        while (step := self.scheduler.plan()) is not None:
            for delta in self.scheduler.commit(self.loaded.worker.run(step)):
                deltas.setdefault(delta.key, []).append(delta)
            self.scheduler.validate()
        return deltas

    def scores(self, prompt: list[int], scoring: Scoring = ALL) -> list[Logprob]:
        key = self.submit(prompt, scoring)
        return [each for delta in self.run()[key] for each in delta.scores or []]


def reference(model: str, prompt: list[int]) -> NDArray[np.float64]:
    """Log-probabilities [T, V], by transformers."""
    theirs = AutoModelForCausalLM.from_pretrained(SHIPPED / model, dtype=torch.float32).eval()
    with torch.inference_mode():
        return torch.log_softmax(theirs(torch.tensor([prompt])).logits[0].double(), -1).numpy()


@dataclass(frozen=True)
class Case:
    model: str
    loaded: LoadedWorker
    prompt: list[int]
    theirs: NDArray[np.float64]


@pytest.fixture(scope="module", params=SHIPPED_MODELS)
def case(request: pytest.FixtureRequest) -> Case:
    prompt = tiny_llama.prompt(LENGTH, vocab=1000)
    return Case(request.param, load(request.param), prompt, reference(request.param, prompt))


def test_scores_of_a_long_prompt_equal_transformers_in_chunks_of_any_size(case: Case) -> None:
    loaded, prompt, theirs_TV = case.loaded, case.prompt, case.theirs
    expected = theirs_TV[np.arange(LENGTH - 1), prompt[1:]]
    scoring = Scoring(top=2, labels=(5, 900))
    whole = Scorer(loaded, prefill_chunk=512).scores(prompt, scoring)
    assert [each.token for each in whole] == prompt[1:]
    assert np.abs(np.array([each.logprob for each in whole]) - expected).max() < 1e-3
    assert np.abs(np.array([each.labels for each in whole]) - theirs_TV[:-1][:, [5, 900]]).max() < 1e-3
    assert [max(lp for _, lp in each.top) for each in whole] == pytest.approx(theirs_TV[:-1].max(-1), abs=1e-3)
    for chunk in (1, 7, 64, 256, 511):
        assert Scorer(loaded, prefill_chunk=chunk, score_bytes=4 * 1024 * 100).scores(prompt, scoring) == whole


def test_torch_agrees(case: Case) -> None:
    found = Scorer(load(case.model, "torch"), prefill_chunk=130).scores(case.prompt)
    expected = case.theirs[np.arange(LENGTH - 1), case.prompt[1:]]
    assert np.abs(np.array([each.logprob for each in found]) - expected).max() < 1e-3


def test_what_is_scored_is_computed_and_the_rest_is_found(case: Case) -> None:
    loaded, prompt = case.loaded, case.prompt
    scorer = Scorer(loaded)
    whole = scorer.scores(prompt[:200])
    key = scorer.submit(prompt[:200], Scoring(start=150))
    deltas = scorer.run()[key]
    assert [each for delta in deltas for each in delta.scores or []] == whole[150:]
    assert deltas[-1].cached == 150
    key = scorer.submit(prompt[:200], None)
    assert scorer.run()[key][-1].cached == 199
    key = scorer.submit(prompt[:200], Scoring(start=199))
    deltas = scorer.run()[key]
    assert [(delta.scores, delta.cached) for delta in deltas] == [(None, 199)]


def test_company_and_a_small_cache_change_nothing(case: Case) -> None:
    loaded, prompt = case.loaded, case.prompt
    whole = Scorer(loaded).scores(prompt[:100])
    tight = {"pages": 160, "prefill_chunk": 9, "step_tokens": 24, "max_running": 6, "extent": 2}
    crowd = Scorer(loaded, **tight, score_bytes=4 * 1024 * 10)
    long = Sampling(max_tokens=40, temperature=0.0)
    keys = [crowd.submit(prompt[:100] if each % 2 else prompt[each : 40 + each], sampling=long) for each in range(8)]
    deltas = crowd.run()
    for key in keys[1::2]:
        assert [each for delta in deltas[key] for each in delta.scores or []] == whole
    assert crowd.scheduler.retractions


def test_rows_of_logits_come_in_the_order_of_the_tokens() -> None:
    chunks = [
        Chunk(0, 0, range(5), False, scored=(2, 5)),
        Chunk(1, 0, range(3), True),
        Chunk(2, 4, range(6), True, (7, 8), scored=(4, 6)),
        Chunk(3, 0, range(2), False),
    ]
    spans, spots = layout(chunks)
    assert spans == [Span(chunks[0], 0), Span(chunks[2], 4)]
    assert spots == [Spot(chunks[1], 3, 1, 3), Spot(chunks[2], 6, 2, 8)]
    assert Span(chunks[2], 4).rows == slice(4, 6)


def test_logits_that_are_no_numbers_end_a_scored_request_alone(tmp_path: Path) -> None:
    """A model whose embedding of one token is infinite."""
    tiny = tiny_llama.make(tmp_path, tie_word_embeddings=False)
    with torch.no_grad():
        tiny.model.model.embed_tokens.weight[7] = torch.inf
    tiny.model.save_pretrained(tmp_path)
    scorer = Scorer(tiny_llama.load(tmp_path), max_context=200, vocab_size=96, prefill_chunk=4, prefix_cache=False)
    bad, good = scorer.submit([1, 2, 3, 4, 5, 7, 8, 9]), scorer.submit([1, 2, 3, 4, 5, 6, 8, 9])
    deltas = scorer.run()
    assert (deltas[bad][-1].finish, deltas[bad][-1].reason[:20]) == ("error", "the model's logits a")
    assert [len(delta.scores or []) for delta in deltas[bad]] == [4, 0]
    assert (deltas[good][-1].finish, sum(len(delta.scores or []) for delta in deltas[good])) == ("length", 7)


def hidden(model: str, prompt: list[int]) -> NDArray[np.float32]:
    """[T, D] behind the last norm, by transformers."""
    theirs = AutoModelForCausalLM.from_pretrained(SHIPPED / model, dtype=torch.float32).eval()
    with torch.inference_mode():
        return theirs.model(torch.tensor([prompt])).last_hidden_state[0].numpy()


def vector(deltas: list[Delta]) -> NDArray[np.float32]:
    return np.frombuffer(deltas[-1].vector, "<f4")


def test_vectors_are_transformers_hidden_states_whatever_the_chunks_the_cache_and_the_company(case: Case) -> None:
    prompt = case.prompt[:130]
    theirs_TD = hidden(case.model, prompt)
    expected = {"last": theirs_TD[-1], "mean": theirs_TD.mean(0)}
    for pooling in ("last", "mean"):
        found: list[NDArray[np.float32]] = []
        for chunk, kernels in ((512, "native"), (7, "native"), (1, "native"), (64, "torch")):
            loaded = case.loaded if kernels == "native" else load(case.model, "torch")
            scorer = Scorer(loaded, prefill_chunk=chunk)
            for company in (False, True):
                if company:
                    scorer.submit(prompt[:50], sampling=Sampling(max_tokens=5, temperature=0.0, logprobs=1))
                key = scorer.submit(prompt, Scoring(pooling=pooling))
                found.append(vector(scorer.run()[key]))
        assert all((each == found[0]).all() for each in found[:6])
        assert all(np.abs(each - expected[pooling]).max() < 1e-3 for each in found)


def test_a_vector_is_the_same_after_a_retraction(case: Case) -> None:
    prompt = case.prompt[:100]
    alone = Scorer(case.loaded)
    key = alone.submit(prompt, Scoring(pooling="mean"))
    expected = alone.run()[key][-1].vector
    crowd = Scorer(case.loaded, pages=150, prefill_chunk=9, step_tokens=12, max_running=4, extent=2)
    long = Sampling(max_tokens=40, temperature=0.0)
    others = [crowd.submit(case.prompt[each : 9 + each], None, long) for each in range(3)]
    keys = [crowd.submit(prompt, Scoring(pooling="mean")) for _ in range(2)]
    deltas = crowd.run()
    assert [deltas[key][-1].vector for key in keys] == [expected, expected]
    assert all(deltas[key][-1].finish == "length" for key in others)
    assert crowd.scheduler.retractions


def test_a_model_that_keeps_no_hidden_states_says_so(case: Case) -> None:
    class Blind:
        """A program that has no hidden states to give."""

        def run(self, batch: Batch) -> Floats:
            return np.zeros((len(batch.sampled), 1024), dtype=np.float32)

        def hidden(self, batch: Batch) -> Floats | None:
            return None

        def forget(self) -> None:
            pass

    loaded = load(case.model)
    loaded.worker.use(Blind())
    scorer = Scorer(loaded)
    vectors = scorer.submit([1, 2, 3], Scoring(pooling="mean"))
    other = scorer.submit([4, 5, 6], None)
    deltas = scorer.run()
    assert (deltas[vectors][-1].finish, deltas[vectors][-1].reason) == ("error", KEEPS_NONE)
    assert deltas[other][-1].finish == "length"
