"""The command line of a training script."""

import argparse
from pathlib import Path

import torch

from colonnade_tiny.training import Design, Plan, Run


def train(design: Design, about: str | None) -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--out", type=Path, required=True, help="the model folder; its checkpoint is kept beside it")
    parser.add_argument("--minutes", type=float, default=60.0, help="wall-clock minutes in all, resumed ones included")
    parser.add_argument(
        "--start", type=Path, help="a model folder to go on from; give another seed, for fresh examples"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--matrix-rate", type=float, default=Plan.matrix_rate)
    parser.add_argument("--vector-rate", type=float, default=Plan.vector_rate)
    chosen = vars(parser.parse_args())
    torch.set_num_threads(chosen.pop("threads"))
    Run(Plan(**chosen), design).train()
