"""Versions: named by what they are, followed one by another, and gone back to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from colonnade.fleet.versions import (
    at_version,
    environment,
    numbers,
    share_of,
    spec_of,
    succeed,
    template,
    version_of,
    went_back,
)
from colonnade.wire.errors import InvalidRequest
from colonnade.wire.routes import Deployment, Rollout

ONE = Deployment("desk", "one", 4, rollout=Rollout(steps=(0.25, 0.5)))
TWO = replace(ONE, model="two")
THREE = replace(ONE, model="three")


def test_a_version_is_its_model_and_settings() -> None:
    assert version_of(ONE) == version_of(replace(ONE, name="other", replicas=9, generation=7))
    assert len({version_of(each) for each in (ONE, TWO, replace(ONE, settings={"threads": "1"}))}) == 3
    assert template(ONE) == template(spec_of(ONE)) == template(at_version(TWO, spec_of(ONE)))


def test_a_new_version_begins_a_rollout() -> None:
    trial = succeed(ONE, TWO)
    assert (trial.model, trial.before, trial.stage) == ("two", spec_of(ONE), 0)
    assert share_of(trial) == 0.25
    assert share_of(replace(trial, stage=1)) == 0.5
    assert share_of(replace(trial, stage=2)) == share_of(replace(trial, stage=None)) == 1.0
    assert succeed(trial, replace(TWO, replicas=9)) == replace(trial, replicas=9)


def test_without_steps_or_replicas_it_is_there_at_once() -> None:
    assert succeed(ONE, replace(TWO, rollout=None)).stage is None
    assert succeed(ONE, replace(TWO, rollout=Rollout(steps=()))).stage is None
    assert succeed(replace(ONE, replicas=0), replace(TWO, replicas=0)).stage is None


def test_a_third_version_in_the_middle_is_judged_against_the_first() -> None:
    trial = succeed(succeed(ONE, TWO), THREE)
    assert (trial.model, trial.before, trial.stage) == ("three", spec_of(ONE), 0)


def test_the_first_version_in_the_middle_is_the_way_back() -> None:
    back = succeed(succeed(ONE, TWO), ONE)
    assert (back.model, back.stage, back.refused) == ("one", None, version_of(TWO))
    assert back == replace(went_back(succeed(ONE, TWO)), before=spec_of(TWO))
    settled = replace(succeed(ONE, TWO), stage=None)
    assert succeed(settled, ONE).stage == 0  # after a rollout has ended, it is a change like any other


def test_environments_are_names() -> None:
    assert environment("desk", "production") == "desk"
    assert environment("desk", "staging") == "desk.staging"
    with pytest.raises(InvalidRequest, match="no environment 'prod'"):
        environment("desk", "prod")


@given(st.integers(0, 200), st.lists(st.floats(0.001, 0.999), max_size=4, unique=True), st.integers(0, 5))
def test_numbers_leave_nobody_without_a_replica(replicas: int, steps: list[float], stage: int) -> None:
    trial = replace(succeed(ONE, TWO), replicas=replicas, rollout=Rollout(tuple(sorted(steps))), stage=stage)
    of = numbers(trial)
    if stage >= len(steps) or not replicas:
        assert (of.fresh, of.kept) == (replicas, 0)
        return
    assert of.fresh >= 1 <= of.kept
    assert replicas <= of.fresh + of.kept <= replicas + 1
    assert of.fresh >= share_of(trial) * replicas - 1e-6
