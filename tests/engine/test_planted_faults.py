"""Every way we know to spoil a model, one a row: each is refused before a weight is loaded, with the file or the key,
what it holds, and what would be accepted."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hollow
import pytest

from colonnade.engine.folder import ModelFolder
from colonnade.engine.loader import Weights
from colonnade.engine.models.registry import model_class
from colonnade.engine.prospect import Prospect
from colonnade.engine.worker import load_worker
from colonnade.wire.errors import BadModel
from colonnade.wire.settings import EngineSettings

SMALL: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}
WEIGHTS, Q = "model.safetensors", "model.layers.1.self_attn.q_proj.weight"
Spoil = Callable[[Path], object]


def config(**changes: Any) -> Spoil:
    def spoil(folder: Path) -> None:
        entries = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(entries | changes))

    return spoil


def text(file: str, content: str) -> Spoil:
    return lambda folder: (folder / file).write_text(content)


def without(file: str) -> Spoil:
    return lambda folder: (folder / file).unlink()


def tokenizer(**changes: Any) -> Spoil:
    return text("tokenizer.json", json.dumps(hollow.TOKENIZER | changes))


def tensors(kind: str = "F32", drop: str = "", **changes: tuple[int, ...]) -> Spoil:
    """Weights of other shapes, without one, with one more, or of another type."""

    def spoil(folder: Path) -> None:
        entries = json.loads((folder / "config.json").read_text())
        shapes = model_class("LlamaForCausalLM")(entries).expected()
        shapes |= {name.replace("__", "."): shape for name, shape in changes.items()}
        hollow.write(folder / WEIGHTS, {name: shape for name, shape in shapes.items() if name != drop}, kind)

    return spoil


def header(change: Callable[[dict[str, Any]], object]) -> Spoil:
    """The header of the weights, changed."""

    def spoil(folder: Path) -> None:
        content = (folder / WEIGHTS).read_bytes()
        length = int.from_bytes(content[:8], "little")
        entries = json.loads(content[8 : 8 + length])
        change(entries)
        fresh = json.dumps(entries).encode()
        (folder / WEIGHTS).write_bytes(len(fresh).to_bytes(8, "little") + fresh + content[8 + length :])

    return spoil


def cut(folder: Path) -> None:
    os.truncate(folder / WEIGHTS, (folder / WEIGHTS).stat().st_size - 1)


def shards(*there: str) -> Spoil:
    """An index of two shards, of which some are there, whole but for the last."""

    def spoil(folder: Path) -> None:
        entries = json.loads((folder / "config.json").read_text())
        shapes = model_class("LlamaForCausalLM")(entries).expected()
        (folder / WEIGHTS).unlink()
        place = {name: "b.safetensors" if name == Q else "a.safetensors" for name in shapes}
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": place}))
        for shard in there:
            hollow.write(folder / shard, {name: shape for name, shape in shapes.items() if place[name] == shard})
        if len(there) == 2:
            (folder / there[1]).write_bytes(b"\x10\0\0\0\0\0\0\0{")

    return spoil


def rope(**scaling: Any) -> Spoil:
    return config(rope_scaling=scaling)


FP8 = {"quant_method": "fp8", "weight_block_size": [128, 128]}

FAULTS: dict[str, tuple[Spoil, str, str]] = {
    "architecture": (config(architectures=["MambaForCausalLM"]), "unknown architecture 'MambaForCausalLM'", "Qwen3"),
    "no architecture": (config(architectures=None), "architectures is missing", "LlamaForCausalLM"),
    "config is no JSON": (text("config.json", "{"), "config.json cannot be read as JSON", "copy"),
    "no config": (without("config.json"), "config.json is missing", "tokenizer.json"),
    "no hidden size": (config(hidden_size=None), "hidden_size is None", "whole number"),
    "vocabulary of words": (config(vocab_size="many"), "vocab_size is 'many'", "whole number"),
    "activation": (config(hidden_act="gelu"), "hidden_act is 'gelu'", "silu"),
    "heads": (config(num_key_value_heads=3), "4 heads over 3 key-value heads", "a multiple"),
    "odd head": (config(head_dim=7), "dimension 7", "even head_dim"),
    "rope type": (rope(rope_type="spiral", factor=2.0), "rope scaling 'spiral'", "yarn"),
    "rope factor": (rope(rope_type="linear", factor=-1), "factor of the rope scaling is -1", "above 0"),
    "part of a head": (config(partial_rotary_factor=0.5), "partial_rotary_factor is set", "1.0"),
    "quantisation": (config(quantization_config={"quant_method": "gptq", "bits": 4}), "is 'gptq'", "fp8"),
    "other blocks": (config(quantization_config=FP8 | {"weight_block_size": [64, 64]}), "[64, 64]", "[128, 128]"),
    "quantised by accident": (tensors("BF8"), f"{WEIGHTS}: ", "BF16"),
    "8 bits without a word": (
        header(lambda entries: [entry.update(dtype="F8_E4M3") for entry in entries.values()]),
        "is not a whole safetensors file",
        "download",
    ),
    "no weights": (without(WEIGHTS), "holds no weights", "model.safetensors"),
    "missing shard": (shards("a.safetensors"), "missing shard b.safetensors", "download"),
    "corrupt shard": (shards("a.safetensors", "b.safetensors"), "b.safetensors is not a whole", "download"),
    "cut off": (cut, "is not a whole safetensors file", "download"),
    "empty weights": (text(WEIGHTS, ""), "is not a whole safetensors file", "download"),
    "a page of an error": (text(WEIGHTS, "<html>not found</html>"), "is not a whole safetensors file", "download"),
    "a pointer of Git LFS": (
        text(WEIGHTS, "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"),
        "`git lfs pull` fetches it",
        "download",
    ),
    "wrong shape": (tensors(**{Q.replace(".", "__"): (32, 31)}), f"{Q} has shape [32, 31]", "one model"),
    "missing tensor": (tensors(drop=Q), f"the first is {Q}", "one model"),
    "surplus tensor": (tensors(model__extra=(1,)), "model.extra", "another shape"),
    "offsets of another size": (
        header(lambda entries: entries[Q].update(data_offsets=entries["lm_head.weight"]["data_offsets"])),
        "is not a whole safetensors file",
        "download",
    ),
    "overlapping tensors": (
        header(lambda entries: entries[Q].update(data_offsets=entries[Q.replace("1", "0")]["data_offsets"])),
        "is not a whole safetensors file",
        "download",
    ),
    "no tokenizer": (without("tokenizer.json"), "holds no tokenizer.json", "AutoTokenizer"),
    "tokenizer is no JSON": (text("tokenizer.json", "{"), "tokenizer.json is not a tokenizer", "copy"),
    "tokenizer of another kind": (text("tokenizer.json", "[1]"), "tokenizer.json is not a tokenizer", "copy"),
    "larger tokenizer": (
        tokenizer(model={"type": "BPE", "vocab": {"a": 0, "far": 64}, "merges": []}),
        "token 'far' has the number 64, the embedding has 64 rows",
        "up to 63",
    ),
    "larger list": (
        tokenizer(model={"type": "Unigram", "vocab": [[f"t{n}", 0.0] for n in range(65)]}),
        "token 't64' has the number 64",
        "up to 63",
    ),
    "added token beyond": (
        tokenizer(added_tokens=[{"id": 99, "content": "<pad>"}]),
        "token '<pad>' has the number 99",
        "tokenizer.json and config.json must be of one model",
    ),
    "end beyond": (config(eos_token_id=[2, 64]), "config.json: eos_token_id 64 is outside", "0 to 63"),
    "end of the defaults beyond": (
        text("generation_config.json", '{"eos_token_id": 70}'),
        "generation_config.json: eos_token_id 70 is outside",
        "0 to 63",
    ),
    "end is a word": (config(eos_token_id=["</s>"]), "eos_token_id is ['</s>']", "whole number"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    hollow.make(tmp_path / "m", **SMALL)
    return tmp_path / "m"


def test_the_model_is_sound_before(folder: Path) -> None:
    Prospect.of(ModelFolder.open(folder))
    assert load_worker(ModelFolder.open(folder), EngineSettings(kernels="native", kv_tokens=64)).pages == 64


@pytest.mark.parametrize("name", list(FAULTS))
def test_a_fault_is_named_before_a_weight_is_loaded(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    spoil, message, hint = FAULTS[name]
    spoil(folder)
    monkeypatch.setattr(Weights, "__getitem__", lambda *_: pytest.fail("a weight was loaded"))
    with pytest.raises(BadModel) as caught:
        Prospect.of(ModelFolder.open(folder))
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_there_are_many() -> None:
    assert len(FAULTS) >= 30
