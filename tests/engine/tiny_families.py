"""Small random models of every family, made by transformers, as folders and as logits to compare with."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tiny_llama
import torch
import transformers
from safetensors.torch import load_file, save_file

from colonnade.wire.messages import Sampling

VOCABULARY = 96
DENSE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 48,
    "intermediate_size": 72,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 256,
    "initializer_range": 0.25,
    "eos_token_id": None,
    "bos_token_id": None,
    "pad_token_id": None,
}
LATENT: dict[str, Any] = {
    "head_dim": ...,  # transformers would take it for the turned part's
    "num_key_value_heads": 6,
    "q_lora_rank": 20,
    "kv_lora_rank": 24,
    "qk_nope_head_dim": 10,
    "qk_rope_head_dim": 6,
    "v_head_dim": 12,
    "n_routed_experts": 12,
    "num_experts_per_tok": 3,
    "moe_intermediate_size": 20,
    "first_k_dense_replace": 1,
    "n_group": 4,
    "topk_group": 2,
    "routed_scaling_factor": 2.5,
}
"""Latent attention and experts in groups, over `DENSE`."""


@dataclass(frozen=True)
class Tiny:
    folder: Path
    model: Any

    def logprobs(self, tokens: list[int]) -> np.ndarray:
        """[T, V] in float64, by transformers, in one pass without a cache."""
        with torch.inference_mode():
            logits = self.model(torch.tensor([tokens]), use_cache=False).logits[0]
        return torch.log_softmax(logits.double(), -1).numpy()


def make(folder: Path, family: str, shards: str = "5GB", dtype: torch.dtype = torch.float32, **config: Any) -> Tiny:
    """`family`: the prefix of transformers' classes, as in Qwen2. Norms and biases are made to matter.

    `dtype`: what the checkpoint stores; the reference computes in float32 with exactly those weights.
    """
    torch.manual_seed(20)
    config = DENSE | config
    made = getattr(transformers, f"{family}Config")(**{key: value for key, value in config.items() if value is not ...})
    model = getattr(transformers, f"{family}ForCausalLM")(made).eval()
    with torch.no_grad():
        for name, values in [*model.named_parameters(), *model.named_buffers()]:
            if "norm" in name or "bias" in name:
                values.add_(0.2 * torch.randn_like(values))
            elif name.endswith("gate.weight"):
                values.copy_(0.5 * torch.randn_like(values))
    model.to(dtype).save_pretrained(folder, max_shard_size=shards)
    model.float()
    (folder / "tokenizer.json").write_text("{}", encoding="utf-8")
    return Tiny(folder, model)


def parity(tiny: Tiny, kernels: str, lengths: tuple[int, ...] = (70,), count: int = 16, **settings: Any) -> float:
    """Greedy tokens equal where the reference's margin exceeds 1e-3; the largest difference of a log-probability.

    The tokens are ours, fed back; each is judged by the reference's whole sequence.
    """
    worker = tiny_llama.load(tiny.folder, kernels=kernels, **settings).worker
    worst = 0.0
    for slot, length in enumerate(lengths):
        prompt, first_page = tiny_llama.prompt(length, seed=length, vocab=VOCABULARY), 300 * slot
        drawn = tiny_llama.extend(
            worker, slot, prompt, Sampling(temperature=0.0, logprobs=20), chunk=37, first_page=first_page
        )
        tokens = tiny_llama.generate(worker, slot, prompt, count, first_page)
        expected = tiny.logprobs(prompt + tokens)
        _judge(tokens, expected[length - 1 : -1])
        worst = max(worst, *(abs(value - expected[length - 1, token]) for token, value in drawn.logprob.top))
    return worst


def _judge(tokens: list[int], expected_TV: np.ndarray) -> None:
    for token, row_V in zip(tokens, expected_TV, strict=True):
        margin = row_V.max() - row_V[token]
        assert margin <= 1e-3, f"token {token} is {margin} below {row_V.argmax()}"


def quantise(tiny: Tiny, folder: Path, exponents: bool = False) -> Tiny:
    """The model in 8-bit floats by block as DeepSeek publishes it, and the reference with exactly those weights.

    Embeddings, head, norms, biases and routers stay as they are. `exponents`: scales are powers of two, in 8 bits.
    """
    stored: dict[str, torch.Tensor] = {}
    for name, values in load_file(tiny.folder / "model.safetensors").items():
        kept = values.dim() < 2 or name.startswith(("lm_head", "model.embed")) or name.endswith("gate.weight")
        stored |= {name: values} if kept else _quantised(name, values, exponents)
    config = json.loads((tiny.folder / "config.json").read_text(encoding="utf-8"))
    about = {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": [128, 128]}
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": about}), encoding="utf-8")
    (folder / "tokenizer.json").write_text("{}", encoding="utf-8")
    save_file(stored, folder / "model.safetensors", {"format": "pt"})
    return Tiny(folder, tiny.model)


def _quantised(name: str, values: torch.Tensor, exponents: bool) -> dict[str, torch.Tensor]:
    rows, columns = values.shape
    padded = torch.nn.functional.pad(values, (0, -columns % 128, 0, -rows % 128))
    blocks = padded.unflatten(0, (-1, 128)).unflatten(2, (-1, 128))
    scales = blocks.abs().amax((1, 3)) / 448
    scales = torch.exp2(scales.log2().ceil()) if exponents else scales
    codes = (blocks / scales[:, None, :, None]).flatten(2).flatten(0, 1)[:rows, :columns].to(torch.float8_e4m3fn)
    kept = scales.to(torch.float8_e8m0fnu) if exponents else scales
    return {name: codes, f"{name}_scale_inv": kept}


def dequantise(tiny: Tiny, folder: Path) -> Tiny:
    """The same model with its 8-bit weights written out in float32, as a folder and as a reference."""
    stored, plain = load_file(tiny.folder / "model.safetensors"), {}
    for name, values in stored.items():
        if name.endswith("_scale_inv"):
            continue
        scales = stored.get(f"{name}_scale_inv")
        if scales is not None:
            wide = scales.float().repeat_interleave(128, 0)[: len(values)].repeat_interleave(128, 1)
            values = values.float() * wide[:, : values.shape[1]]
        plain[name] = values
    config = json.loads((tiny.folder / "config.json").read_text(encoding="utf-8"))
    del config["quantization_config"]
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "tokenizer.json").write_text("{}", encoding="utf-8")
    save_file(plain, folder / "model.safetensors", {"format": "pt"})
    return Tiny(folder, type(tiny.model).from_pretrained(folder).eval())
