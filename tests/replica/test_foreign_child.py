"""Another engine's server as a child: how its end is told, and that it ends when we do."""

from __future__ import annotations

import subprocess
import sys

import pytest

from colonnade.replica.foreign.child import EngineChild, words_of
from colonnade.wire.errors import BadSetting

LONG = "sleep 1000"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("sh -c 'exit 3'", "sh exited with status 3"),
        ("/bin/sh -c 'kill -9 $$'", "sh was killed by signal 9 (SIGKILL)"),
        ("no-such-program --port 1", "no-such-program exited with status 127"),
    ],
)
async def test_how_it_ended(command: str, said: str) -> None:
    child = await EngineChild.start(command)
    assert await child.ended() == said
    await child.stop()


async def test_it_is_stopped() -> None:
    child = await EngineChild.start(f"sh -c '{LONG} & wait'")
    await child.stop()
    assert await child.ended() == "sh was killed by signal 15 (SIGTERM)"


def test_it_ends_when_nobody_holds_its_life_line() -> None:
    argv = [sys.executable, "-m", "colonnade.replica.foreign.guard", *LONG.split()]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, start_new_session=True) as guard:
        assert guard.stdin is not None
        guard.stdin.close()
        assert guard.wait(30) == -15


@pytest.mark.parametrize(("command", "said"), [("serve 'open", "No closing quotation"), ("  ", "holds no program")])
def test_commands_that_are_none(command: str, said: str) -> None:
    with pytest.raises(BadSetting, match=said):
        words_of(command)
