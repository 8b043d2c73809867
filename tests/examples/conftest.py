"""Lets the tests import the examples' packages from where they lie."""

import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"

for folder in ("phone_call", "medical_documents"):
    sys.path.insert(0, str(EXAMPLES / folder))
