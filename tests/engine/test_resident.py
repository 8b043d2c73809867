"""The model in memory: other weights in place, sleep and waking; whatever fails changes nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tiny_llama
from safetensors.numpy import load_file, save_file
from tiny_llama import generate, load, prompt

from colonnade.engine.worker import LoadedWorker
from colonnade.wire.errors import BadModel, BadSetting


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama.make(tmp_path_factory.mktemp("resident") / "old").folder


def altered(folder: Path, to: Path, change: Callable[[dict[str, np.ndarray]], None]) -> Path:
    """A copy with other weights."""
    shutil.copytree(folder, to)
    tensors = {name: values.copy() for name, values in load_file(folder / "model.safetensors").items()}
    change(tensors)
    save_file(tensors, to / "model.safetensors")
    return to


def louder(tensors: dict[str, np.ndarray]) -> None:
    for name in tensors:
        tensors[name] = np.ascontiguousarray(tensors[name][..., ::-1] * 1.1).astype(np.float32)


def said(loaded: LoadedWorker) -> list[int]:
    return generate(loaded.worker, 0, prompt(20), 12)


@pytest.mark.parametrize("kernels", ["native", "torch"])
def test_after_an_update_it_is_as_if_started_with_the_new_weights(folder: Path, tmp_path: Path, kernels: str) -> None:
    other = altered(folder, tmp_path / "new", louder)
    loaded, fresh = load(folder, kernels=kernels), load(other, kernels=kernels)
    before = said(loaded)
    loaded.resident.update(str(other))
    assert loaded.resident.fingerprint == fresh.fingerprint != loaded.fingerprint
    assert said(loaded) == said(fresh) != before
    loaded.resident.update(str(folder))
    assert said(loaded) == before
    assert loaded.resident.fingerprint == loaded.fingerprint


def lose(tensors: dict[str, np.ndarray]) -> None:
    del tensors["model.norm.weight"]


def spoil(tensors: dict[str, np.ndarray]) -> None:
    tensors["model.norm.weight"][0] = np.nan


def grow(tensors: dict[str, np.ndarray]) -> None:
    tensors["model.norm.weight"] = np.zeros(49, np.float32)


@pytest.mark.parametrize(
    ("change", "named"), [(lose, "model.norm.weight"), (spoil, "no numbers"), (grow, "model.norm.weight")]
)
def test_weights_that_cannot_be_computed_with_change_nothing(
    folder: Path, tmp_path: Path, change: Callable[[dict[str, np.ndarray]], None], named: str
) -> None:
    loaded = load(folder)
    before = said(loaded)
    with pytest.raises(BadModel, match=named):
        loaded.resident.update(str(altered(folder, tmp_path / "bad", change)))
    assert (said(loaded), loaded.resident.fingerprint) == (before, loaded.fingerprint)


def test_another_model_is_refused_before_its_weights_are_read(folder: Path, tmp_path: Path) -> None:
    loaded = load(folder)
    config = json.loads((folder / "config.json").read_text())
    for key, value in (("hidden_size", 96), ("rms_norm_eps", 0.5), ("architectures", ["Qwen2ForCausalLM"])):
        other = shutil.copytree(folder, tmp_path / key)
        (other / "config.json").write_text(json.dumps(config | {key: value}))
        (other / "model.safetensors").write_bytes(b"never read")
        with pytest.raises(BadModel, match=key):
            loaded.resident.update(str(other))
    other = shutil.copytree(folder, tmp_path / "words")
    (other / "tokenizer.json").write_text('{"other": 1}')
    with pytest.raises(BadModel, match=r"tokenizer\.json"):
        loaded.resident.update(str(other))
    with pytest.raises(BadModel, match="neither a folder"):
        loaded.resident.update(str(tmp_path / "nowhere"))


def test_a_checkpoint_that_says_the_same_in_other_words_is_taken(folder: Path, tmp_path: Path) -> None:
    other = shutil.copytree(folder, tmp_path / "same")
    config = json.loads((folder / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"transformers_version": "0", "_name_or_path": "x"}))
    loaded = load(folder)
    before = said(loaded)
    loaded.resident.update(str(other))
    assert said(loaded) == before


@pytest.mark.parametrize("kernels", ["native", "torch"])
def test_rounded_activations_are_refused_beside_integers(folder: Path, kernels: str) -> None:
    """With what to do instead."""
    with pytest.raises(BadSetting, match="under quantize int8 they are 16-bit integers") as caught:
        load(folder, kernels=kernels, round_activations=True, quantize="int8")
    assert caught.value.hint == "leave round_activations off, or set quantize to none"


@pytest.mark.parametrize("kernels", ["native", "torch"])
def test_half_as_wide_a_cache_is_forgotten_and_made_again(folder: Path, kernels: str) -> None:
    """What a request reads after it is what it wrote itself: nothing is left of other sizes or of before."""
    loaded = load(folder, kernels=kernels, kv_dtype="float16")
    before = said(loaded)
    assert loaded.facts["kv_dtype"] == "float16"
    for _ in range(2):
        loaded.resident.sleep(1)
        loaded.resident.wake()
        assert said(loaded) == before


@pytest.mark.parametrize("kernels", ["native", "torch"])
def test_it_wakes_as_it_fell_asleep(folder: Path, kernels: str) -> None:
    loaded = load(folder, kernels=kernels)
    before = said(loaded)
    for level in (1, 2):
        loaded.resident.sleep(level)
        loaded.resident.sleep(1)
        loaded.resident.wake()
        loaded.resident.wake()
        assert (said(loaded), loaded.resident.fingerprint) == (before, loaded.fingerprint)


def test_without_its_files_it_sleeps_on(folder: Path, tmp_path: Path) -> None:
    loaded = load(moved := shutil.copytree(folder, tmp_path / "here"))
    before = said(loaded)
    loaded.resident.sleep(2)
    moved.rename(tmp_path / "away")
    with pytest.raises(BadModel, match="here"):
        loaded.resident.wake()
    (tmp_path / "away").rename(moved)
    loaded.resident.wake()
    assert said(loaded) == before
