"""Lets the tests import the models' packages from where their scripts live, and run the engine step by step."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

for folder in ("models/colonnade-tiny", "models/colonnade-tiny-moe", "tests/engine"):
    sys.path.insert(0, str(ROOT / folder))
