"""Peak memory of a load: at most the weights as they are kept, the KV budget, and 400 MB.

Measured in a process of its own, from the kernel's books: VmHWM is the peak of all resident pages, those of files
(the interpreter, libraries, anything mapped) included, so nothing that was mapped and given back can hide.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import hollow
import pytest

from colonnade.engine.footprint import OVERHEAD

LOAD = """
import json, sys
from pathlib import Path
from colonnade.engine.folder import ModelFolder
from colonnade.engine.step import Admit, Chunk, Step
from colonnade.engine.worker import load_worker
from colonnade.wire.messages import Sampling
from colonnade.wire.settings import EngineSettings

def books():
    lines = Path("/proc/self/status").read_text().splitlines()
    return {line.split(":")[0]: int(line.split()[1]) << 10 for line in lines if line.endswith(" kB")}

loaded = load_worker(ModelFolder.open(sys.argv[1]), EngineSettings(kernels="native", threads=1, kv_tokens=4096))
after = books()
step = Step(1, (Admit(0, [0] * 64, 64, list(range(64)), Sampling(), 0),), (Chunk(0, 0, range(64), True),))
loaded.worker.run(step)
print(json.dumps({"after": after, "end": books(), "facts": loaded.facts}))
"""


@pytest.mark.parametrize("kind", ["F32", "BF16"])
def test_peak_memory(tmp_path: Path, kind: str) -> None:
    """The largest matrix alone has 98 MB in float32; a copy of all weights would be seen."""
    weights = hollow.make(tmp_path, kind) * hollow.WIDTHS[kind] // 4
    assert weights > 180_000_000
    command = [sys.executable, "-c", LOAD, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    budget = weights + told["facts"]["kv_bytes_per_token"] * 4096
    peak = told["end"]["VmHWM"]
    assert peak <= budget + OVERHEAD
    assert peak <= budget + 150_000_000  # what it really is, with room for other machines
    assert told["after"]["VmHWM"] - told["after"]["VmRSS"] < 50_000_000  # nothing large was there and went again
