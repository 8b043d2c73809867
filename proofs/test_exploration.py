"""schemathesis at length: every value at the edges of the document's schemas, and 300 random bodies an endpoint."""

from __future__ import annotations

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "replica"))

from explore import explore  # pyright: ignore[reportMissingImports]
from replica_process import TINY, Start, start_replica  # pyright: ignore[reportMissingImports]

__all__ = ["start_replica"]


def test_a_long_exploration(start_replica: Start, tmp_path: Path) -> None:
    replica = start_replica(TINY, "--grammar-timeout=5s")
    said = explore(replica.url, tmp_path, "coverage,fuzzing", 300)
    print(said)
    found = re.search(r"(\d+) generated, (\d+) passed", said)
    assert found, said
    assert found[1] == found[2]
    assert int(found[1]) > 1000
