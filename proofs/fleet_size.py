"""A large fleet on one core: `python proofs/fleet_size.py [DEPLOYMENTS] [REPLICAS_EACH]`, by default 1,000 and 10.

A virtual driver carries out the reconciler's orders. Timed are whole passes (all is to be started; another agent takes
all over) and single changes, the latter in fleets of three sizes; and what the control plane does with a report of the
whole cluster. All seconds are of one core's work. The last line is JSON.
"""

from __future__ import annotations

import asyncio
import json
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec.structs import replace

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "fleet"))

from virtual_fleet import START_S, VirtualFleet, deployments  # pyright: ignore[reportMissingImports]

from colonnade.fleet.control import Change, ControlPlane
from colonnade.fleet.orders import Wanted
from colonnade.fleet.sqlite import SqliteStore
from colonnade.wire.routes import Observed, ReplicaStatus

TRIES = 400


def seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def whole(number: int, each: int) -> tuple[dict[str, float], VirtualFleet]:
    fleet, wanted = VirtualFleet(), deployments(number, each)
    found = {"first pass, s": seconds(lambda: fleet.feed(Wanted(wanted)))}
    found["to all ready, CPU s"] = seconds(lambda: fleet.settle(START_S))
    assert fleet.core.lives() == number * each
    found["taken over by another agent, s"] = seconds(lambda: fleet.restart_agent(wanted))
    again = Wanted(deployments(number, each))
    found["a pass that changes nothing, s"] = seconds(lambda: fleet.feed(again))
    assert fleet.started == number * each
    return found, fleet


def change(number: int, each: int) -> dict[str, float]:
    """Microseconds, medians: one deployment grows or shrinks by one; one replica dies and is begun again."""
    _, fleet = whole(number, each)
    wanted = list(deployments(number, each))
    deaths: list[float] = []
    growths: list[float] = []
    for turn in range(TRIES):
        epoch = next(iter(fleet.alive))
        deaths.append(seconds(lambda epoch=epoch: fleet.kill(epoch)))
        fleet.settle(fleet.now + START_S)
        place = turn % number
        wanted[place] = replace(wanted[place], replicas=each + 1 if wanted[place].replicas == each else each)
        told = Wanted(tuple(wanted))
        growths.append(seconds(lambda told=told: fleet.feed(told)))
        fleet.settle(fleet.now + START_S)
    fleet.core.validate()
    return {
        "replicas": number * each,
        "a replica dies, us": statistics.median(deaths) * 1e6,
        "a deployment grows or shrinks, us": statistics.median(growths) * 1e6,
    }


async def control(number: int, each: int, statuses: tuple[ReplicaStatus, ...]) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        store = await SqliteStore.open(Path(folder) / "state.db")
        plane = await ControlPlane.open(store)
        for wanted in deployments(number, each):
            await plane.deploy(wanted.name, Change(wanted.model, wanted.replicas))
        times: list[float] = []
        for turn in range(5):
            some = (replace(statuses[0], restarts=turn), *statuses[1:])
            report = msgspec.json.encode(Observed("local", 0, some, "a", turn))
            began = time.process_time()
            await plane.sync(msgspec.json.decode(report, type=Observed), 0.0)
            times.append(time.process_time() - began)
        began = time.process_time()
        await plane.deploy("d0000", Change("colonnade-tiny", each + 1))
        changed = time.process_time() - began
        await store.close()
    return {"a report of the whole cluster, s": statistics.median(times), "a deployment changed, s": changed}


def main() -> int:
    number, each = (int(given) for given in (sys.argv[1:] or ["1000", "10"]))
    found, fleet = whole(number, each)
    told = asyncio.run(control(number, each, fleet.core.statuses()))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    changes = [change(size, each) for size in (max(2, number // 100), max(2, number // 10), number)]
    sys.stdout.write("".join(f"{name:>38}  {value:.4f}\n" for name, value in {**found, **told}.items()))
    sys.stdout.write(f"{'memory, MB':>38}  {memory:.0f}\n")
    for row in changes:
        sys.stdout.write("  ".join(f"{name} {value:.0f}" for name, value in row.items()) + "\n")
    sys.stdout.write(json.dumps({**found, **told, "memory, MB": memory, "changes": changes}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
