"""A package from nothing to its first answer, and from an edit to its effect: `python proofs/first_answer.py [LOAD_S]`.

Three commands (`package init`, `serve`, a request) are timed one by one. Then a model that takes LOAD_S (20) seconds to
load is watched, and its class edited five times: each time from the end of the write to the first answer that shows it.
Exits with 1 where an edit took a second or more, or the model was loaded again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SLOW = """
import time


class Model:
    def load(self):
        time.sleep({load})
        self.loads = getattr(self, "loads", 0) + 1

    def predict(self, inputs):
        return {{"word": "{word}", "loads": self.loads}}
"""
EDITS = 5


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "colonnade.cli", *words]


@contextmanager
def running(home: Path, *words: str) -> Iterator[str]:
    """The gateway's URL, once it answers."""
    child = subprocess.Popen(
        command(*words, "--port", "0", "--no-auth", "--json", "--stop-on-eof"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"COLONNADE_HOME": str(home)},
    )
    assert child.stdout is not None
    try:
        yield json.loads(child.stdout.readline())["url"]
    finally:
        child.communicate(timeout=60)


def ask(url: str, model: str, inputs: Any) -> Any:
    with urllib.request.urlopen(f"{url}/v1/models/{model}:predict", json.dumps(inputs).encode(), timeout=60) as answer:
        return json.load(answer)


def first(root: Path) -> None:
    begun = time.perf_counter()
    subprocess.run(command("package", "init", str(root / "greeter")), check=True, capture_output=True)
    made = time.perf_counter()
    with running(root / "home", "serve", str(root / "greeter")) as url:
        ready = time.perf_counter()
        assert ask(url, "greeter", {"name": "Ada"}) == {"said": "Hello, Ada!"}
        asked = time.perf_counter()
    lines = sum(len(file.read_text().splitlines()) for file in (root / "greeter").rglob("*") if file.is_file())
    said = f"init {made - begun:.2f} s, serve {ready - made:.2f} s, request {asked - ready:.3f} s"
    print(f"three commands, {lines} lines: {said}; {asked - begun:.2f} s in all")


def edits(root: Path, load: float) -> list[float]:
    """Seconds from each edit to the answer that shows it."""
    file, took = root / "slow.py", list[float]()
    file.write_text(SLOW.format(load=load, word="0"))
    with running(root / "home", "package", "watch", str(file)) as url:
        assert ask(url, "slow", 0) == {"word": "0", "loads": 1}
        for number in range(1, EDITS + 1):
            file.write_text(SLOW.format(load=load, word=str(number)))
            saved = time.perf_counter()
            while ask(url, "slow", 0) != {"word": str(number), "loads": 1}:
                time.sleep(0.005)
            took.append(time.perf_counter() - saved)
    return took


def main() -> int:
    load = float(sys.argv[1]) if len(sys.argv) > 1 else 20.0
    with tempfile.TemporaryDirectory() as root:
        first(Path(root))
        took = edits(Path(root), load)
    print(f"edit to answer with a load of {load:g} s: {', '.join(f'{each:.2f}' for each in took)} s")
    return 0 if max(took) < 1 else 1


if __name__ == "__main__":
    sys.exit(main())
