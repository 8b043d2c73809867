"""A first guess at the weights that can already copy: colonnade-tiny's induction head, in latent attention.

    layer 0, head 0   attends to the token before: its turned query and the turned key read only the number that every
                      embedding shares, the key turned ahead by one position. Through the latent it writes a short code
                      of that token into dimensions that nothing else uses.
    layer 1, head 0   looks for the position whose code is that of the present token, by the plain part of query and
                      key, which knows no positions, and writes the token found there.

The latents are divided by their root mean square; `_size` foresees it, so that the planted numbers come out right.
"""

import math
from typing import TYPE_CHECKING

import torch
from colonnade_tiny.induction import CODE, QUIET, SHARED, SPREAD, embeddings
from torch import Tensor

from colonnade_tiny_moe.layers import Attention

if TYPE_CHECKING:
    from colonnade_tiny_moe.network import Network

FAST, SHARPNESS = 6, 7.5
"""Angles that tell one position from the next, and how loudly they speak."""
SEARCH, WRITE_CODE, WRITE_TOKEN = 5.7, 0.12, 4.0
KEPT = 64
"""How much of a token the search head carries: the width of its values."""


@torch.no_grad()
def plant(network: "Network") -> None:
    """Overwrite the embedding and parts of the first two layers."""
    config = network.config
    own = config.hidden_size - 1 - CODE  # the token's own dimensions; then the shared one; then the code
    embeddings(network.model.embed_tokens.weight, own)
    rms = math.sqrt((own * SPREAD**2 + SHARED**2) / config.hidden_size)
    encode = torch.randn(CODE, own) / math.sqrt(own) * rms / SPREAD
    angles = config.rope_parameters["rope_theta"] ** (-torch.arange(FAST) * 2 / config.qk_rope_head_dim)
    _previous_token(network.model.layers[0].self_attn, own, SHARED / rms, encode, angles)
    later = math.sqrt(rms**2 + CODE * WRITE_CODE**2 / config.hidden_size)
    _search(network.model.layers[1].self_attn, own, encode, rms / later, later)
    _pass_through(network)


def _previous_token(attention: Attention, own: int, shared: float, encode: Tensor, angles: Tensor) -> None:
    query, first, rank = attention.q_a_proj.weight, attention.plain, attention.rank
    query[0].zero_()[own] = 4.0 / shared
    q_b = attention.q_b_proj.weight[: first + attention.turned].mul_(QUIET)
    even = first + 2 * torch.arange(FAST)
    q_b[even, 0] = SHARPNESS / 4.0 * _size(query, 16.0, 1)
    down = attention.kv_a_proj_with_mqa.weight
    down[rank:] *= QUIET
    down[rank + 2 * torch.arange(FAST), own] = SHARPNESS / shared * torch.cos(angles)
    down[rank + 2 * torch.arange(FAST) + 1, own] = SHARPNESS / shared * torch.sin(angles)
    down[:CODE] = 0
    down[:CODE, :own] = encode
    values = attention.kv_b_proj.weight[first : first + attention.value].mul_(QUIET)
    values[:CODE, :CODE] = torch.eye(CODE) * _size(down[:rank], float(CODE), CODE)
    attention.o_proj.weight[:, : attention.value] *= QUIET
    attention.o_proj.weight[own + 1 :, :CODE] = torch.eye(CODE) * WRITE_CODE


def _search(attention: Attention, own: int, encode: Tensor, quieter: float, rms: float) -> None:
    query, down, plain, rank = (
        attention.q_a_proj.weight,
        attention.kv_a_proj_with_mqa.weight,
        attention.plain,
        attention.rank,
    )
    query[:CODE] = 0
    query[:CODE, :own] = encode / quieter
    attention.q_b_proj.weight[: plain + attention.turned] *= QUIET
    attention.q_b_proj.weight[:CODE, :CODE] = torch.eye(CODE) * SEARCH * _size(query, float(CODE), CODE)
    down[: CODE + KEPT] = 0
    down[torch.arange(CODE), torch.arange(own + 1, own + 1 + CODE)] = 1.0
    keep = torch.linalg.qr(torch.randn(own, KEPT))[0].T  # as much of a token as one head can carry
    down[CODE : CODE + KEPT, :own] = keep
    energy = CODE * (WRITE_CODE / rms) ** 2 + KEPT * (SPREAD / rms) ** 2
    size = _size(down[:rank], energy, CODE + KEPT)
    up = attention.kv_b_proj.weight[: plain + attention.value].mul_(QUIET)
    up[:CODE, :CODE] = torch.eye(CODE) * size
    up[plain:, CODE : CODE + KEPT] = torch.eye(KEPT) * size * 0.5 * rms / SPREAD
    attention.o_proj.weight[:own, : attention.value] = keep.T * WRITE_TOKEN


def _pass_through(network: "Network") -> None:
    """The MTP layer starts from the sum of what it is given, at the size of an embedding."""
    hidden = network.config.hidden_size
    network.model.layers[-1].eh_proj.weight += torch.cat([torch.eye(hidden), torch.eye(hidden)], 1) * SPREAD


def _size(matrix: Tensor, energy: float, planted: int) -> float:
    """Root mean square of a latent whose planted rows give `energy` in all, and the rest random numbers."""
    rest = matrix[planted:].square().sum().item()
    return math.sqrt((energy + rest) / len(matrix))
