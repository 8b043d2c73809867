"""How weights lie in memory: bfloat16 as stored, 8-bit integers by wish, and their copy that the next start maps."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import tiny_families
import tiny_llama
import torch
from safetensors.torch import load_file, save_file
from tiny_llama import prompt

from colonnade.engine.folder import ModelFolder
from colonnade.engine.kernels.native import NativeKernels
from colonnade.engine.kernels.ops import Batch, Geometry
from colonnade.engine.models import rope
from colonnade.engine.repacked import Repacked
from colonnade.engine.step import Drawn
from colonnade.engine.worker import LoadedWorker, load_worker
from colonnade.wire.errors import BadSetting
from colonnade.wire.messages import Sampling
from colonnade.wire.settings import EngineSettings

ASKED = Sampling(temperature=0.0, logprobs=20)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("brief")
    return tiny_llama.make(made, dtype=torch.bfloat16, attention_bias=True, hidden_size=150).folder


def load(folder: Path, cache: Path | None = None, quantize: str = "int8", kernels: str = "native") -> LoadedWorker:
    settings = EngineSettings(kernels=kernels, quantize=quantize, kv_tokens=1000, threads=1)
    return load_worker(ModelFolder.open(folder), settings, cache=cache)


def drawn(loaded: LoadedWorker, length: int = 60) -> Drawn:
    """With log-probabilities, so that equal means equal to the bit."""
    return tiny_llama.extend(loaded.worker, 0, prompt(length), ASKED, chunk=25)


def test_bfloat16_gives_the_bits_of_the_same_weights_in_float32(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    wide = {name: values.float() for name, values in load_file(folder / "model.safetensors").items()}
    save_file(wide, tmp_path / "model.safetensors", {"format": "pt"})
    brief, widened = load(folder, quantize="none"), load(tmp_path, quantize="none")
    assert (brief.facts["weight_dtype"], widened.facts["weight_dtype"]) == ("bfloat16", "float32")
    assert all(drawn(brief, length) == drawn(widened, length) for length in (1, 4, 60, 200))


def test_what_is_rounded_is_said_and_has_a_fingerprint_of_its_own(folder: Path) -> None:
    plain, rounded = load(folder, quantize="none"), load(folder)
    assert (plain.facts["quantisation"], rounded.facts["quantisation"]) == ("none", "int8-g128")
    assert rounded.facts["weight_dtype"] == "int8"
    assert plain.fingerprint != rounded.fingerprint
    assert drawn(plain) != drawn(rounded)


def test_the_reference_computes_integers_too(folder: Path) -> None:
    native, torch_kernels = load(folder), load(folder, kernels="torch")
    assert torch_kernels.facts["quantisation"] == "int8-g128"
    ours, theirs = drawn(native), drawn(torch_kernels)
    assert ours.token == theirs.token
    assert ours.logprob is not None
    assert theirs.logprob is not None
    assert ours.logprob.logprob == pytest.approx(theirs.logprob.logprob, abs=0.02)


def test_8_bit_floats_are_not_rounded_again(tmp_path: Path) -> None:
    tiny = tiny_families.make(tmp_path / "plain", "Qwen3")
    narrow = tiny_families.quantise(tiny, tmp_path / "narrow")
    with pytest.raises(BadSetting, match="8-bit floats already") as caught:
        load(narrow.folder)
    assert "quantize" in caught.value.hint


def test_integers_are_refused_on_a_gpu(folder: Path) -> None:
    with pytest.raises(BadSetting, match="CPU only"):
        tiny_llama.load(folder, quantize="int8", device="cuda", kernels="torch")


def test_keys_and_values_in_float16_take_half_the_memory_and_are_said(folder: Path) -> None:
    wide, half = (tiny_llama.load(folder, kv_dtype=kv_dtype) for kv_dtype in ("float32", "float16"))
    assert (wide.facts["kv_dtype"], half.facts["kv_dtype"]) == ("float32", "float16")
    assert wide.facts["kv_bytes_per_token"] == 2 * int(half.facts["kv_bytes_per_token"])
    assert wide.fingerprint != half.fingerprint
    ours, theirs = drawn(wide), drawn(half)
    assert ours != theirs
    assert ours.logprob is not None
    assert theirs.logprob is not None
    assert ours.logprob.logprob == pytest.approx(theirs.logprob.logprob, abs=0.02)


@pytest.mark.parametrize("instructions", ["avx2", "portable"])
def test_every_float16_is_rounded_and_widened_as_numpy_does(instructions: str) -> None:
    """A value that attention over one key gives back: the stored one."""
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)
    finite = every[np.isfinite(every)]
    between = (finite[:-1] + finite[1:]) / 2
    values = np.concatenate([finite, between, np.nextafter(between, np.float32(np.inf)), [65519.9, 65520.0, 1e9]])
    dim = 256
    shape = Geometry(1, 1, 1, dim, 4, *rope.tables({}, dim, 4), kv_dtype="float16")
    kernels = NativeKernels(1, instructions)
    stored = list(np.resize(values, (-(-len(values) // dim), dim)).astype(np.float32))
    table = kernels.matrix([np.array([np.concatenate([np.zeros(2 * dim), row]) for row in stored], np.float32)])
    program = kernels.program(lambda ops: ops.sampled(ops.attend(ops.rope_store(ops.embed(table), 0), 0)), shape)
    zero = np.zeros(1, np.int32)
    for number, row in enumerate(stored):
        got = program.run(Batch(np.array([number], np.int32), zero, zero, np.zeros((1, 4), np.int32), zero))[0]
        with np.errstate(over="ignore"):
            wanted = row.astype(np.float16).astype(np.float32)
        assert np.array_equal(got, wanted), np.flatnonzero(got != wanted)


def copy_of(cache: Path) -> Path:
    (file,) = (cache / "int8").iterdir()
    return file


def test_the_copy_is_mapped_at_the_next_start(folder: Path, tmp_path: Path) -> None:
    first = drawn(load(folder, tmp_path))
    file = copy_of(tmp_path)
    written = file.stat()
    again = load(folder, tmp_path)
    assert file.stat().st_mtime_ns == written.st_mtime_ns
    assert drawn(again) == first == drawn(load(folder))
    assert str(file) in Path("/proc/self/maps").read_text(encoding="utf-8")


@pytest.mark.parametrize("harm", ["a byte", "half", "empty", "no header"])
def test_a_copy_that_is_not_whole_is_made_anew(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, harm: str
) -> None:
    first = drawn(load(folder, tmp_path))
    file = copy_of(tmp_path)
    whole = file.read_bytes()
    changed = bytearray(whole)
    changed[len(whole) // 2] ^= 1
    broken = {"a byte": bytes(changed), "half": whole[: len(whole) // 2], "empty": b"", "no header": b"\xff" * 4000}
    file.unlink()
    file.write_bytes(broken[harm])
    with caplog.at_level(logging.WARNING):
        assert drawn(load(folder, tmp_path)) == first
    assert "made anew" in caplog.text
    assert file.read_bytes() == whole


def test_a_copy_of_another_model_is_not_taken(folder: Path, tmp_path: Path) -> None:
    load(folder, tmp_path)
    file = copy_of(tmp_path)
    assert Repacked(file, file.stem).found
    assert not Repacked(file, "another").found


def test_a_copy_that_cannot_be_kept_is_no_hindrance(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "int8").write_text("a file where a folder should be", encoding="utf-8")
    with caplog.at_level(logging.WARNING):
        assert drawn(load(folder, tmp_path)) == drawn(load(folder))
    assert "could not be kept" in caplog.text
