"""Whatever schemathesis makes of the OpenAPI document, the answer is one that the document tells of, and no 5xx."""

import re
from pathlib import Path

from explore import explore
from replica_process import TINY, Start


def test_the_document_says_what_a_replica_does(start_replica: Start, tmp_path: Path):
    replica = start_replica(TINY, "--threads=1", "--grammar-timeout=5s")
    said = explore(replica.url, tmp_path, "fuzzing", 12)
    found = re.search(r"(\d+) generated, (\d+) passed", said)
    assert found, said
    assert found[1] == found[2]
    assert int(found[1]) > 100
