"""What the two processes of a replica say to each other, and what a replica publishes.

MessagePack over ZeroMQ. Face to engine: `Command`. Engine to face: `Report`. Replica to gateways: `Published`.

    face  -- Submit, Abort, Drop, Change --------------> engine
    face  <- Loaded, Failed, Deltas, Refused, Changed -- engine
    gateways <- Envelope(epoch, seq, Published) -------- face      (PUB; gaps are mended by GET /snapshot)
"""

from __future__ import annotations

from typing import Literal

import msgspec


class Grammar(msgspec.Struct, frozen=True):
    """What an answer must be, exactly. Equal grammars are compiled once.

    `text` is a JSON schema; a regular expression; EBNF, as GBNF (`root ::= …`) or as Lark; or the JSON of
    `engine.call_grammar.Calls`.
    """

    kind: Literal["json_schema", "regex", "ebnf", "calls"]
    text: str


class Sampling(msgspec.Struct, frozen=True, omit_defaults=True):
    """How the next token is drawn. The noise is a function of (seed, choice, position) alone."""

    seed: int = 0
    max_tokens: int = 16
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0  # 0: no limit
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    stop_token_ids: tuple[int, ...] = ()
    ignore_eos: bool = False
    logit_bias: dict[int, float] | None = None
    logprobs: int | None = None  # None: none; k: of the chosen token and of the k most likely
    labels: tuple[int, ...] = ()  # with `logprobs`: of these tokens, too
    grammar: Grammar | None = None
    """Tokens that it does not allow are taken out before anything else; it has been checked to compile."""


class Scoring(msgspec.Struct, frozen=True, omit_defaults=True):
    """The log-probabilities of a prompt's own tokens, wanted beside an answer: of each behind position `start`.

    With `pooling`, a vector is wanted instead, the last token's hidden state or the mean of all, and no answer: one
    token is asked for, and the one that comes says nothing.
    """

    start: int = 0
    top: int = 0  # and of so many most likely in its place
    labels: tuple[int, ...] = ()  # and of these
    pooling: Literal["", "last", "mean"] = ""


class Namespace(msgspec.Struct, frozen=True, array_like=True):
    """Whose prefixes these are: they are shared only where all of it is equal.

    `adapter` is kept for adapters of weights; there are none yet.
    """

    tenant: str = ""
    salt: str = ""
    adapter: str = ""

    def key(self, weights: str) -> str:
        """With the weights that compute the prefix. Exact: parts are netstrings, so none can be taken for another."""
        return "".join(f"{len(part)}:{part}," for part in (self.tenant, self.salt, self.adapter, weights))


class Submit(msgspec.Struct, frozen=True, tag="submit"):
    """One choice of one request. `key` is unique among what the engine works on.

    `replay` are tokens generated before, in another life of the stream: they are history, not prompt (penalties
    and positions count them), and the next token drawn has position `len(replay)`.
    """

    key: str
    prompt: list[int]
    sampling: Sampling
    choice: int = 0
    replay: list[int] = []
    namespace: Namespace = Namespace()
    priority: int = 0
    begun: bool = False
    """Another choice of an answer that its reader has begun to get: not refused because many wait."""
    marks: list[int] = []
    """Lengths of prefixes of the prompt, ascending, that are to be told of by themselves (`Stored`, `Removed`)."""
    scoring: Scoring | None = None
    """Its scores come in `Delta.scores`, in order and each once, ahead of the first token: there must be one."""


class Abort(msgspec.Struct, frozen=True, tag="abort"):
    """Stop working on `key`; unknown keys are ignored. No `Delta` for it follows the engine's next step."""

    key: str


class Drop(msgspec.Struct, frozen=True, tag="drop"):
    """Empty the prefix cache of all that no request holds."""


class Update(msgspec.Struct, frozen=True, tag="update"):
    """Compute with the weights in `folder` from now on. Answered by `Changed` or `Declined`, as the next two are;
    declined while there is work, and then nothing has changed."""

    serial: int
    folder: str


class Sleep(msgspec.Struct, frozen=True, tag="sleep"):
    """Give memory back: at level 1 that of keys and values, at level 2 that of the weights, too."""

    serial: int
    level: int


class Wake(msgspec.Struct, frozen=True, tag="wake"):
    """Be as before `Sleep`, with an empty prefix cache. Of one that is awake, nothing."""

    serial: int


Change = Update | Sleep | Wake
Command = Submit | Abort | Drop | Change


