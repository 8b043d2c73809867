"""What the reconciler hears and what it orders. Values only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from colonnade.fleet.versions import template
from colonnade.wire.routes import Deployment


@dataclass(frozen=True)
class Policy:
    """How patiently. Seconds."""

    start_s: float = 120.0
    """A life must be ready this long after its start, else it has failed."""
    drain_s: float = 40.0
    """What a replica that serves gets between being asked to end and being killed."""
    end_s: float = 2.0
    """The same for one that serves nobody: not ready yet, or stalled."""
    backoff_first_s: float = 0.2
    backoff_limit_s: float = 30.0
    backoff_reset_s: float = 10.0
    """A life that was ready this long wipes out the failures before it."""
    ready_probe_s: float = 0.05
    ready_probe_limit_s: float = 0.25
    health_probe_s: float = 2.0
    health_misses: int = 3
    """A ready replica that misses this many probes in a row has failed."""

    def backoff(self, failures: int) -> float:
        """Least time from one start to the next. The first restart waits for nothing."""
        if failures <= 1:
            return 0.0
        doublings = min(failures - 2, 32)
        return min(self.backoff_limit_s, self.backoff_first_s * 2.0**doublings)


@dataclass(frozen=True)
class Wanted:
    """The desired state of this cluster, whole."""

    deployments: tuple[Deployment, ...]


@dataclass(frozen=True)
class Begun:
    """A life is there: one that was ordered, or one found after the agent's own restart."""

    id: str
    epoch: str
    deployment: str
    generation: int
    template: str
    restarts: int = 0
    pid: int | None = None
    started_at: float = 0.0  # Unix seconds
    stopping: bool = False
    log: str = ""


@dataclass(frozen=True)
class Listening:
    id: str
    epoch: str
    url: str
    events: str = ""


@dataclass(frozen=True)
class Probed:
    """`stalled`: it answered, and said that it makes no progress; one such word is enough. `doing`: what one that
    starts is busy with, where that takes its time: it fetches a model."""

    id: str
    epoch: str
    well: bool
    stalled: bool = False
    reason: str = ""
    doing: str = ""


@dataclass(frozen=True)
class Ended:
    """A life is over, or could not begin."""

    id: str
    epoch: str
    reason: str


@dataclass(frozen=True)
class Closing:
    """End every life and begin none: the agent goes."""

    reason: str


@dataclass(frozen=True)
class Tick:
    """Time has passed: it is `wake_at` now."""


Event = Wanted | Begun | Listening | Probed | Ended | Closing | Tick


@dataclass(frozen=True)
class Start:
    id: str
    epoch: str
    deployment: Deployment
    restarts: int


@dataclass(frozen=True)
class Stop:
    id: str
    epoch: str
    grace_s: float
    reason: str


@dataclass(frozen=True)
class Probe:
    """Ask `url` for /ready or /health, `after_s` from now, and answer with Probed."""

    id: str
    epoch: str
    url: str
    kind: Literal["ready", "health"]
    after_s: float


NoteKind = Literal["start", "ready", "stop", "ended", "failed"]


@dataclass(frozen=True)
class Note:
    """Something was decided or has happened; for the event log."""

    kind: NoteKind
    deployment: str
    id: str
    epoch: str
    reason: str


Order = Start | Stop | Probe | Note

Phase = Literal["starting", "ready", "draining"]


@dataclass
class Life:
    """`since`, `ready_at`: on the clock that `now` comes from."""

    begun: Begun
    since: float
    phase: Phase = "starting"
    url: str = ""
    events: str = ""
    busy_at: float | None = None
    """When it was last seen to fetch its model: until then no time counts against its start."""
    doing: str = ""
    ready_at: float | None = None
    adopted: bool = False
    misses: int = 0
    looked: int = 0
    why: str = ""
    failure: str = ""
    """Why it had to be ended, when that was its own fault."""

    @property
    def epoch(self) -> str:
        return self.begun.epoch

    @property
    def known_to_start(self) -> bool:
        """One that was found may have been serving all along: only a probe tells."""
        return self.phase == "starting" and (not self.adopted or self.looked > 0)

    @property
    def start_counts_from(self) -> float:
        return self.since if self.busy_at is None else self.busy_at

    @property
    def leaves_service(self) -> bool:
        """It served, nothing is wrong with it, and it ends: another may start beside it."""
        return self.phase == "draining" and self.ready_at is not None and not self.failure


@dataclass
class Seat:
    """A place for one replica of a deployment: what stays when lives come and go. `id` is NAME-INDEX."""

    deployment: str
    index: int
    restarts: int = 0
    failures: int = 0
    not_before: float = 0.0
    reason: str = ""
    last_epoch: str = ""
    surplus: bool = False
    """Not wanted any more; it goes when its lives are over."""
    wanted: Deployment | None = None
    """Its deployment, at the version that this seat is to run."""
    lives: list[Life] = field(default_factory=list[Life])

    @property
    def id(self) -> str:
        return f"{self.deployment}-{self.index}"

    @property
    def staying(self) -> list[Life]:
        return [life for life in self.lives if life.phase != "draining"]

    def version(self) -> str:
        """The template that it is to run, or that it was found with; empty where nothing was said of it yet."""
        if self.wanted is not None:
            return template(self.wanted)
        return next((life.begun.template for life in self.staying), "")

    def runs_another(self) -> bool:
        return any(life.begun.template != self.version() for life in self.staying)

    def serves(self) -> bool:
        return any(life.phase == "ready" for life in self.lives)

    def may_start(self) -> bool:
        """Two lives at most, and a second only beside one that still serves."""
        return not self.staying and (not self.lives or (len(self.lives) == 1 and self.lives[0].leaves_service))
