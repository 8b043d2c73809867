"""Lets the tests import `colonnade_tiny` from where its scripts live."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

sys.path.insert(0, str(ROOT / "models" / "colonnade-tiny"))
