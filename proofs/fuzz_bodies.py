"""Bodies that no client should send, in blocks of 1,000: `python proofs/fuzz_bodies.py [FIRST [LAST [URL]]]`.

A block has a seed of its own: FIRST to LAST, 1 to 100 (100,000 bodies), so that a run can be cut off and gone on with
behind the block that it said last. URL is that of a replica which serves a model under the name `parrot`; without it
one of the tests' parrot is started, which needs no weights. Beside each block a stream is read that must come to its
end, and after it the replica must be well. Prints how many bodies had which status, and every one that was answered
with a 5xx; exits with 1 if there was one, or no answer.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "replica"))

from strange_bodies import bodies  # pyright: ignore[reportMissingImports]

ROOT = Path(__file__).parents[1]
REPLICA = ROOT / "tests" / "replica"
TINY = ROOT / "src" / "colonnade" / "engine" / "shipped" / "colonnade-tiny"
BLOCK = 1000
WORDS = "word " * 2000


@contextlib.contextmanager
def parrot() -> Iterator[str]:
    """The URL of a replica of the tests' parrot."""
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home) / "parrot"
        shutil.copytree(TINY, folder, ignore=shutil.ignore_patterns("*.safetensors", "README.md"))
        (folder / "model.safetensors").touch()
        (folder / "release").touch()  # at no token does it stand still
        config = json.loads((folder / "config.json").read_text()) | {"max_position_embeddings": 100_000}
        (folder / "config.json").write_text(json.dumps(config))
        flags = ["--model", str(folder), "--engine-module", "parrot", "--grammar-timeout=500ms"]
        environment = os.environ | {"PYTHONPATH": str(REPLICA), "COLONNADE_HOME": home}
        process = subprocess.Popen(
            [sys.executable, "-m", "colonnade.replica", *flags],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())["url"]
        finally:
            process.stdin.close()
            process.wait(30)


def ask(connection: http.client.HTTPConnection, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
    connection.request(method, path, body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    return answer.status, answer.read()


def beside(address: str, ended: list[bool]) -> None:
    """A stream that goes on while strange bodies come in; whether it came to its end."""
    asked = {"model": "parrot", "messages": [{"role": "user", "content": WORDS}], "stream": True}
    status, said = ask(
        http.client.HTTPConnection(address, timeout=600), "POST", "/v1/chat/completions", json.dumps(asked).encode()
    )
    ended.append(status == 200 and said.endswith(b"data: [DONE]\n\n"))


def block(address: str, seed: int) -> Counter[int]:
    connection = http.client.HTTPConnection(address, timeout=600)
    statuses: Counter[int] = Counter()
    ended: list[bool] = []
    stream = threading.Thread(target=beside, args=(address, ended))
    stream.start()
    for path, body in bodies(seed, BLOCK):
        try:
            status, said = ask(connection, "POST", path, body)
        except (OSError, http.client.HTTPException):
            print("no answer to", path, body[:2000], flush=True)
            raise
        statuses[status] += 1
        if status >= 500:
            print(path, body[:2000], said[:500], flush=True)
    stream.join()
    assert ended == [True], "the stream beside it did not come to its end"
    assert ask(connection, "GET", "/ready")[0] == 200, "the replica is not well"
    return statuses


def fuzz(address: str, first: int, last: int) -> int:
    statuses: Counter[int] = Counter()
    for seed in range(first, last + 1):
        begun = time.monotonic()
        statuses += block(address, seed)
        print(f"seed {seed}: {time.monotonic() - begun:.0f} s, {dict(sorted(statuses.items()))}", flush=True)
    return 1 if any(status >= 500 for status in statuses) else 0


def main(first: int = 1, last: int = 100, url: str = "") -> int:
    with contextlib.nullcontext(url) if url else parrot() as where:
        address = urlsplit(where).netloc
        connection = http.client.HTTPConnection(address, timeout=600)
        while ask(connection, "GET", "/ready")[0] != 200:
            time.sleep(0.1)
        return fuzz(address, first, last)


if __name__ == "__main__":
    first, last, url = [*sys.argv[1:], *("1", "100", "")[len(sys.argv) - 1 :]]
    sys.exit(main(int(first), int(last), url))
