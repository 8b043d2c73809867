"""The layers of DeepSeek-V3 (arXiv 2412.19437, section 2.1), made to train fast on one CPU thread.

Parameters are named as DeepSeek publishes them. Only the experts differ: those of a layer are three stacks [E, ...],
which `folder.py` cuts apart. The tokens are sorted by expert, so that each expert is one product a step.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import DeepseekV3Config

LATENT_EPSILON = 1e-6
"""Of the norms of the latents, whatever rms_norm_eps says, as in DeepSeek's code."""


def linear(width: int, out: int) -> nn.Linear:
    """A matrix without bias, with the usual small random weights."""
    made = nn.Linear(width, out, bias=False)
    nn.init.normal_(made.weight, std=0.02)
    return made


class Attention(nn.Module):
    """Multi-head latent attention over whole sequences: nothing is cached."""

    def __init__(self, config: DeepseekV3Config) -> None:
        super().__init__()
        self.heads, self.plain, self.turned = (
            config.num_attention_heads,
            config.qk_nope_head_dim,
            config.qk_rope_head_dim,
        )
        self.rank, self.value = config.kv_lora_rank, config.v_head_dim
        self.q_a_proj = linear(config.hidden_size, config.q_lora_rank)
        self.q_a_layernorm = nn.RMSNorm(config.q_lora_rank, LATENT_EPSILON)
        self.q_b_proj = linear(config.q_lora_rank, self.heads * (self.plain + self.turned))
        self.kv_a_proj_with_mqa = linear(config.hidden_size, self.rank + self.turned)
        self.kv_a_layernorm = nn.RMSNorm(self.rank, LATENT_EPSILON)
        self.kv_b_proj = linear(self.rank, self.heads * (self.plain + self.value))
        self.o_proj = linear(self.heads * self.value, config.hidden_size)

    def forward(self, x_BTD: Tensor, turns: tuple[Tensor, Tensor]) -> Tensor:
        """[B, T, D]; `turns`: cosines and sines, [T, turned / 2]."""
        rows, length, _ = x_BTD.shape
        q = self.q_b_proj(self.q_a_layernorm(self.q_a_proj(x_BTD))).view(rows, length, self.heads, -1).transpose(1, 2)
        q_plain, q_turned = q.split([self.plain, self.turned], -1)
        latent, key = self.kv_a_proj_with_mqa(x_BTD).split([self.rank, self.turned], -1)
        expanded = self.kv_b_proj(self.kv_a_layernorm(latent)).view(rows, length, self.heads, -1).transpose(1, 2)
        k_plain, v = expanded.split([self.plain, self.value], -1)
        k_turned = turn(key[:, None], turns).expand(-1, self.heads, -1, -1)
        q, k = torch.cat([q_plain, turn(q_turned, turns)], -1), torch.cat([k_plain, k_turned], -1)
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o_proj(mixed.transpose(1, 2).reshape(rows, length, -1))


def turn(x: Tensor, turns: tuple[Tensor, Tensor]) -> Tensor:
    """Rotary embedding of neighbouring pairs. The result lists all firsts, then all seconds: scores do not mind."""
    first, second = x.unflatten(-1, (-1, 2)).unbind(-1)
    cosines, sines = turns
    return torch.cat([first * cosines - second * sines, second * cosines + first * sines], -1)


def turns(config: DeepseekV3Config, length: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosines and sines of each position, [T, turned / 2]."""
    width = config.qk_rope_head_dim
    angles = config.rope_parameters["rope_theta"] ** (-torch.arange(0, width, 2, device=device) / width)
    turned = torch.arange(length, device=device)[:, None] * angles
    return turned.cos(), turned.sin()


class Mlp(nn.Module):
    """SwiGLU."""

    def __init__(self, hidden: int, width: int) -> None:
        super().__init__()
        self.gate_proj, self.up_proj, self.down_proj = (
            linear(hidden, width),
            linear(hidden, width),
            linear(width, hidden),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Any leading dimensions."""
        return self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))


class Router(nn.Module):
    """Sigmoid scores; a bias takes part in the choice and not in the weights. Keeps count of what it chose."""

    def __init__(self, config: DeepseekV3Config) -> None:
        super().__init__()
        self.config = config
        self.weight = nn.Parameter(torch.empty(config.n_routed_experts, config.hidden_size).normal_(std=0.02))
        self.register_buffer("e_score_correction_bias", torch.zeros(config.n_routed_experts))
        self.register_buffer("load", torch.zeros(config.n_routed_experts), persistent=False)

    def forward(self, x_ND: Tensor) -> tuple[Tensor, Tensor]:
        """The experts of each token and their weights, [N, K] both."""
        config = self.config
        scores_NE = functional.linear(x_ND, self.weight).sigmoid()
        chosen_NK = self._chosen(scores_NE.detach() + self.e_score_correction_bias)
        self.load += torch.bincount(chosen_NK.flatten(), minlength=config.n_routed_experts)
        picked_NK = scores_NE.gather(1, chosen_NK)
        return chosen_NK, picked_NK / picked_NK.sum(1, keepdim=True) * config.routed_scaling_factor

    def _chosen(self, biased_NE: Tensor) -> Tensor:
        config = self.config
        grouped_NGS = biased_NE.unflatten(1, (config.n_group, -1))
        best_NG = grouped_NGS.topk(2, -1).values.sum(-1)
        kept_NC = best_NG.topk(config.topk_group, -1).indices
        shut_NG = torch.ones_like(best_NG, dtype=torch.bool).scatter(1, kept_NC, False)
        open_NE = grouped_NGS.masked_fill(shut_NG[..., None], -torch.inf).flatten(1)
        return open_NE.topk(config.num_experts_per_tok, -1).indices

    @torch.no_grad()
    def balance(self, step: float) -> None:
        """Raise the bias of experts that had too little to do and lower the others' (section 2.1.2); count anew."""
        self.e_score_correction_bias += step * torch.sign(self.load.mean() - self.load)
        self.load.zero_()


