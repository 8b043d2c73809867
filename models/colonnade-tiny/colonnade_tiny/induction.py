"""A first guess at the weights that can already copy: an induction head, planted by hand.

Copying a name out of a request is what the jobs are made of, and what a model this small did not find by itself within
the minutes it is given: with random weights the loss on "say these random tokens again" stood at 4.8 after 400 steps,
with these at 0.4. Nothing is frozen; training changes every number.

How the head works (Olsson et al. 2022, "In-context Learning and Induction Heads"), in two layers:

    layer 0, first group   attends to the token before, whatever it is: query and key read only a number that every
                           embedding shares, and the key is turned ahead by one position of the rotary embedding.
                           It writes a short code of that token into dimensions that nothing else uses.
    layer 1, first head    looks for the position whose code is that of the present token, by the slow angles of the
                           rotary embedding, which hardly turn over a few hundred positions, and writes the token
                           found there.
"""

import math

import torch
from torch import Tensor
from transformers import LlamaForCausalLM

CODE = 32
"""Numbers in the code of a token; also the slow angles (two numbers each) that the search uses."""
SPREAD, SHARED = 0.05, 0.25
"""Embeddings: spread of the token's own numbers, and the number that all share."""
FAST, SHARPNESS = 6, 6.5
"""Angles that tell one position from the next, and how loudly they speak."""
SEARCH, WRITE_CODE, WRITE_TOKEN = 8.0, 0.12, 4.0
QUIET = 0.1
"""What is left of the random weights beside the planted ones."""


@torch.no_grad()
def plant(model: LlamaForCausalLM) -> None:
    """Overwrite the embedding and parts of the first two layers. Needs two layers and a head of at least 32."""
    config = model.config
    own = config.hidden_size - 1 - CODE  # the token's own dimensions; then the shared one; then the code
    embeddings(model.model.embed_tokens.weight, own)
    rms = math.sqrt((own * SPREAD**2 + SHARED**2) / config.hidden_size)
    encode = torch.randn(CODE, own) / math.sqrt(own) * rms / SPREAD
    _previous_token(model, own, SHARED / rms, encode)
    _search(model, own, encode, SPREAD / rms)


def embeddings(weight: Tensor, own: int) -> None:
    """Own numbers at random, one number that all share, and nothing yet where codes go."""
    weight[:, :own].normal_(std=SPREAD)
    weight[:, own] = SHARED
    weight[:, own + 1 :] = 0


def _previous_token(model: LlamaForCausalLM, own: int, shared: float, encode: Tensor) -> None:
    config, attention = model.config, model.model.layers[0].self_attn
    width, half = config.head_dim, config.head_dim // 2
    angle = _angles(model)[:FAST]
    for head in range(config.num_attention_heads // config.num_key_value_heads):
        query = attention.q_proj.weight[head * width : (head + 1) * width].mul_(QUIET)
        query[:FAST, own] = SHARPNESS / shared
    key = attention.k_proj.weight[:width].mul_(QUIET)
    key[:FAST, own] = SHARPNESS / shared * torch.cos(angle)
    key[half : half + FAST, own] = SHARPNESS / shared * torch.sin(angle)
    value = attention.v_proj.weight[:width].mul_(QUIET)
    value[:CODE, :own] = encode
    attention.o_proj.weight[:, :width] *= QUIET
    attention.o_proj.weight[own + 1 :, :CODE] = torch.eye(CODE) * WRITE_CODE


def _search(model: LlamaForCausalLM, own: int, encode: Tensor, spread: float) -> None:
    width, half = model.config.head_dim, model.config.head_dim // 2
    attention = model.model.layers[1].self_attn
    slow = torch.arange(half - CODE // 2, half)
    rows = torch.cat([slow, slow + half])
    attention.q_proj.weight[:width] *= QUIET
    attention.q_proj.weight[rows, :own] = encode * SEARCH
    attention.k_proj.weight[:width] *= QUIET
    attention.k_proj.weight[rows, torch.arange(own + 1, own + 1 + CODE)] = 1.0
    keep = torch.linalg.qr(torch.randn(own, width))[0].T  # as much of a token as one head can carry
    attention.v_proj.weight[:width, :own] = keep * 0.5 / spread
    attention.o_proj.weight[:own, :width] = keep.T * WRITE_TOKEN


def _angles(model: LlamaForCausalLM) -> Tensor:
    """Turn per position, in radians, fastest first."""
    half = model.config.head_dim // 2
    return model.config.rope_parameters["rope_theta"] ** (-torch.arange(half) / half)
