"""How often the MTP layer says what the trunk then says: python models/colonnade-tiny-moe/acceptance.py FOLDER"""

import argparse
import sys
from pathlib import Path

import torch
from transformers import AutoTokenizer

sys.path.insert(0, str(Path(__file__).parents[1] / "colonnade-tiny"))

from colonnade_tiny.corpus import SHARES
from colonnade_tiny_moe.ahead import agreed
from colonnade_tiny_moe.folder import opened


def main() -> None:
    """Print the share for each job."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=60, help="held-out conversations of each job")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    network, tokenizer = opened(asked.folder), AutoTokenizer.from_pretrained(asked.folder)
    print("| job | same | share |\n|---|---|---|")
    counts = {job: agreed(network, tokenizer, asked.seed, job, asked.count) for job in SHARES}
    same, of = (sum(column) for column in zip(*counts.values(), strict=True))
    for job, (right, tokens) in (counts | {"all": (same, of)}).items():
        print(f"| {job} | {right} of {tokens} | {right / tokens:.1%} |")


if __name__ == "__main__":
    main()
