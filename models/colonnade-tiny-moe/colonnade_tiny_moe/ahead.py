"""Whether the MTP layer guesses what the trunk says next, over held-out answers as they should read."""

import torch
from colonnade_tiny.batches import Example, collate
from colonnade_tiny.corpus import heldout
from colonnade_tiny.tokens import encode
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from colonnade_tiny_moe.network import Network, guessable

ROWS = 16


def agreed(network: Network, tokenizer: PreTrainedTokenizerFast, seed: int, job: str, count: int) -> tuple[int, int]:
    """How many guesses equal the trunk's greedy token, of how many, in `count` held-out conversations of a job."""
    examples = sorted((encode(tokenizer, each) for each in heldout(seed, job, count)), key=lambda each: len(each[0]))
    parts = [_batch(network, examples[start : start + ROWS]) for start in range(0, len(examples), ROWS)]
    same = torch.cat(parts)
    return int(same.sum()), len(same)


@torch.inference_mode()
def _batch(network: Network, examples: list[Example]) -> Tensor:
    """One truth value for each guess."""
    ids, labels = collate(examples)
    hidden, kept = network.hidden(ids), guessable(labels)
    guessed = network.logits(network.ahead(ids, hidden, kept)).argmax(-1)
    return guessed == network.logits(hidden[:, 1:][kept]).argmax(-1)
