"""Truss Chains beside ours: each chainlet as the service that `truss chains push` would build, on a free port here.

Run by `chain_hop_beside.py` with a Python that has truss and what its server wants. The code is generated and laid out
as in the image (`server/` with `model/`, `config.yaml`, the packages beside it); what a cluster mounts, the addresses
of the other services, lies in a folder that the launcher names. A line on standard input is an order, a line on
standard output its answer.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from truss.contexts.image_builder.serving_image_builder import (  # pyright: ignore[reportMissingImports]
    ServingImageBuilder,
)
from truss_chains import framework  # pyright: ignore[reportMissingImports]
from truss_chains.deployment import code_gen  # pyright: ignore[reportMissingImports]

HERE = Path(__file__).parent
LAUNCH = """
import sys
from _truss_shared import dynamic_config_resolver as a
from truss.templates.shared import dynamic_config_resolver as b
a.DYNAMIC_CONFIG_MOUNT_DIR = b.DYNAMIC_CONFIG_MOUNT_DIR = sys.argv[1]
from truss_server import TrussServer
TrussServer(int(sys.argv[2]), "config.yaml").start()
"""


def built(descriptor, source: Path, folder: Path) -> Path:
    """The folder that the image has as /app."""
    generated = code_gen.gen_truss_chainlet(source, "beside", descriptor)
    image = folder / descriptor.name
    ServingImageBuilder(generated).prepare_image_build_dir(image)
    app = image / "server"
    shutil.copytree(image / "model", app / "model")
    shutil.copy(image / "config.yaml", app)
    return app


def launched(app: Path, mounted: Path, port: int) -> subprocess.Popen:
    path = os.pathsep.join(map(str, (app, app.parent / "packages")))
    env = {**os.environ, "PYTHONPATH": path, "TRUSS_SECRET_baseten_chain_api_key": "none"}
    with (app / "log").open("wb") as log:
        command = [sys.executable, "-c", LAUNCH, str(mounted), str(port)]
        return subprocess.Popen(command, cwd=app, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def ready(port: int) -> None:
    for _ in range(600):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models/model", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise SystemExit(f"nothing is ready on port {port}")


def asked(port: int, order: dict) -> object:
    url = f"http://127.0.0.1:{port}/v1/models/model:predict"
    request = urllib.request.Request(url, json.dumps(order).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=300) as answer:
        return json.load(answer)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def started(folder: Path) -> tuple[int, list[subprocess.Popen]]:
    """The port of the entry, and the processes."""
    source, mounted = folder / "source", folder / "mounted"
    source.mkdir()
    mounted.mkdir()
    shutil.copy(HERE / "truss_chain.py", source)
    with framework.ChainletImporter.import_target(source / "truss_chain.py", "Timer"):
        descriptors = framework.get_ordered_descriptors()
        apps = {each.display_name: built(each, source, folder) for each in descriptors}
    ports = {name: free_port() for name in apps}
    known = {name: {"predict_url": f"http://127.0.0.1:{port}/v1/models/model:predict"} for name, port in ports.items()}
    (mounted / "dynamic_chainlet_config").write_text(json.dumps(known))
    processes = [launched(apps[name], mounted, port) for name, port in ports.items()]
    for port in ports.values():
        ready(port)
    return ports["Timer"], processes


def main() -> None:
    said = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the tools print is no answer
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # it formats by ruff
    with tempfile.TemporaryDirectory() as name:
        port, processes = started(Path(name))
        try:
            print("ready", file=said, flush=True)
            for line in sys.stdin:
                print(json.dumps(asked(port, json.loads(line))), file=said, flush=True)
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait(timeout=60)


if __name__ == "__main__":
    main()
