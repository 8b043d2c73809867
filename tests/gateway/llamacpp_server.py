"""A real llama.cpp server over the shipped model: `python llamacpp_server.py FOLDER PORT`.

The model is written as GGUF (github.com/ggml-org/ggml, docs/gguf.md) to a new file, then served by the llama.cpp that
is inside the package xllamacpp, with one thread.
"""

from __future__ import annotations

import importlib
import json
import shutil
import struct
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

ALIGNMENT = 32
_UINT32, _FLOAT32, _BOOL, _STRING, _ARRAY = 4, 6, 7, 8, 9
NORMAL, CONTROL, UNUSED = 1, 3, 5


def write_gguf(folder: Path, out: Path) -> None:
    """A folder with a Llama of float32 weights and a byte-level BPE, in the Hugging Face layout."""
    config = json.loads((folder / "config.json").read_text())
    facts = {**_architecture(config), **_vocabulary(folder, config["vocab_size"])}
    tensors = dict(_tensors(load_file(folder / "model.safetensors"), config))
    head, offset = [b"GGUF", struct.pack("<IQQ", 3, len(tensors), len(facts))], 0
    head += [_string(name) + _value(value) for name, value in facts.items()]
    for name, array in tensors.items():
        shape = struct.pack(f"<I{array.ndim}Q", array.ndim, *reversed(array.shape))
        head.append(_string(name) + shape + struct.pack("<IQ", 0, offset))
        offset += _padded(array.nbytes)
    with out.open("wb") as file:
        file.write(b"".join(head))
        file.write(bytes(_padded(file.tell()) - file.tell()))
        for array in tensors.values():
            file.write(array.astype("<f4").tobytes())
            file.write(bytes(_padded(array.nbytes) - array.nbytes))


def _architecture(config: Mapping[str, Any]) -> dict[str, Any]:
    head = config["head_dim"]
    return {
        "general.architecture": "llama",
        "general.name": "colonnade-tiny",
        "general.alignment": ALIGNMENT,
        "llama.vocab_size": config["vocab_size"],
        "llama.context_length": config["max_position_embeddings"],
        "llama.embedding_length": config["hidden_size"],
        "llama.feed_forward_length": config["intermediate_size"],
        "llama.block_count": config["num_hidden_layers"],
        "llama.attention.head_count": config["num_attention_heads"],
        "llama.attention.head_count_kv": config["num_key_value_heads"],
        "llama.attention.key_length": head,
        "llama.attention.value_length": head,
        "llama.rope.dimension_count": head,
        "llama.rope.freq_base": float(config["rope_parameters"]["rope_theta"]),
        "llama.attention.layer_norm_rms_epsilon": float(config["rms_norm_eps"]),
    }


def _vocabulary(folder: Path, size: int) -> dict[str, Any]:
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokens = [f"[unused{number}]" for number in range(size)]
    kinds = [UNUSED] * size
    for text, number in tokenizer["model"]["vocab"].items():
        tokens[number], kinds[number] = text, NORMAL
    for added in tokenizer["added_tokens"]:
        tokens[added["id"]], kinds[added["id"]] = added["content"], CONTROL
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in tokenizer["model"]["merges"]]
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.merges": merges,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.padding_token_id": 0,
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.chat_template": (folder / "chat_template.jinja").read_text(),
    }


_BLOCK = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def _tensors(weights: Mapping[str, np.ndarray[Any, Any]], config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield "token_embd.weight", weights["model.embed_tokens.weight"]
    yield "output_norm.weight", weights["model.norm.weight"]
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    for layer in range(config["num_hidden_layers"]):
        for theirs, name in _BLOCK.items():
            array = weights[f"model.layers.{layer}.{theirs}.weight"]
            if name in heads:  # llama.cpp rotates neighbours, the Hugging Face layout halves
                array = array.reshape(heads[name], 2, -1, array.shape[1]).swapaxes(1, 2).reshape(array.shape)
            yield f"blk.{layer}.{name}.weight", array


def _value(value: Any) -> bytes:
    match value:
        case bool():
            return struct.pack("<IB", _BOOL, value)
        case int():
            return struct.pack("<II", _UINT32, value)
        case float():
            return struct.pack("<If", _FLOAT32, value)
        case str():
            return struct.pack("<I", _STRING) + _string(value)
        case _:
            kind = _STRING if isinstance(value[0], str) else 5  # 5: int32
            items = [_string(each) if kind == _STRING else struct.pack("<i", each) for each in value]
            return struct.pack("<IIQ", _ARRAY, kind, len(value)) + b"".join(items)


def _string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _padded(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def main() -> None:
    folder, port = Path(sys.argv[1]), int(sys.argv[2])
    model = Path(tempfile.mkdtemp(prefix="gguf-")) / "model.gguf"
    write_gguf(folder, model)
    xllamacpp: Any = importlib.import_module("xllamacpp")  # its types are in the library
    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.model_alias = {"colonnade-tiny"}
    params.port = port
    params.n_ctx, params.n_parallel, params.n_threads_http = 16384, 2, 4
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.endpoint_metrics = params.use_jinja = True
    params.warmup = False
    server = xllamacpp.Server(params)
    shutil.rmtree(model.parent)  # it is mapped
    sys.stdout.write(f"{server.listening_address}\n")
    sys.stdout.flush()
    threading.Event().wait()


if __name__ == "__main__":
    main()
