"""Score a model folder on held-out examples: python models/colonnade-tiny/score.py FOLDER [--json FILE]"""

import argparse
import json
from pathlib import Path

import torch
from colonnade_tiny.scoring import Count, score
from transformers import AutoModelForCausalLM, AutoTokenizer


def main() -> None:
    """Score, print the table, and write the JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=100, help="held-out conversations of each job")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--json", type=Path, help="where to write the scores")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    model = AutoModelForCausalLM.from_pretrained(asked.folder, dtype=torch.float32).eval()
    counts = score(model, AutoTokenizer.from_pretrained(asked.folder), asked.seed, asked.count)
    print(table(counts))
    if asked.json:
        asked.json.write_text(
            json.dumps({measure: vars(count) | {"share": count.share()} for measure, count in counts.items()}, indent=2)
        )


def table(counts: dict[str, Count]) -> str:
    """The scores as a Markdown table."""
    rows = [f"| {measure} | {count.right} of {count.of} | {count.share():.1%} |" for measure, count in counts.items()]
    return "\n".join(["| measure | right | share |", "|---|---|---|", *rows])


if __name__ == "__main__":
    main()
