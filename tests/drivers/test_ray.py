"""The Ray driver on a real Ray cluster of one node: the conformance suite, and what only Ray can show."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
import yaml
from conformance import DriverConformance, Watcher, get, spec
from ray_rig import CORES, RayRig

from colonnade.drivers import ADDRESS, Announced, Driver, Exited, Started
from colonnade.drivers.process import members, start_ticks
from colonnade.drivers.ray import RayDriver
from colonnade.fleet.clusters import read_cluster

FILES = Path(__file__).parents[2] / "examples" / "ray"

pytestmark = pytest.mark.timeout(600)
"""Ray's processes alone take a minute to begin where two cores are busy."""


@pytest.fixture(scope="module")
def rig() -> Iterator[RayRig]:
    rig = RayRig()
    yield rig
    rig.end()


@pytest.fixture
def make(rig: RayRig) -> Iterator[Callable[[], Driver]]:
    """The hosts stay over the whole module: what they wrote does not."""
    home = rig.folder / "home"
    yield lambda: RayDriver(home, rig.address)
    for folder in home.glob("nodes/*/logs"):
        for file in folder.iterdir():
            file.unlink()


class TestConformance(DriverConformance):
    pass


async def opened(rig: RayRig, lost_after: float = 15.0) -> Watcher:
    driver = RayDriver(rig.folder / "home", rig.address, lost_after=lost_after)
    await driver.open()
    return Watcher(driver)


async def test_a_host_that_is_killed_comes_back_to_its_replicas(rig: RayRig) -> None:
    watcher = await opened(rig, lost_after=120.0)
    driver = watcher.driver
    assert isinstance(driver, RayDriver)
    await driver.start(spec("a-0", "e10"))
    life = (await watcher.wait(Announced, "e10")).life
    before = driver.hosts()["127.0.0.2"]
    os.kill(before, signal.SIGKILL)
    await driver.stop("a-0", "e10", 5)  # asked of the next one
    assert driver.hosts()["127.0.0.2"] != before
    assert life.pid is not None
    assert start_ticks(life.pid) is None
    assert [type(event) for event in watcher.seen] == [Started, Announced, Exited]
    await watcher.close()


async def test_what_waits_for_room_begins_on_a_node_that_joins_and_is_told_of_when_that_is_lost(rig: RayRig) -> None:
    watcher = await opened(rig)
    for index, epoch in enumerate(("e20", "e21", "e22")):  # each as large as a node
        asked = spec(f"b-{index}", epoch, "--child", "--host", ADDRESS, labels={"deployment": "b"})
        await watcher.driver.start(msgspec.structs.replace(asked, cores=CORES))
    assert {(await watcher.wait(Started, epoch)).life.pid is None for epoch in ("e21", "e22")} == {True}
    assert len(await watcher.driver.list()) == 3
    await watcher.driver.stop("b-2", "e22", 5)
    assert "room" in (await watcher.wait(Exited, "e22")).reason
    await asyncio.to_thread(rig.join, "127.0.0.3")
    life = (await watcher.wait(Announced, "e21", within=120.0)).life
    assert life.url.startswith("http://127.0.0.3:")
    assert (await get(life, "/live"))[0] == 200
    assert (await watcher.driver.capabilities()).machines == 2
    assert life.pid is not None
    rig.kill("127.0.0.3", *members(life.pid))
    assert "127.0.0.3" in (await watcher.wait(Exited, "e21", within=60.0)).reason
    await watcher.driver.stop("b-0", "e20", 5)
    await watcher.close()


def test_the_cluster_files_are_what_ray_reads() -> None:
    """The cloud's as `ray up` checks it; the flags of the others as `ray start` has them."""
    from ray.autoscaler._private.util import prepare_config, validate_config
    from ray.scripts.scripts import start

    flags = {flag.lstrip("-") for option in start.params for flag in option.opts}
    validate_config(prepare_config(yaml.safe_load((FILES / "cloud.yaml").read_text(encoding="utf-8"))))
    cluster = yaml.safe_load((FILES / "kuberay.yaml").read_text(encoding="utf-8"))["spec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        assert set(group["rayStartParams"]) <= flags
    script = (FILES / "slurm.sh").read_text(encoding="utf-8")
    commands = re.findall(r"ray start ([^&]*)", script.replace("\\\n", " "))
    assert {flag for command in commands for flag in re.findall(r"--([a-z-]+)", command)} <= flags
    assert len(commands) == 2
    assert subprocess.run(["bash", "-n", FILES / "slurm.sh"], check=False).returncode == 0
    assert read_cluster(FILES / "cluster.yaml").driver == "ray"