class Stacks(nn.Module):
    """The experts of a layer: three stacks of matrices."""

    def __init__(self, count: int, hidden: int, width: int) -> None:
        super().__init__()
        self.gate_proj = nn.Parameter(torch.empty(count, width, hidden).normal_(std=0.02))
        self.up_proj = nn.Parameter(torch.empty(count, width, hidden).normal_(std=0.02))
        self.down_proj = nn.Parameter(torch.empty(count, hidden, width).normal_(std=0.02))

    def forward(self, x_ND: Tensor, chosen_NK: Tensor, weights_NK: Tensor) -> Tensor:
        """The weighted sum of each token's experts, [N, D]."""
        flat, (count, chosen) = chosen_NK.flatten(), chosen_NK.shape
        order = flat.argsort(stable=True)
        back = torch.empty_like(order).scatter(0, order, torch.arange(len(order), device=order.device))
        each_MD = Moved.apply(x_ND[:, None].expand(-1, chosen, -1).reshape(count * chosen, -1), order, back)
        parts = each_MD.split(torch.bincount(flat, minlength=len(self.gate_proj)).tolist())
        outs_MD = torch.cat([self._expert(expert, part) for expert, part in enumerate(parts)])
        outs_NKD = Moved.apply(outs_MD, back, order).view(count, chosen, -1)
        return (weights_NK[:, None] @ outs_NKD)[:, 0]

    def _expert(self, expert: int, x: Tensor) -> Tensor:
        gated = functional.silu(functional.linear(x, self.gate_proj[expert])) * functional.linear(
            x, self.up_proj[expert]
        )
        return functional.linear(gated, self.down_proj[expert])


class Moved(torch.autograd.Function):
    """Rows in another order. The gradient is one gather back; torch's own adds row by row."""

    @staticmethod
    def forward(context: torch.autograd.function.FunctionCtx, rows: Tensor, order: Tensor, back: Tensor) -> Tensor:
        """`rows[order]`; `back` undoes `order`."""
        context.back = back  # type: ignore[attr-defined]
        return rows.index_select(0, order)

    @staticmethod
    def backward(context: torch.autograd.function.FunctionCtx, gradient: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        """Of the rows alone."""
        return gradient.index_select(0, context.back), None, None  # type: ignore[attr-defined]


class Mixture(nn.Module):
    """The chosen experts, and beside them one that all tokens share."""

    def __init__(self, config: DeepseekV3Config) -> None:
        super().__init__()
        width = config.moe_intermediate_size
        self.gate = Router(config)
        self.experts = Stacks(config.n_routed_experts, config.hidden_size, width)
        self.shared_experts = Mlp(config.hidden_size, width * config.n_shared_experts)

    def forward(self, x: Tensor) -> Tensor:
        """Any leading dimensions."""
        flat = x.flatten(0, -2)
        return (self.experts(flat, *self.gate(flat)) + self.shared_experts(flat)).view_as(x)


class Block(nn.Module):
    """Attention, then a mixture; in the first layers a plain feed-forward part."""

    def __init__(self, config: DeepseekV3Config, layer: int) -> None:
        super().__init__()
        hidden, epsilon = config.hidden_size, config.rms_norm_eps
        dense = layer < config.first_k_dense_replace
        self.input_layernorm = nn.RMSNorm(hidden, epsilon)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = nn.RMSNorm(hidden, epsilon)
        self.mlp = Mlp(hidden, config.intermediate_size) if dense else Mixture(config)

    def forward(self, x_BTD: Tensor, turns: tuple[Tensor, Tensor], kept: Tensor | None = None) -> Tensor:
        """[B, T, D]; or [N, D] where `kept`, a mask [B, T], says which positions are wanted."""
        x = x_BTD + self.self_attn(self.input_layernorm(x_BTD), turns)
        x = x if kept is None else x[kept]
        return x + self.mlp(self.post_attention_layernorm(x))


class Ahead(Block):
    """The MTP layer (section 2.2): from what the trunk says of a token, and the next token, the one after that."""

    def __init__(self, config: DeepseekV3Config) -> None:
        super().__init__(config, config.num_hidden_layers)
        hidden, epsilon = config.hidden_size, config.rms_norm_eps
        self.enorm, self.hnorm = nn.RMSNorm(hidden, epsilon), nn.RMSNorm(hidden, epsilon)
        self.eh_proj = linear(2 * hidden, hidden)
        self.shared_head = nn.ModuleDict({"norm": nn.RMSNorm(hidden, epsilon)})

    def ahead(self, next_BTD: Tensor, hidden_BTD: Tensor, turns: tuple[Tensor, Tensor], kept: Tensor) -> Tensor:
        """What the head reads, [N, D]: `next_BTD` embeds the next token, `hidden_BTD` is what the trunk's head read."""
        joined = self.eh_proj(torch.cat([self.enorm(next_BTD), self.hnorm(hidden_BTD)], -1))
        return self.shared_head["norm"](self(joined, turns, kept))
