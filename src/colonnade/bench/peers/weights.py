"""The model that all are given, in the forms that they read: a folder of float32 weights, and GGUF made from it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from colonnade.bench.peers.environment import Unavailable, last_line
from colonnade.bench.peers.process import SCRIPTS
from colonnade.engine.folder import ModelFolder

RANDOM = "qwen3-0.6b"
"""A name that stands for random weights of that model's shape."""
SHAPE = {
    "architectures": ["Qwen3ForCausalLM"],
    "attention_bias": False,
    "dtype": "float32",
    "eos_token_id": 2,
    "head_dim": 128,
    "hidden_act": "silu",
    "hidden_size": 1024,
    "intermediate_size": 3072,
    "max_position_embeddings": 40960,
    "model_type": "qwen3",
    "num_attention_heads": 16,
    "num_hidden_layers": 28,
    "num_key_value_heads": 8,
    "pad_token_id": 0,
    "rms_norm_eps": 1e-06,
    "rope_parameters": {"rope_theta": 1000000.0, "rope_type": "default"},
    "tie_word_embeddings": True,
    "vocab_size": 151936,
}

Weights = dict[str, NDArray[np.float32]]


def folder(model: str, layers: int, scratch: Path) -> Path:
    """The model's folder; of the random one, written if it is not there yet. Raises BadModel."""
    if model != RANDOM:
        return ModelFolder.open(model).path
    path = scratch / f"{RANDOM}-{layers}"
    if not path.exists():
        part = path.with_name(f"{path.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        write_random(part, {**SHAPE, "num_hidden_layers": layers})
        part.rename(path)
    return path


def write_random(folder: Path, config: dict[str, object]) -> None:
    """Float32 numbers that float16 holds as well: a peer that reads no float32 gets the same ones."""
    from safetensors.numpy import save_file

    shipped = ModelFolder.open("colonnade-tiny").path
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copyfile(shipped / name, folder / name)
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    save_file(_random(config), folder / "model.safetensors", metadata={"format": "pt"})


def _random(config: dict[str, object]) -> Weights:
    random = np.random.default_rng(0)
    hidden, inner, dim, heads, kept, layers, size = (
        int(str(config[name]))
        for name in (
            "hidden_size",
            "intermediate_size",
            "head_dim",
            "num_attention_heads",
            "num_key_value_heads",
            "num_hidden_layers",
            "vocab_size",
        )
    )

    def drawn(*shape: int) -> NDArray[np.float32]:
        return (random.standard_normal(shape, dtype=np.float32) * 0.02).astype(np.float16).astype(np.float32)

    def ones(width: int) -> NDArray[np.float32]:
        return np.ones(width, dtype=np.float32)

    found: Weights = {"model.embed_tokens.weight": drawn(size, hidden), "model.norm.weight": ones(hidden)}
    for layer in range(layers):
        found |= {
            f"model.layers.{layer}.{name}.weight": value
            for name, value in {
                "input_layernorm": ones(hidden),
                "self_attn.q_proj": drawn(heads * dim, hidden),
                "self_attn.k_proj": drawn(kept * dim, hidden),
                "self_attn.v_proj": drawn(kept * dim, hidden),
                "self_attn.o_proj": drawn(hidden, heads * dim),
                "self_attn.q_norm": ones(dim),
                "self_attn.k_norm": ones(dim),
                "post_attention_layernorm": ones(hidden),
                "mlp.gate_proj": drawn(inner, hidden),
                "mlp.up_proj": drawn(inner, hidden),
                "mlp.down_proj": drawn(hidden, inner),
            }.items()
        }
    return found


def gguf(python: Path, model: Path, kind: str, scratch: Path, timeout: float) -> Path:
    """The model as GGUF, written by `python`'s gguf package if it is not there. Raises Unavailable."""
    stamp = (model / "model.safetensors").stat()
    out = scratch / f"{model.name}-{kind}-{stamp.st_size}-{stamp.st_mtime_ns}.gguf"
    if out.exists():
        return out
    part = out.with_suffix(".part")
    command = [python, SCRIPTS / "write_gguf.py", model, part, kind]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired as cause:
        raise Unavailable(f"its weights took longer than {timeout:g} s to write", hint="raise --timeout") from cause
    if done.returncode:
        raise Unavailable(f"its weights cannot be written: {last_line(done.stderr)}")
    return part.rename(out)
