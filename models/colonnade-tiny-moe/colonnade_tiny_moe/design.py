"""What the training of colonnade-tiny takes from this model."""

from pathlib import Path

from torch import Tensor
from transformers import PreTrainedTokenizerFast

from colonnade_tiny_moe import folder as files
from colonnade_tiny_moe import network
from colonnade_tiny_moe.network import Network

STAGES = ((40, 128), (60, 256))
"""Sooner than colonnade-tiny: planted in latent attention, the head copies within the first 100 steps."""


def build(tokenizer: PreTrainedTokenizerFast, seed: int) -> Network:
    """A model that can copy and nothing else."""
    return network.build(tokenizer, seed)


def load(model: Network, folder: Path) -> None:
    """Take over the weights of a model folder."""
    files.load(model, folder)


def loss(model: Network, ids: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """What to descend, and the loss of the next token alone."""
    return network.loss(model, ids, labels)


def settle(model: Network) -> None:
    """Routers move their biases."""
    network.balance(model)


def save(model: Network, folder: Path) -> None:
    """Weights and configuration as DeepSeek publishes them."""
    files.save(model, folder)
