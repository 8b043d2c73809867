"""The shape of the model, and its two losses: of the next token, and of the one after that."""

import torch
from colonnade_tiny.tokens import MAX_POSITIONS
from torch import Tensor, nn
from torch.nn import functional
from transformers import DeepseekV3Config, PreTrainedTokenizerFast

from colonnade_tiny_moe.induction import plant
from colonnade_tiny_moe.layers import Ahead, Block, Router, turns

AHEAD_WEIGHT, AHEAD_EVERY = 0.3, 2
"""Weight of the loss of the token after the next, and how many steps go by between two that take it in."""
BALANCE = 0.001
"""How far a router's bias moves in a step."""


def shape(tokenizer: PreTrainedTokenizerFast) -> DeepseekV3Config:
    """Every part of DeepSeek-V3 at the least size: latents of queries and keys, groups, a dense layer, an MTP layer."""
    return DeepseekV3Config(
        vocab_size=len(tokenizer),
        hidden_size=192,
        intermediate_size=384,
        moe_intermediate_size=96,
        num_hidden_layers=4,
        num_nextn_predict_layers=1,
        first_k_dense_replace=1,
        num_attention_heads=4,
        num_key_value_heads=4,
        n_routed_experts=8,
        n_shared_experts=1,
        num_experts_per_tok=2,
        scoring_func="sigmoid",
        topk_method="noaux_tc",
        moe_layer_freq=1,
        n_group=4,
        topk_group=2,
        norm_topk_prob=True,
        routed_scaling_factor=2.0,
        q_lora_rank=96,
        kv_lora_rank=128,
        qk_nope_head_dim=32,
        qk_rope_head_dim=32,
        v_head_dim=64,
        max_position_embeddings=MAX_POSITIONS,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        rope_interleave=True,
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )


class Trunk(nn.Module):
    """Embedding, layers, norm; the layer behind the last is the MTP layer."""

    def __init__(self, config: DeepseekV3Config) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        blocks = [Block(config, layer) for layer in range(config.num_hidden_layers)]
        self.layers = nn.ModuleList([*blocks, Ahead(config)])
        self.norm = nn.RMSNorm(config.hidden_size, config.rms_norm_eps)


class Network(nn.Module):
    """The model as it is trained. The head is the embedding."""

    def __init__(self, config: DeepseekV3Config) -> None:
        super().__init__()
        self.config = config
        self.model = Trunk(config)
        self.steps = 0

    def hidden(self, ids_BT: Tensor) -> Tensor:
        """What the head reads, [B, T, D]."""
        x = self.model.embed_tokens(ids_BT)
        turned = turns(self.config, ids_BT.shape[1], x.device)
        for layer in self.model.layers[:-1]:
            x = layer(x, turned)
        return self.model.norm(x)

    def ahead(self, ids_BT: Tensor, hidden_BTD: Tensor, kept: Tensor) -> Tensor:
        """What the head reads of the token after the next, [N, D], where `kept` [B, T - 1] says so."""
        embedded = self.model.embed_tokens(ids_BT[:, 1:])
        turned = turns(self.config, embedded.shape[1], embedded.device)
        return self.model.layers[-1].ahead(embedded, hidden_BTD[:, :-1], turned, kept)

    def logits(self, read: Tensor) -> Tensor:
        """[..., V]"""
        return functional.linear(read, self.model.embed_tokens.weight)


def build(tokenizer: PreTrainedTokenizerFast, seed: int) -> Network:
    """A model that can copy and nothing else."""
    torch.manual_seed(seed)
    network = Network(shape(tokenizer))
    plant(network)
    return network


def loss(network: Network, ids: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """What to descend, and the loss of the next token alone to report."""
    hidden = network.hidden(ids)
    wanted = labels[:, 1:]
    chosen = wanted != -100
    first = functional.cross_entropy(network.logits(hidden[:, :-1][chosen]), wanted[chosen])
    network.steps += 1
    if network.steps % AHEAD_EVERY:
        return first, first
    return first + AHEAD_WEIGHT * ahead_loss(network, ids, labels, hidden), first


def ahead_loss(network: Network, ids: Tensor, labels: Tensor, hidden: Tensor) -> Tensor:
    """Cross entropy of the token after the next."""
    kept = guessable(labels)
    return functional.cross_entropy(network.logits(network.ahead(ids, hidden, kept)), labels[:, 2:][kept[:, :-1]])


def guessable(labels: Tensor) -> Tensor:
    """[B, T - 1]: where the next token and the one after that are the assistant's own."""
    return functional.pad((labels[:, 1:-1] != -100) & (labels[:, 2:] != -100), (0, 1))


def balance(network: Network) -> None:
    """After each step: routers that had tokens move their biases."""
    for router in network.modules():
        if isinstance(router, Router) and router.load.any():
            router.balance(BALANCE)