class Logprob(msgspec.Struct, frozen=True, array_like=True):
    """Natural logarithms, of the model's distribution before temperature and filters."""

    token: int
    logprob: float
    top: list[tuple[int, float]] = []
    labels: list[float] = []  # of the tokens that were asked for by name, in their order


class Delta(msgspec.Struct, frozen=True, array_like=True):
    """New tokens of one submission. `position` is that of the first of them, counted from the prompt's end."""

    key: str
    position: int
    tokens: list[int]
    logprobs: list[Logprob] | None = None
    finish: str | None = None  # None: goes on; "stop": a stop token, included in `tokens`; "length"; "error"
    cached: int = 0  # prompt tokens that came from the prefix cache
    reason: str = ""  # with finish == "error": what happened, in words
    scores: list[Logprob] | None = None  # of prompt tokens, going on where those before ended; none with tokens
    vector: bytes = b""  # of the prompt, where one was wanted: float32, little-endian


class Load(msgspec.Struct, frozen=True, array_like=True):
    """What a replica carries now."""

    running: int = 0
    waiting: int = 0
    tokens: int = 0  # prompt tokens still to compute plus tokens held by what runs
    pages_used: int = 0
    pages_cached: int = 0  # of the used: held by the prefix cache alone, free on demand
    pages_total: int = 0
    steps: int = 0  # must move while work is in flight: progress health
    drafted: int = 0  # tokens guessed and verified since the start
    accepted: int = 0  # of these: right, and part of an answer
    prefill: int = 0  # prompt tokens still to compute of what runs
    slots: int = 0  # requests computed at the same time at most; 0: it does not say


class Stored(msgspec.Struct, frozen=True, tag="stored"):
    """The cache holds this prefix now: `digest` of all its tokens and its namespace's key, `length` in tokens."""

    digest: bytes
    length: int


class Removed(msgspec.Struct, frozen=True, tag="removed"):
    digest: bytes


CacheChange = Stored | Removed


class Loaded(msgspec.Struct, frozen=True, tag="loaded"):
    """The weights are in memory and one step was run."""

    fingerprint: str
    facts: dict[str, str | int | float | bool]
    """For /v1/models and ps: kernels, device, dtype, threads, pages, seconds by phase."""
    pages_total: int
    max_context: int


class Changed(msgspec.Struct, frozen=True, tag="changed"):
    """The change was made; `loaded` is how things stand now."""

    serial: int
    loaded: Loaded


class Declined(msgspec.Struct, frozen=True, tag="declined"):
    """The change was not made, and everything is as it was."""

    serial: int
    message: str
    hint: str = ""


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The engine could not start, or cannot go on; the process exits after it."""

    message: str
    hint: str = ""
    code: str = "bad_model"


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """A submission that will never run, with the error's code."""

    key: str
    message: str
    code: str
    hint: str = ""


class Deltas(msgspec.Struct, frozen=True, tag="deltas"):
    """All that one step brought."""

    deltas: list[Delta]
    load: Load
    cache: list[CacheChange] = []


Report = Loaded | Failed | Refused | Deltas | Changed | Declined


class LoadChanged(msgspec.Struct, frozen=True, tag="load"):
    load: Load


class CacheChanged(msgspec.Struct, frozen=True, tag="cache"):
    changes: list[CacheChange]


class Marked(msgspec.Struct, frozen=True, tag="marked"):
    """The cache holds the tokens that the message prefix `mark` (`wire.prefix`) safely stands for: `length` of them."""

    mark: bytes
    length: int


class Unmarked(msgspec.Struct, frozen=True, tag="unmarked"):
    mark: bytes


MarkChange = Marked | Unmarked


class MarksChanged(msgspec.Struct, frozen=True, tag="marks"):
    changes: list[MarkChange]


class Phase(msgspec.Struct, frozen=True, tag="phase"):
    """`starting`, `ready`, `updating`, `asleep`, `draining`, `failed`."""

    name: str
    reason: str = ""


Published = LoadChanged | CacheChanged | MarksChanged | Phase


class Envelope(msgspec.Struct, frozen=True, array_like=True):
    """`seq` grows by one within an epoch; a gap means a snapshot is wanted."""

    epoch: str
    seq: int
    event: Published


class Snapshot(msgspec.Struct, frozen=True):
    """The whole of what the events add up to, at `seq`."""

    epoch: str
    seq: int
    phase: str
    load: Load
    cache: list[Stored]
    marks: list[Marked] = []
