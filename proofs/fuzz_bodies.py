"""Bodies that no client should send, against a replica: `python proofs/fuzz_bodies.py URL [COUNT] [SEED]`.

URL is that of a replica which serves a model under the name `parrot` (`--served-name parrot`). Prints how many bodies
had which status, and every one that was answered with a 5xx; exits with 1 if there was one.
"""

from __future__ import annotations

import http.client
import sys
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "replica"))

from strange_bodies import bodies


def main(url: str, count: int = 100_000, seed: int = 1) -> int:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    statuses: Counter[int] = Counter()
    for path, body in bodies(seed, count):
        try:
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            said = answer.read()
        except (OSError, http.client.HTTPException):
            print("no answer to", path, body[:2000])
            raise
        statuses[answer.status] += 1
        if answer.status >= 500:
            print(path, body[:2000], said[:500])
    print(dict(sorted(statuses.items())))
    return 1 if any(status >= 500 for status in statuses) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], *map(int, sys.argv[2:])))
