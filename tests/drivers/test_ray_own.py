"""The Ray driver where no cluster is named: one of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.timeout(600)
def test_a_cluster_is_begun_found_again_and_ended(tmp_path: Path) -> None:
    script = Path(__file__).with_name("own_ray_cluster.py")
    done = subprocess.run([sys.executable, str(script), str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
