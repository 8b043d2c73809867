"""Echo throughput of a package beside Truss's own server: `python proofs/echo.py TRUSS_PYTHON [SECONDS]`.

TRUSS_PYTHON is of an environment with `truss==0.18.25` and what its `templates/server/requirements.txt` asks for. The
same folder, with a sync and with an async `predict`, is served by both, one worker each. Sixteen connections send a
small body again and again, in turns of SECONDS (3) between the servers, five times; p50 and p99 are over all of it.
Quote the ratios, and the machine probe beside them.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from colonnade.bench.percentiles import percentile
from colonnade.bench.probe import measure

CONNECTIONS = 16
TURNS = 5
BODY = json.dumps({"prompt": "hello", "values": list(range(8))}).encode()
CODE = {
    "sync": "class Model:\n    def predict(self, inputs):\n        return inputs\n",
    "async": "class Model:\n    async def predict(self, inputs):\n        return inputs\n",
}
CONFIG = "model_name: echo\npython_version: py311\nruntime:\n  predict_concurrency: 16\n"
PATH = "/v1/models/model:predict"


@dataclass
class Side:
    name: str
    port: int
    rates: list[float] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)

    def line(self) -> str:
        p50, p99 = (percentile(sorted(self.delays), share) * 1000 for share in (50, 99))
        return f"{self.name:>10} {statistics.median(self.rates):9.0f} req/s   p50 {p50:6.2f} ms   p99 {p99:6.2f} ms"


def folder_of(root: Path, kind: str) -> Path:
    folder = root / kind
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "__init__.py").touch()
    (folder / "model" / "model.py").write_text(CODE[kind])
    (folder / "config.yaml").write_text(CONFIG)
    return folder


@contextmanager
def ours(folder: Path) -> Iterator[Side]:
    argv = [sys.executable, "-m", "colonnade.replica.package", "--package", str(folder), "--log-level", "warning"]
    child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    try:
        port = int(json.loads(child.stdout.readline())["url"].rsplit(":", 1)[1])
        until_ready(port, child)
        yield Side("colonnade", port)
    finally:
        child.communicate(timeout=60)


@contextmanager
def theirs(folder: Path, python: str) -> Iterator[Side]:
    """Its server's files, the package's and the shared ones in one folder, as its image has them."""
    found = "import pathlib, truss; print(pathlib.Path(truss.__file__).parent / 'templates')"
    templates = Path(subprocess.run([python, "-c", found], capture_output=True, text=True, check=True).stdout.strip())
    app = folder.with_name(f"{folder.name}-truss")
    shutil.copytree(templates / "server", app)
    shutil.copytree(templates / "shared", app / "_truss_shared", dirs_exist_ok=True)
    shutil.copytree(folder, app, dirs_exist_ok=True)
    (app / "packages").mkdir(exist_ok=True)
    whole = "import pathlib, sys; from truss.base.truss_config import TrussConfig as C; f = pathlib.Path(sys.argv[1])"
    subprocess.run([python, "-c", f"{whole}; C.from_yaml(f).write_to_yaml_file(f)", app / "config.yaml"], check=True)
    port = free_port()
    environ = os.environ | {"INFERENCE_SERVER_PORT": str(port), "PYTHONPATH": str(app)}
    with (app / "log").open("wb") as log:
        child = subprocess.Popen([python, "main.py"], cwd=app, env=environ, stdout=log, stderr=log)
    try:
        until_ready(port, child)
        yield Side("truss", port)
    except BaseException:
        sys.stderr.write((app / "log").read_text()[-3000:])
        raise
    finally:
        child.terminate()
        child.wait(60)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def until_ready(port: int, child: subprocess.Popen[bytes]) -> None:
    while child.poll() is None:
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models/model", timeout=5):
            return
        time.sleep(0.2)
    raise RuntimeError("a server ended instead of getting ready")


async def load(side: Side, seconds: float) -> None:
    """One turn, of `seconds`."""
    begun = time.perf_counter()
    counts = await asyncio.gather(*(one_connection(side, begun + seconds) for _ in range(CONNECTIONS)))
    side.rates.append(sum(counts) / (time.perf_counter() - begun))


async def one_connection(side: Side, end: float) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", side.port)
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n"
    request, done = head.encode() + BODY, 0
    while (sent := time.perf_counter()) < end:
        writer.write(request)
        lines = (await reader.readuntil(b"\r\n\r\n")).lower()
        if not lines.startswith(b"http/1.1 200"):
            raise RuntimeError(f"{side.name}: {lines!r}")
        length = int(lines.partition(b"content-length:")[2].partition(b"\r\n")[0])
        if json.loads(await reader.readexactly(length)) != json.loads(BODY):
            raise RuntimeError(f"{side.name} gave something else")
        side.delays.append(time.perf_counter() - sent)
        done += 1
    writer.close()
    return done


async def compare(sides: list[Side], seconds: float) -> None:
    for side in sides:
        await load(side, 1.0)
        side.rates.clear()
        side.delays.clear()
    for _ in range(TURNS):
        for side in sides:
            await load(side, seconds)


def main() -> int:
    python, seconds = sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 3.0
    held = True
    print(measure())
    for kind in CODE:
        with tempfile.TemporaryDirectory() as root:
            folder = folder_of(Path(root), kind)
            with ours(folder) as one, theirs(folder, python) as other:
                uvloop.run(compare([one, other], seconds))
        rate = statistics.median(one.rates) / statistics.median(other.rates)
        tails = [percentile(sorted(side.delays), 99) for side in (one, other)]
        print(f"{kind} predict, {CONNECTIONS} connections\n{one.line()}\n{other.line()}")
        print(f"     ratio {rate:9.2f}           p99 {tails[0] / tails[1]:.2f}")
        held = held and rate >= 2 and tails[0] <= tails[1] / 2
    print("held" if held else "missed")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
