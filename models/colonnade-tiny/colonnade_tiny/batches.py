"""Batches of examples of like length, the same for the same seed wherever a run was cut off."""

import random
from collections.abc import Iterator

import torch
from transformers import PreTrainedTokenizerFast

from colonnade_tiny.corpus import training
from colonnade_tiny.tokens import encode

POOL = 640
ROWS = 64
TOKENS = 8192
LONGEST = 1536

Stages = tuple[tuple[int, int], ...]
"""Up to which pool, and the longest example till then. Copying is found on short ones: less to look through."""
Batch = tuple[torch.Tensor, torch.Tensor]
Example = tuple[list[int], list[bool]]


def stream(tokenizer: PreTrainedTokenizerFast, seed: int, pool: int, stages: Stages) -> Iterator[tuple[int, Batch]]:
    """Batches from pool number `pool` on, each with the number of its pool. No example comes twice."""
    while True:
        for rows in _cut(_pool(tokenizer, seed, pool, stages), random.Random(f"order {seed} {pool}")):
            yield pool, collate(rows)
        pool += 1


def collate(rows: list[Example]) -> Batch:
    """Token ids, and labels that are -100 wherever nothing is learned. Padding is on the right, hidden by causality."""
    width = max(len(ids) for ids, _ in rows)
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    labels = torch.full((len(rows), width), -100)
    for row, (tokens, learned) in enumerate(rows):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        labels[row, : len(tokens)] = torch.tensor(
            [token if own else -100 for token, own in zip(tokens, learned, strict=True)]
        )
    return ids, labels


def _pool(tokenizer: PreTrainedTokenizerFast, seed: int, pool: int, stages: Stages) -> list[Example]:
    examples = (encode(tokenizer, training(seed, index)) for index in range(pool * POOL, (pool + 1) * POOL))
    limit = next((length for until, length in stages if pool < until), LONGEST)
    return [example for example in examples if len(example[0]) <= limit]


def _cut(examples: list[Example], order: random.Random) -> list[list[Example]]:
    """Like lengths together: at most 64 rows and about 8,192 tokens a batch, in random order."""
    batches: list[list[Example]] = [[]]
    for example in sorted(examples, key=lambda example: len(example[0])):
        if len(batches[-1]) == ROWS or (len(batches[-1]) + 1) * len(example[0]) > TOKENS:
            batches.append([])
        batches[-1].append(example)
    order.shuffle(batches)
    return batches
