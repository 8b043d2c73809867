"""Where the fleet keeps things under the state folder.

state.db            the control plane's store
run/control.json    where the control plane listens, and its admin token; mode 0600
run/desired.json    what the agent was told last: it goes on with it when the control plane is gone
run/agent.token     what an enrolled agent speaks with; mode 0600
run/agent.ca        whose certificates it trusts
run/agent.lock      held by the agent: one a home
spool/usage.jsonl   what the agent metered and the control plane has not acknowledged yet
replicas/, logs/    the local driver's (colonnade.drivers.local)
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from colonnade.drivers.records import Lock

__all__ = ["ControlFile", "Home", "Lock"]


class ControlFile(msgspec.Struct, frozen=True):
    """What `run/control.json` holds."""

    url: str
    token: str
    pid: int


class Home:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.run = path / "run"
        self.run.mkdir(parents=True, exist_ok=True, mode=0o700)

    @property
    def database(self) -> Path:
        return self.path / "state.db"

    @property
    def control(self) -> Path:
        return self.run / "control.json"

    @property
    def desired(self) -> Path:
        return self.run / "desired.json"

    @property
    def agent_token(self) -> Path:
        return self.run / "agent.token"

    @property
    def authority(self) -> Path:
        return self.run / "agent.ca"

    @property
    def usage(self) -> Path:
        return self.path / "spool" / "usage.jsonl"

    def read_control(self) -> ControlFile:
        """Raises OSError, or msgspec.DecodeError."""
        return msgspec.json.decode(self.control.read_bytes(), type=ControlFile)
