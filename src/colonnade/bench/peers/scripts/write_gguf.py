"""`python write_gguf.py FOLDER OUT KIND`: a model in the Hugging Face layout as GGUF; KIND is F32, F16 or Q8_0.

Runs where the package `gguf` is. Norms stay float32, as llama.cpp's own converter leaves them. Llama's queries and keys
are rotated by neighbours there and by halves here, so that their rows change places; Qwen3's stay.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tensors import load

Array = NDArray[Any]

BLOCK = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
OUTER = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}


def write(folder: Path, out: Path, kind: str) -> None:
    gguf: Any = importlib.import_module("gguf")
    config = json.loads((folder / "config.json").read_text())
    writer = gguf.GGUFWriter(str(out), config["model_type"])
    _facts(writer, config)
    writer.add_file_type(getattr(gguf.LlamaFileType, {"F32": "ALL_F32"}.get(kind, f"MOSTLY_{kind}")))
    _vocabulary(writer, folder, config["vocab_size"])
    for name, array in _tensors(load(folder / "model.safetensors"), config):
        wanted = gguf.GGMLQuantizationType["F32" if array.ndim == 1 else kind]
        stored = gguf.quants.quantize(array, wanted)
        writer.add_tensor(name, stored, raw_dtype=wanted)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _facts(writer: Any, config: Mapping[str, Any]) -> None:
    writer.add_vocab_size(config["vocab_size"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_rope_freq_base(float(config["rope_parameters"]["rope_theta"]))
    writer.add_layer_norm_rms_eps(float(config["rms_norm_eps"]))


def _vocabulary(writer: Any, folder: Path, size: int) -> None:
    """The peers are given token ids; what the ids spell matters to none of the figures."""
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    normal, control = 1, 3
    tokens, kinds = [f"[unused{number}]" for number in range(size)], [normal] * size
    for text, number in tokenizer["model"]["vocab"].items():
        tokens[number] = text
    for added in tokenizer["added_tokens"]:
        tokens[added["id"]], kinds[added["id"]] = added["content"], control
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in tokenizer["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(0)
    writer.add_add_bos_token(False)


def _tensors(weights: Mapping[str, Array], config: Mapping[str, Any]) -> Iterator[tuple[str, Array]]:
    for theirs, name in OUTER.items():
        if theirs in weights:
            yield name, weights[theirs]
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    for layer in range(config["num_hidden_layers"]):
        for theirs, name in BLOCK.items():
            array = weights.get(f"model.layers.{layer}.{theirs}.weight")
            if array is None:
                continue
            if name in heads and config["model_type"] == "llama":
                array = array.reshape(heads[name], 2, -1, array.shape[1]).swapaxes(1, 2).reshape(array.shape)
            yield f"blk.{layer}.{name}.weight", np.ascontiguousarray(array)


if __name__ == "__main__":
    write(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
