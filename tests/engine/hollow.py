"""Models of any size that take no room on the disk: every weight is zero, and the files have holes in their place."""

from __future__ import annotations

import json
import os
from math import prod
from pathlib import Path
from typing import Any

from colonnade.engine.models.registry import model_class

WIDTHS = {"F32": 4, "BF16": 2, "F16": 2, "BF8": 1}
CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": 24_000,
    "hidden_size": 1024,
    "intermediate_size": 3072,
    "num_hidden_layers": 4,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": False,
    "eos_token_id": 2,
}
TOKENIZER = {"model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": []}, "added_tokens": []}


def make(folder: Path, kind: str = "F32", **changes: Any) -> int:
    """Bytes of all weights in float32."""
    config = CONFIG | changes
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text(json.dumps(TOKENIZER))
    shapes = model_class(config["architectures"][0])(config).expected()
    write(folder / "model.safetensors", shapes, kind)
    return sum(4 * prod(shape) for shape in shapes.values())


def write(file: Path, shapes: dict[str, tuple[int, ...]], kind: str = "F32") -> None:
    header: dict[str, Any] = {}
    end = 0
    for name, shape in shapes.items():
        begin, end = end, end + WIDTHS[kind] * prod(shape)
        header[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    with file.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        stream.flush()
        os.truncate(file, 8 + len(text) + end)
