"""The worker: equal tokens however the work is cut, and a request's fault stays its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny_llama
import torch
from tiny_llama import extend, generate, load, prompt

from colonnade.engine.folder import ModelFolder
from colonnade.engine.kernels import choice
from colonnade.engine.step import Admit, Chunk, Drawn, Step
from colonnade.engine.worker import ModelWorker, load_worker
from colonnade.wire.errors import BadModel, BadSetting
from colonnade.wire.messages import Sampling
from colonnade.wire.settings import EngineSettings

WARM = Sampling(
    seed=5, temperature=0.9, top_p=0.95, repetition_penalty=1.1, presence_penalty=0.1, frequency_penalty=0.1, logprobs=2
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama.make(tmp_path_factory.mktemp("worker"), max_position_embeddings=640).folder


@pytest.fixture
def worker(folder: Path) -> ModelWorker:
    return load(folder).worker


def sample(
    worker: ModelWorker, slot: int, tokens: list[int], count: int, chunk: int = 1000, page: int = 0
) -> list[Drawn]:
    """Drawn with WARM, one step each after the prompt's chunks."""
    drawn = [extend(worker, slot, tokens, WARM, chunk, page)]
    for at in range(len(tokens), len(tokens) + count - 1):
        drawn.append(worker.run(Step(0, (), (Chunk(slot, at, [page + at], True),))).drawn[0])
    return drawn


@pytest.fixture(scope="module")
def alone(folder: Path) -> list[Drawn]:
    """30 tokens after a prompt of 512, the prompt computed whole, nobody else there."""
    return sample(load(folder).worker, 0, prompt(512), 30)


@pytest.mark.parametrize("chunk", [1, 7, 64, 100, 511, 512])
@pytest.mark.parametrize("threads", [1, 2])
def test_chunks_change_nothing(folder: Path, alone: list[Drawn], chunk: int, threads: int) -> None:
    assert sample(load(folder, threads=threads).worker, 0, prompt(512), 30, chunk) == alone


def test_company_changes_nothing(folder: Path, alone: list[Drawn]) -> None:
    """Others decode, and a new one comes in with a chunk, in each step."""
    worker = load(folder, kv_tokens=40 * 640).worker
    tokens = prompt(512)
    for slot in range(1, 20):
        extend(worker, slot, prompt(20 + slot, seed=slot), first_page=slot * 640)
    drawn = [extend(worker, 0, tokens, WARM, 130)]
    for step in range(29):
        others = [
            Chunk(slot, 20 + slot + step, [slot * 640 + 20 + slot + step], True) for slot in range(1, 1 + step % 19)
        ]
        comes = Admit(30, prompt(step + 1), step + 1, [], WARM, 0)
        late = Chunk(30, 0, range(30 * 640, 30 * 640 + step + 1), step % 2 == 0)
        mine = Chunk(0, 512 + step, [512 + step], True)
        result = worker.run(Step(step, (comes,), (*others, mine, late)))
        assert result.number == step
        assert [d.slot for d in result.drawn] == [c.slot for c in (*others, mine, late) if c.sample]
        drawn.append(next(d for d in result.drawn if d.slot == 0))
    assert drawn == alone


def test_cached_pages_change_nothing(folder: Path, alone: list[Drawn]) -> None:
    """Another slot's pages hold the first 300 tokens of the prompt."""
    worker = load(folder).worker
    tokens = prompt(512)
    extend(worker, 9, tokens[:300], first_page=1000)
    admit = Admit(0, tokens, 512, range(1000, 1300), WARM, 0)
    first = worker.run(Step(0, (admit,), (Chunk(0, 300, range(300, 512), True),))).drawn[0]
    assert first == alone[0]


def test_replay_goes_on_where_the_stream_broke(folder: Path, alone: list[Drawn]) -> None:
    """History is the prompt and the first 12 tokens; penalties and noise count them as output."""
    worker = load(folder).worker
    history = prompt(512) + [drawn.token for drawn in alone[:12]]
    admit = Admit(3, history, 512, [], WARM, 0)
    assert worker.run(Step(0, (admit,), (Chunk(3, 0, range(524), True),))).drawn == (
        Drawn(3, alone[12].token, alone[12].logprob),
    )


def test_a_slot_is_used_again(worker: ModelWorker) -> None:
    expected = generate(worker, 0, prompt(20), 8)
    extend(worker, 0, prompt(90, seed=4), WARM)
    assert generate(worker, 0, prompt(20), 8) == expected


def test_choices_of_one_request_differ(worker: ModelWorker) -> None:
    tokens = prompt(30)
    drawn = set()
    for number in range(8):
        admit = Admit(number, tokens, 30, [], Sampling(seed=1, temperature=3.0), number)
        drawn.add(worker.run(Step(0, (admit,), (Chunk(number, 0, range(30), True),))).drawn[0].token)
    assert len(drawn) > 3


def test_steps_that_draw_nothing(worker: ModelWorker) -> None:
    assert worker.run(Step(3, (), ())).drawn == ()
    admit = Admit(0, prompt(10), 10, [], WARM, 0)
    assert worker.run(Step(4, (admit,), (Chunk(0, 0, range(5), False),))).drawn == ()


