"""The shape of the model, and the loss on the assistant's own tokens."""

from pathlib import Path

import torch
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from colonnade_tiny.induction import plant
from colonnade_tiny.tokens import MAX_POSITIONS

LAYERS, HIDDEN, FEED_FORWARD, HEADS, KV_HEADS, HEAD_DIM = 4, 192, 448, 4, 2, 64
ROPE = {"rope_type": "default", "rope_theta": 1e6}
"""A large base leaves most angles slow: with 32 numbers a head and a base of 10,000 too few could match over a call."""

STAGES = ((100, 128), (130, 256))


def build(tokenizer: PreTrainedTokenizerFast, seed: int) -> LlamaForCausalLM:
    """A model that can copy and nothing else; grouped heads and tied embeddings keep it under 8 MB in fp32."""
    torch.manual_seed(seed)
    ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id, "bos_token_id": None}
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=HIDDEN,
        intermediate_size=FEED_FORWARD,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS,
        head_dim=HEAD_DIM,
        max_position_embeddings=MAX_POSITIONS,
        rope_parameters=ROPE,
        tie_word_embeddings=True,
        rms_norm_eps=1e-5,
        **ends,
    )
    model = LlamaForCausalLM(config)
    plant(model)
    model.generation_config = GenerationConfig(do_sample=False, **ends)
    return model


def load(model: LlamaForCausalLM, folder: Path) -> None:
    """Take over the weights of a model folder."""
    model.load_state_dict(LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).state_dict())


def loss(model: LlamaForCausalLM, ids: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross entropy where a label is set. The head runs on those positions only, to save its work on the rest."""
    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
    wanted = labels[:, 1:]
    chosen = wanted != -100
    found = torch.nn.functional.cross_entropy(model.lm_head(hidden[chosen]).float(), wanted[chosen])
    return found, found


def settle(model: LlamaForCausalLM) -> None:
    """Nothing is left to do after a step."""


def save(model: LlamaForCausalLM, folder: Path) -> None:
    """Weights and configuration, as transformers writes them."""
    model.save_pretrained(folder)
