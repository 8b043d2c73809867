"""Float32 weights of a safetensors file, mapped: the format is a length, a table in JSON, and the numbers."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def load(path: Path) -> dict[str, NDArray[np.float32]]:
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        table: dict[str, Any] = json.loads(file.read(size))
    table.pop("__metadata__", None)
    data = np.memmap(path, dtype=np.uint8, mode="r", offset=8 + size)
    found: dict[str, NDArray[np.float32]] = {}
    for name, entry in table.items():
        if entry["dtype"] != "F32":
            raise SystemExit(f"{path}: {name} is {entry['dtype']}, and peers are compared from float32 alone")
        first = entry["data_offsets"][0]
        count = math.prod(entry["shape"])
        found[name] = data[first : first + 4 * count].view("<f4").reshape(entry["shape"])
    return found
