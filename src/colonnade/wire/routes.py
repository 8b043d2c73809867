"""What the control plane, the agents and the gateways say to each other. JSON over HTTP.

gateway -- GET /v1/routes?since=REV (long poll, bearer token) --> control plane: Routes
gateway -- POST /v1/demand  Demands ----------------------------> control plane
agent   -- POST /v1/clusters/NAME/sync (long poll)  Observed ---> control plane: Desired
"""

from __future__ import annotations

from typing import Literal

import msgspec

ReplicaState = Literal["starting", "ready", "draining", "stopped", "failed"]


class Route(msgspec.Struct, frozen=True, omit_defaults=True):
    """A replica that may be given requests."""

    replica: str  # "tiny-0": stable over its lives
    epoch: str
    url: str
    model: str  # the name that requests ask for
    events: str = ""  # ZeroMQ PUB endpoint; "" where there is none
    aliases: tuple[str, ...] = ()
    version: str = ""
    """Of its deployment: what it computes with."""


Period = Literal["day", "month"]


class Budget(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What may be used in a calendar day or month (UTC): so many tokens, or so much money by the clusters' prices."""

    fails: Literal["open", "closed"]
    """Whether requests go on while nobody knows what is left, for the control plane is not heard. It has to be said."""
    tokens: int | None = None
    cost: float | None = None
    per: Period = "month"


class Limit(msgspec.Struct, frozen=True, omit_defaults=True):
    """A budget as it stands, for gateways. `over`: why nothing more may be used until `renewed` (Unix seconds)."""

    of: str  # "key" or "deployment"
    name: str
    closed: bool
    renewed: float
    over: str = ""
    told: str = ""
    """How far it is used, in words; not for gateways, whom each change of it would wake."""


class Allowance(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a key may ask for. None: no limit."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    weight: float = 1.0
    """Of its tenant's share where requests wait: a weight of 2 gets twice the tokens."""
    priority: int = 0
    """0 to 100: the highest goes first, the lowest is shed first."""
    budget: Budget | None = None


class KeyRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """An API key as stored: `digest` is HMAC-SHA256(pepper, key) in hex. The key is shown once and never kept."""

    name: str
    digest: str
    tenant: str
    created: int = 0
    allowance: Allowance = Allowance()


class Share(msgspec.Struct, frozen=True):
    """Of the requests to a model, those that go to replicas of this version: 0 to 1."""

    model: str
    version: str
    share: float


class Routes(msgspec.Struct, frozen=True, omit_defaults=True):
    """All that a gateway needs. `revision` grows with every change; a poll with `since` equal to it waits."""

    revision: int
    routes: tuple[Route, ...] = ()
    keys: tuple[KeyRecord, ...] = ()
    pepper: str = ""  # hex
    auth: bool = True
    models: tuple[str, ...] = ()
    """Names that are deployed, ready or not: a request for one of them without a ready replica is 503, else 404."""
    resting: tuple[str, ...] = ()
    """Of these, those without a replica until a request comes: it is held meanwhile."""
    shares: tuple[Share, ...] = ()
    """Where a deployment serves with several versions: what each gets. One that is not named gets nothing while another
    can serve."""
    limits: tuple[Limit, ...] = ()
    """Of keys and deployments that have budgets."""


class Scaling(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Replicas by demand instead of a fixed number."""

    min: int = 1
    """0: it may rest, and wakes for the first request."""
    max: int = 1
    target: float = 8.0
    """Requests in flight that one replica should have."""
    idle: float = 300.0
    """Seconds without demand before the last replica rests."""
    forecast: bool = False
    """No less than what is usual at this time of the day asks for."""


class Resources(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What one replica takes: so many units of one type, as clusters offer it ("cpu", "h100", "h100-3g.40gb")."""

    type: str = "cpu"
    count: float = 1.0
    memory: int = 0
    """Bytes of the machine's memory beyond which a replica is ended; 0: any."""


class Placement(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Where replicas may be."""

    zones: tuple[str, ...] = ()
    """Hard: nowhere else, ever; empty: anywhere."""
    overflow: bool = False
    """What has no room on own and committed capacity may go to the rest of managed clusters."""


class Version(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the replicas of a deployment compute with. It is never changed: another one follows it."""

    model: str
    settings: dict[str, str] = {}


class Rollout(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A new version comes in by steps, judged against the one before it, and goes back by itself where it is worse."""

    steps: tuple[float, ...] = (0.05, 0.25, 0.5)
    """Shares of the requests that it gets, rising; then all of them."""
    step: float = 60.0
    """Seconds that each step lasts at least."""
    requests: int = 50
    """That it should have answered before a step ends well."""
    errors: float = 0.01
    """The share of failed requests may be above the old version's by this much."""
    latency: float = 1.5
    """The p95 to the first byte may be this many times the old version's."""


class Deployment(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is wanted. `generation` grows with each change of it."""

    name: str
    model: str  # PATH_OR_NAME: a folder, a shipped name, or org/name@revision on a hub
    replicas: int = 1
    generation: int = 1
    settings: dict[str, str] = {}
    """Engine settings, as their flags would be written: {"threads": "2"}."""
    scaling: Scaling | None = None
    """None: `replicas` is what somebody asked for; else what demand asks for now."""
    rollout: Rollout | None = None
    """None: a new version replaces the old one replica by replica, without a judgement."""
    before: Version | None = None
    """What served before this version: a rollback goes there."""
    stage: int | None = None
    """Of the rollout that is under way: its step, from 0."""
    refused: str = ""
    """The version that was last taken back: it gets no request any more."""
    resources: Resources | None = None
    """What each replica takes; None: one unit of "cpu"."""
    placement: Placement | None = None
    budget: Budget | None = None
    kept: int = 0
    """In what an agent is told: of `replicas`, those that stay at `before`."""


class Desired(msgspec.Struct, frozen=True):
    revision: int
    deployments: tuple[Deployment, ...]


class ReplicaStatus(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an agent saw of one replica. `reason` says why it is in this state, or why its last life ended."""

    id: str
    deployment: str
    epoch: str
    state: ReplicaState
    pid: int | None = None
    url: str = ""
    events: str = ""
    reason: str = ""
    restarts: int = 0
    started_at: float = 0.0  # Unix seconds
    ready_s: float | None = None  # from start to ready
    generation: int = 1
    facts: dict[str, str | int | float | bool] = {}
    version: str = ""
    target: str = ""
    """The version that its place is to have; `failures`: how often that has failed in a row."""
    failures: int = 0


class Demand(msgspec.Struct, frozen=True):
    """What one gateway has to do for one deployment now; `held`: of what is in flight, what waits for a replica."""

    deployment: str
    in_flight: int
    held: int = 0


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """How the replicas of one version answered one gateway, since it started. `errors`: answers with a status of 500 or
    more, and requests that a replica lost; `first`: time to the first byte by `wire.buckets`."""

    deployment: str
    version: str
    requests: int = 0
    errors: int = 0
    first: dict[int, int] = {}


class TokenSum(msgspec.Struct, frozen=True):
    """Tokens that one gateway saw used in one hour (of those since 1970)."""

    hour: int
    key: str
    deployment: str
    prompt: int
    completion: int


class Demands(msgspec.Struct, frozen=True, omit_defaults=True):
    """Of one life of a gateway; a later report replaces the one before."""

    gateway: str
    demands: tuple[Demand, ...]
    outcomes: tuple[Outcome, ...] = ()
    tokens: tuple[TokenSum, ...] = ()


class Happening(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of the event log: something was decided, or happened, and why. `source` and `number` name it for good:
    who tells of it may tell again, it is written once."""

    source: str  # who tells: "control", or a cluster's agent and its epoch
    number: int
    at: float  # Unix seconds
    kind: str
    """"start", "ready", "stop", "ended", "failed"; "deployed", "scaled", "removed", "ramped", "rolled out",
    "rolled back", "placed", "unplaced"; "key created", "key limited", "key revoked";
    "over budget", "within budget"."""
    subject: str  # deployment, replica or key
    reason: str
    cluster: str = ""
    epoch: str = ""
    deployment: str = ""
    """That it is about; "" where it is about none."""


class Stretch(msgspec.Struct, frozen=True, omit_defaults=True):
    """A part of a replica's life, metered: what it took of which resource, and whose. `epoch` and `begun` name it."""

    replica: str
    epoch: str
    deployment: str
    version: str
    begun: int  # ms since 1970
    ended: int
    resource: str = "cpu"
    amount: float = 1.0
    owner: str = "managed"
    price: str = ""
    """The version of the cluster's prices that held; "" where it has none."""


class Offer(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What a cluster has of a type of resource, in the units that deployments take it by."""

    capacity: float
    committed: float | None = None
    """Of it, what is paid for whether used or not; None: all of it may be used as one's own."""
    price: float = 0.0
    """Of a unit, an hour."""


class ClusterSpec(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Where a cluster is, whose it is, and what it has. Without `resources` nothing bounds it."""

    name: str
    region: str = ""
    zone: str = ""
    """Of residency: what may not leave it stays on clusters of the same zone."""
    cloud: str = ""
    owner: Literal["managed", "byo"] = "managed"
    """`byo`: brought by the customer."""
    resources: dict[str, Offer] = {}
    driver: Literal["local", "ray"] = "local"
    """What its agent starts replicas with: on its own machine, or on the nodes of a Ray cluster."""
    address: str = ""
    """Of the Ray cluster; `auto`: the one that the agent's machine belongs to; empty: one is begun there."""


class Observed(msgspec.Struct, frozen=True):
    cluster: str
    revision: int  # of the Desired last seen; -1 at first
    replicas: tuple[ReplicaStatus, ...]
    agent: str = ""
    """One life of the agent; later ones sort higher, and an earlier one is fenced off."""
    sequence: int = 0  # grows with each report of this agent: reports may overtake each other
    events: tuple[Happening, ...] = ()  # what the control plane has not acknowledged yet
    usage: tuple[Stretch, ...] = ()  # likewise
    spec: ClusterSpec | None = None
