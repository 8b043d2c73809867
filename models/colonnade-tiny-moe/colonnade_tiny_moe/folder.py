"""The model as a folder: tensors named as DeepSeek publishes them, in bfloat16, each expert on its own."""

import re
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import DeepseekV3Config, GenerationConfig

from colonnade_tiny_moe.network import Network

WEIGHTS = "model.safetensors"
STACK = re.compile(r"(.*\.mlp\.experts)\.(gate_proj|up_proj|down_proj)")
KEPT_WHOLE = "e_score_correction_bias"
"""Stays float32, as published: it settles near ties."""


def published(network: Network) -> dict[str, Tensor]:
    """Tensors by published name. The MTP layer has the embedding again, as its own and as its head."""
    tensors: dict[str, Tensor] = {}
    for name, values in network.state_dict().items():
        stack = STACK.fullmatch(name)
        each = {f"{stack[1]}.{n}.{stack[2]}.weight": part for n, part in enumerate(values)} if stack else {name: values}
        tensors |= each
    last = f"model.layers.{network.config.num_hidden_layers}"
    for name in (f"{last}.embed_tokens.weight", f"{last}.shared_head.head.weight"):
        tensors[name] = tensors["model.embed_tokens.weight"]
    return {name: _stored(name, values) for name, values in tensors.items()}


def _stored(name: str, values: Tensor) -> Tensor:
    return values.detach().to(torch.float32 if name.endswith(KEPT_WHOLE) else torch.bfloat16, copy=True).contiguous()


def save(network: Network, folder: Path) -> None:
    """Configuration and weights."""
    folder.mkdir(parents=True, exist_ok=True)
    config = network.config
    config.architectures, config.dtype = ["DeepseekV3ForCausalLM"], torch.bfloat16
    config.save_pretrained(folder)
    ends = {"eos_token_id": config.eos_token_id, "pad_token_id": config.pad_token_id}
    GenerationConfig(do_sample=False, **ends).save_pretrained(folder)
    save_file(published(network), folder / WEIGHTS, {"format": "pt"})


def load(network: Network, folder: Path) -> None:
    """Take over the weights of a folder, widened to float32."""
    stored = load_file(folder / WEIGHTS)
    state: dict[str, Tensor] = {}
    for name in network.state_dict():
        stack = STACK.fullmatch(name)
        state[name] = (
            torch.stack([stored[f"{stack[1]}.{n}.{stack[2]}.weight"] for n in range(network.config.n_routed_experts)])
            if stack
            else stored[name]
        )
    network.load_state_dict({name: values.float() for name, values in state.items()})


def opened(folder: Path) -> Network:
    """The network of a folder, to score."""
    network = Network(DeepseekV3Config.from_pretrained(folder))
    load(network, folder)
    return network.eval()
