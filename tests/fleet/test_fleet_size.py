"""What a change costs does not depend on how many others there are: counted here, timed in `proofs/fleet_size.py`."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from virtual_fleet import START_S, VirtualFleet, deployments

from colonnade.fleet.orders import Wanted

REPLICAS = 4


@pytest.mark.parametrize("number", [3, 60])
def test_a_change_looks_at_its_own_deployment_alone(number: int) -> None:
    fleet = VirtualFleet()
    wanted = deployments(number, REPLICAS)
    fleet.feed(Wanted(wanted))
    fleet.settle(START_S)
    assert len(fleet.alive) == number * REPLICAS == fleet.core.lives()
    assert {status.state for status in fleet.core.statuses()} == {"ready"}
    fleet.core.looked = 0
    fleet.feed(Wanted((replace(wanted[0], replicas=REPLICAS + 1), *wanted[1:])))
    fleet.kill(next(epoch for epoch, life in fleet.alive.items() if life.deployment == wanted[1].name))
    assert fleet.core.looked == 2
    fleet.settle(fleet.now + START_S)
    assert fleet.core.looked == 2 + 3 * 2  # each start: begun, listening, probed
    fleet.core.validate()


def test_an_agent_that_starts_again_takes_all_over_and_starts_nothing() -> None:
    fleet = VirtualFleet()
    wanted = deployments(20, REPLICAS)
    fleet.feed(Wanted(wanted))
    fleet.settle(START_S)
    started = fleet.started
    fleet.restart_agent(wanted)
    assert fleet.started == started == 20 * REPLICAS
    assert {status.state for status in fleet.core.statuses()} == {"ready"}
    assert fleet.core.unprobed() == 0
    fleet.core.validate()


def test_when_to_wake_is_the_earliest_of_all() -> None:
    fleet = VirtualFleet()
    wanted = deployments(5, 1)
    fleet.feed(Wanted(wanted[:2]))
    fleet.now = 10.0
    fleet.feed(Wanted(wanted))
    assert fleet.core.wake_at() == 120.0
    fleet.settle(START_S)  # the first two are ready; the others began later
    fleet.settle(10.0 + START_S)
    assert fleet.core.wake_at() is None
