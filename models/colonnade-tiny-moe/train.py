"""Train from nothing: python models/colonnade-tiny-moe/train.py --threads 1 --minutes 32 --out FOLDER"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "colonnade-tiny"))

from colonnade_tiny.command import train
from colonnade_tiny_moe import design

if __name__ == "__main__":
    train(design, __doc__)