@pytest.mark.parametrize("token", [-1, 96, 2**40])
def test_a_strange_token_ends_its_request_alone(worker: ModelWorker, token: int) -> None:
    expected = generate(worker, 1, prompt(20), 1)[0]
    admits = (Admit(0, [1, token, 2], 3, [], WARM, 0), Admit(1, prompt(20), 20, [], tiny_llama.GREEDY, 0))
    chunks = (Chunk(0, 0, range(100, 103), True), Chunk(1, 0, range(20), True))
    strange, good = worker.run(Step(0, admits, chunks)).drawn
    assert strange.error == f"token id {token} is outside the vocabulary of 96"
    assert (good.token, good.error) == (expected, "")
    admit = Admit(0, [1, 2], 2, [], WARM, 0)
    assert not worker.run(Step(1, (admit,), (Chunk(0, 0, range(2), True),))).drawn[0].error


@pytest.mark.parametrize("kernels", ["native", "torch"])
def test_logits_that_are_no_numbers_end_their_request_alone(tmp_path: Path, kernels: str) -> None:
    tiny = tiny_llama.make(tmp_path, tie_word_embeddings=False)
    with torch.no_grad():
        tiny.model.model.embed_tokens.weight[7] = float("nan")
    tiny.model.save_pretrained(tmp_path)
    worker = load(tmp_path, kernels=kernels).worker
    admits = (Admit(0, [1, 7], 2, [], WARM, 0), Admit(1, [1, 6], 2, [], WARM, 0))
    bad, good = worker.run(Step(0, admits, (Chunk(0, 0, [0, 1], True), Chunk(1, 0, [2, 3], True)))).drawn
    assert "not finite" in bad.error
    assert good.error == ""


def test_what_a_worker_tells_about_itself(folder: Path, tmp_path: Path) -> None:
    phases: list[str] = []
    settings = EngineSettings(kernels="native", kv_tokens=1000, threads=1)
    loaded = load_worker(ModelFolder.open(folder), settings, phases.append, tmp_path)
    assert phases == ["kernels", "weights", "fingerprint", "cache", "warm"]
    assert loaded.facts["kernels"] in ("native-avx2", "native-portable")
    assert loaded.facts["batch_invariant"] is True
    assert (loaded.facts["device"], loaded.facts["dtype"], loaded.facts["quantisation"]) == ("cpu", "float32", "none")
    assert loaded.facts["threads"] == 1
    assert (loaded.pages, loaded.max_context, loaded.eos_token_ids) == (1000, 640, ())
    assert all(f"seconds_{phase}" in loaded.facts for phase in phases)
    assert loaded.fingerprint == load(folder, threads=2, kv_tokens=700).fingerprint
    assert load(folder, kernels="torch").fingerprint != loaded.fingerprint
    assert load(folder, kernels="torch").facts["batch_invariant"] is False


BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"dtype": "bfloat16"}, "bfloat16", "float32"),
    ({"device": "cuda", "kernels": "native"}, "CPU only", "cpu"),
    ({"device": "cuda", "kernels": "auto"}, "no CUDA device", "cpu"),
    ({"max_context": 641}, "641", "640"),
    ({"kv_tokens": 2**50}, "MiB are free", "kv_tokens"),
]


@pytest.mark.parametrize(("changes", "message", "hint"), BAD)
def test_settings_that_cannot_be_had(
    folder: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], message: str, hint: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BadSetting, match=message) as caught:
        load(folder, **changes)
    assert hint in caught.value.hint


def test_without_native_kernels_torch_computes(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(choice, "native_built", lambda: False)
    assert load(folder, kernels="auto").facts["kernels"] == "torch"
    assert len(caplog.records) == 1
    with pytest.raises(BadSetting, match="not built"):
        load(folder, kernels="native")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
        ({"num_attention_heads": 5}, "5 heads over 2"),
        ({"num_hidden_layers": 0}, "num_hidden_layers is 0"),
        ({"rope_parameters": {"rope_type": "mrope"}}, "'mrope'"),
        ({"quantization_config": {"quant_method": "fp8"}}, "quantization_config"),
        ({"intermediate_size": 89}, "config.json asks for"),
    ],
)
def test_configs_that_cannot_be_served(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    tiny_llama.make(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    (tmp_path / "config.json").write_text(json.dumps(config | changes), encoding="utf-8")
    with pytest.raises(BadModel, match=message):
        load(tmp_path)


def test_the_native_path_never_imports_torch(folder: Path) -> None:
    """Importing it takes longer than everything else at the start of an engine."""
    code = (
        "import sys; from colonnade.engine.folder import ModelFolder; from colonnade.engine.worker import load_worker; "
        "from colonnade.wire.settings import EngineSettings; "
        f"load_worker(ModelFolder.open({str(folder)!r}), EngineSettings(kernels='native')); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_tables_are_of_the_right_size(folder: Path) -> None:
    """The longest prompt fits, and the token after it."""
    worker = load(folder).worker
    assert not extend(worker, 39, prompt(640), first_page=2048 - 640).error
