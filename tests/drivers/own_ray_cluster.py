"""A Ray cluster that the driver begins: `python own_ray_cluster.py HOME`, in a process of its own, for Ray keeps the
token that it read first. It outlives the driver while a life does, and ends with the last one."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import msgspec
from conformance import Watcher, get, spec

from colonnade.drivers import ADDRESS, Announced, Exited
from colonnade.drivers.process import start_ticks
from colonnade.drivers.ray import RayDriver

PATIENCE_S = 120.0


async def opened(home: Path) -> Watcher:
    driver = RayDriver(home)
    await driver.open()
    return Watcher(driver)


async def main(home: Path) -> None:
    first = await opened(home)
    await first.driver.start(spec("a-0", "e1", "--host", ADDRESS))
    life = (await first.wait(Announced, "e1", PATIENCE_S)).life
    await first.close()
    record = msgspec.json.decode((home / "run" / "ray.json").read_bytes())
    assert (await get(life, "/live"))[0] == 200
    second = await opened(home)
    assert (await second.wait(Announced, "e1", PATIENCE_S)).life == life
    assert msgspec.json.decode((home / "run" / "ray.json").read_bytes()) == record
    await second.driver.stop("a-0", "e1", 5)
    await second.wait(Exited, "e1", PATIENCE_S)
    await second.close()
    assert start_ticks(record["pid"]) is None
    assert not Path(record["folder"]).exists()
    assert not (home / "run" / "ray.json").exists()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
