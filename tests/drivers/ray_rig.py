"""A real Ray cluster on loopback: a head on 127.0.0.2, further nodes on 127.0.0.3 and so on, each ended by its pid."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from colonnade.drivers.ray.own import begin_node

START_S = 180.0
_LOOK_S = 0.1
CORES = 2
"""That each node says it has."""


class RayRig:
    """Blocking: it is made and ended outside of any loop."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="colonnade-ray-"))
        self.nodes: dict[str, subprocess.Popen[bytes]] = {}
        token = self.folder / "token"
        token.write_text(secrets.token_hex(32), encoding="ascii")
        os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=str(token))
        self._begin("127.0.0.2", "--head", "--port", "0", "--include-dashboard", "false")
        self.address = self._address()

    def join(self, address: str) -> None:
        """Another node. It has joined when Ray says so."""
        self._begin(address, "--address", self.address)

    def _begin(self, address: str, *flags: str) -> None:
        common = ("--node-ip-address", address, "--num-cpus", str(CORES), "--object-store-memory", "80000000")
        self.nodes[address] = begin_node(self.folder, self.folder / f"{address}.log", *flags, *common)

    def _address(self) -> str:
        told, until = self.folder / "ray_current_cluster", time.monotonic() + START_S
        while not told.exists():
            assert time.monotonic() < until
            with suppress(subprocess.TimeoutExpired):
                self.nodes["127.0.0.2"].wait(_LOOK_S)
                raise AssertionError((self.folder / "127.0.0.2.log").read_text())
        return told.read_text(encoding="utf-8").strip()

    def kill(self, address: str, *replicas: int) -> None:
        """As when the machine's power fails: all of the node stands still at once, and nothing says goodbye."""
        node = self.nodes.pop(address)
        everything = [*session(node.pid), *replicas]
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in everything:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
        node.wait()

    def end(self) -> None:
        for address in list(self.nodes):
            self.kill(address)
        shutil.rmtree(self.folder, ignore_errors=True)


def session(leader: int) -> list[int]:
    """Everything of Ray's on the node, its workers included, whatever groups they are in."""
    lines = subprocess.run(["ps", "-o", "pid=", "-s", str(leader)], capture_output=True, text=True, check=False).stdout
    return [int(line) for line in lines.split()]
