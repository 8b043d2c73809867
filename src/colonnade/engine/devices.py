"""`python -m colonnade.engine.devices`: the GPUs that torch sees, with their free memory, as a line of JSON.

A process of its own, because it imports torch; `gpus` starts it where this machine has the drivers of one.
"""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

from colonnade.engine.fit import Device

DRIVERS = (Path("/dev/nvidiactl"), Path("/dev/kfd"))
PATIENCE = 120.0
"""Seconds that importing torch and starting a driver may take."""


def gpus() -> list[Device]:
    """None where there is no driver, or where torch cannot use it."""
    if not any(driver.exists() for driver in DRIVERS):
        return []
    argv = [sys.executable, "-m", __name__]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE, check=True)
        return [Device(name, free) for name, free in json.loads(done.stdout)]
    except (OSError, subprocess.SubprocessError, ValueError):
        return []


def main() -> None:
    cuda = import_module("torch").cuda
    found = [(f"cuda:{number}", cuda.mem_get_info(number)[0]) for number in range(cuda.device_count())]
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
