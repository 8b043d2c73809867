"""Replicas as real processes: `start_replica` and what tests do with one."""

import asyncio
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from colonnade.engine.folder import SHIPPED
from colonnade.wire.messages import Load
from colonnade.wire.stream import Event, EventReader

HERE = Path(__file__).parent
TINY = SHIPPED / "colonnade-tiny"
CONTEXT = 100_000
"""Of the parrot: its longest answers do not end within a test."""


@dataclass
class Replica:
    process: subprocess.Popen[bytes]
    url: str
    events: str
    stderr: Path

    def signal(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def engine(self) -> int:
        """The pid of the child that computes."""
        children = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        pids = [int(pid) for file in children for pid in file.read_text().split()]
        (pid,) = [pid for pid in pids if b"--commands" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        return pid

    def ended(self) -> tuple[int, str]:
        """Wait for its end: the exit status and the last line on stderr."""
        status = self.process.wait(30)
        lines = self.stderr.read_text().splitlines()
        return status, lines[-1] if lines else ""


class Client:
    """HTTP as a test wants it."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.session = session
        self.url = url

    async def get(self, path: str) -> tuple[int, Any]:
        async with self.session.get(self.url + path) as answer:
            return answer.status, await answer.json()

    async def post(self, path: str, body: Any, **headers: str) -> tuple[int, Any]:
        async with self.open(path, body, **headers) as answer:
            return answer.status, await answer.json()

    def open(self, path: str, body: Any, **headers: str) -> Any:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.session.post(self.url + path, data=io.BytesIO(data), headers=named)

    async def stream(self, path: str, body: dict[str, Any], **headers: str) -> list[Event]:
        async with self.open(path, body | {"stream": True}, **headers) as answer:
            assert answer.status == 200, await answer.text()
            return EventReader().feed(await answer.read())

    async def ready(self) -> None:
        async def is_ready() -> bool:
            return (await self.get("/ready"))[0] == 200

        await until(is_ready)

    async def load(self) -> dict[str, int]:
        """The load of /snapshot, by name."""
        return dict(zip(Load.__struct_fields__, (await self.get("/snapshot"))[1]["load"], strict=True))

    async def idle(self) -> None:
        """Until the engine works on nothing."""

        async def is_idle() -> bool:
            load = await self.load()
            return load["running"] == load["waiting"] == 0

        await until(is_idle)


@pytest.fixture
async def client(replica: Replica) -> AsyncIterator[Client]:
    """Of the module's `replica`, once it is ready."""
    async with aiohttp.ClientSession() as session:
        made = Client(session, replica.url)
        await made.ready()
        yield made


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0)


Start = Callable[..., Replica]


def _start(folder: Path, home: Path, *flags: str) -> Replica:
    stderr = home / "stderr"
    modules = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": modules, "COLONNADE_HOME": str(home), "PYTHONWARNINGS": "error"}
    with stderr.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "colonnade.replica", "--model", str(folder), *flags],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment,
        )
    assert process.stdout is not None
    line = process.stdout.readline()
    told = json.loads(line) if line else {"url": "", "events": ""}
    return Replica(process, told["url"], told["events"], stderr)


def _stop(replica: Replica) -> None:
    assert replica.process.stdin is not None
    assert replica.process.stdout is not None
    replica.process.stdin.close()
    try:
        replica.process.wait(15)
    except subprocess.TimeoutExpired:
        replica.signal(signal.SIGKILL)
        replica.process.wait()
    replica.process.stdout.close()


@pytest.fixture(scope="module")
def start_replica(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Start one of a folder; all of a module's are stopped at its end."""
    started: list[Replica] = []

    def start(folder: Path, *flags: str) -> Replica:
        replica = _start(folder, tmp_path_factory.mktemp("home"), *flags)
        started.append(replica)
        return replica

    yield start
    for replica in started:
        _stop(replica)


@pytest.fixture(scope="module")
def parrot_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A new folder of the parrot: the shipped model's tokenizer and template, a long context, no weights."""

    def make(pace: float = 0.0, **files: str) -> Path:
        folder = tmp_path_factory.mktemp("models") / "parrot"
        folder.mkdir()
        for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json"):
            shutil.copy(TINY / name, folder / name)
        config = json.loads((TINY / "config.json").read_text()) | {"max_position_embeddings": CONTEXT}
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "model.safetensors").touch()
        (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
        (folder / "pace").write_text(str(pace))
        for name, text in files.items():
            (folder / name).write_text(text)
        return folder

    return make
