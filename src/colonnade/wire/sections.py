"""The settings themselves: one frozen dataclass a section. How they are used: `colonnade.wire.settings`."""

from __future__ import annotations

from dataclasses import dataclass

from colonnade.wire import units
from colonnade.wire.setting import Setting, declared, setting


@dataclass(frozen=True)
class HttpSettings:
    """What every HTTP face keeps to: gateway, replica, control plane."""

    body_limit: int = setting(16 << 20, units.BYTES, "Largest request body; a larger one is refused with 413.")
    request_timeout: float = setting(
        30.0, units.DURATION, "A request must have arrived whole after this long, else 408."
    )
    idle_timeout: float = setting(75.0, units.DURATION, "An idle connection is closed after this long.")


@dataclass(frozen=True)
class GatewaySettings:
    """The data plane that clients talk to."""

    host: str = setting("127.0.0.1", units.TEXT, "Address to listen on. Beyond loopback, keys are required.")
    port: int = setting(8080, units.PLAIN, "Port to listen on; 0 takes a free one.", at_most=65535)
    auth: bool = setting(True, units.SWITCH, "Ask for an API key. May be off on loopback only.")
    policy: str = setting(
        "cost",
        units.choice("cost", "least_load", "round_robin", "session"),
        "Which of the replicas that can take a request gets it.",
    )
    replica_slots: int = setting(
        0,
        units.COUNT,
        "Requests that a replica is given at a time, the others wait here; 0: what it says it computes, and an eighth.",
    )
    queue_limit: int = setting(4096, units.COUNT, "Requests that may wait for a slot of one model's replicas.")
    queue_bytes: int = setting(256 << 20, units.BYTES, "Bytes of the bodies of those that wait for one model.")
    queue_timeout: float = setting(
        300.0, units.DURATION, "A request waits this long for a slot of a replica that can be reached."
    )
    connect_timeout: float = setting(2.0, units.DURATION, "A replica must accept a connection within this long.")
    silence_timeout: float = setting(
        60.0, units.DURATION, "A replica that sends not one byte for this long, keep-alives included, counts as lost."
    )
    hold_timeout: float = setting(
        30.0,
        units.DURATION,
        "A request whose replica was lost, or that finds none that can be reached, waits this long for one.",
    )
    hedge_share: float = setting(
        0.02,
        units.PERCENT,
        "Streams of which a second replica may be asked, when the first is late to begin, as a share of all; 0: none.",
    )
    shutdown_timeout: float = setting(10.0, units.DURATION, "On SIGTERM, requests in flight may take this long to end.")


@dataclass(frozen=True)
class ReplicaSettings:
    """One serving process: what the HTTP face in front of an engine keeps to."""

    served_name: str = setting("", units.TEXT, "Name that requests ask for; empty takes the model's own.")
    max_waiting: int = setting(256, units.COUNT, "Requests that may wait for the engine; one more is refused with 503.")
    strict: bool = setting(False, units.SWITCH, "Refuse unknown fields in requests, instead of a warning header.")
    drain_timeout: float = setting(30.0, units.DURATION, "On SIGTERM, work in flight may take this long to end.")
    keep_alive: float = setting(
        10.0, units.DURATION, "A stream without a byte for this long gets a keep-alive comment.", at_least=0.1
    )
    spool_limit: int = setting(
        1 << 20, units.BYTES, "Bytes kept for a slow or absent reader of one stream; beyond it the reader is cut off."
    )
    resume_limit: float = setting(
        600.0, units.DURATION, "Longest time a resumable stream outlives its connection.", at_most=600
    )
    stall_timeout: float = setting(
        30.0, units.DURATION, "With work in flight and not one engine step for this long, the replica is not ready."
    )
    tool_parser: str = setting(
        "auto",
        units.choice("auto", "none", "hermes", "llama3", "mistral", "deepseek"),
        "How the model writes calls of tools; auto goes by its chat template.",
    )
    reasoning_parser: str = setting(
        "auto",
        units.choice("auto", "none", "think"),
        "Whether reasoning between <think> and </think> is shown apart; auto goes by the chat template.",
    )
    grammar_timeout: float = setting(
        2.0, units.DURATION, "A grammar or JSON schema that takes longer to compile is refused.", at_least=0.01
    )
    grammar_memory: int = setting(
        4 << 30, units.BYTES, "Address space of the process that tries grammars; one that needs more is refused."
    )
    template_timeout: float = setting(
        2.0, units.DURATION, "A chat whose template takes longer to render is refused.", at_least=0.01
    )
    template_memory: int = setting(
        1 << 30,
        units.BYTES,
        "Address space of the process that renders chat templates; a chat that needs more is refused.",
    )
    engine_url: str = setting(
        "", units.TEXT, "Server of another engine that answers in place of ours, as http://HOST:PORT; empty: none."
    )
    engine_kind: str = setting(
        "openai",
        units.choice("openai", "vllm", "sglang", "trtllm", "llamacpp"),
        "What that server is: it decides what is exact, what has a seam and what is refused.",
    )
    engine_command: str = setting(
        "", units.TEXT, "Command that starts that server as a child; empty: it runs already, and is attached to."
    )
    engine_events: str = setting(
        "", units.TEXT, "ZeroMQ endpoint at which that server publishes its cache events; empty: none are read."
    )
    engine_key_file: str = setting("", units.TEXT, "File with the key that that server asks for; empty: it asks none.")


@dataclass(frozen=True)
class EngineSettings:
    """One model on one device: schedule, cache, kernels."""

    device: str = setting("auto", units.choice("auto", "cpu", "cuda"), "Where the model runs.")
    dtype: str = setting(
        "auto", units.choice("auto", "float32", "bfloat16", "float16"), "Type that weights and arithmetic use."
    )
    quantize: str = setting(
        "none",
        units.choice("none", "int8"),
        "What weights are rounded to as they are loaded: nothing, or 8-bit integers by group of 128.",
    )
    kernels: str = setting(
        "auto", units.choice("auto", "native", "torch"), "Own C++ kernels, or the torch reference; auto takes the best."
    )
    threads: int | None = setting(None, units.auto(units.PLAIN), "CPU threads of the engine.", at_least=1)
    kv_dtype: str = setting(
        "float32",
        units.choice("float32", "float16"),
        "Type that keys and values are kept in; float16 halves their memory and rounds them.",
    )
    kv_memory: int | None = setting(None, units.auto(units.BYTES), "Memory for keys and values.", at_least=1)
    kv_tokens: int | None = setting(
        None, units.auto(units.COUNT), "Tokens whose keys and values fit at once; overrides kv_memory.", at_least=1
    )
    max_context: int | None = setting(
        None, units.auto(units.COUNT), "Longest prompt and answer together; auto takes the model's.", at_least=1
    )
    max_running: int = setting(32, units.COUNT, "Requests computed at the same time.", at_least=1)
    step_tokens: int = setting(512, units.COUNT, "Most tokens computed in one step, over all requests.", at_least=1)
    prefill_chunk: int = setting(256, units.COUNT, "Most prompt tokens of one request in one step.", at_least=1)
    round_activations: bool = setting(
        False, units.SWITCH, "With weights in 8-bit floats, round activations to such, too, by 128, as a GPU would."
    )
    overlap: bool = setting(
        False, units.SWITCH, "Plan each step while the one before it runs, on a thread of its own; not with drafts."
    )
    prefix_cache: bool = setting(
        True, units.SWITCH, "Keep the keys and values of prompts for requests that share them."
    )
    jump_forward: bool = setting(
        True, units.SWITCH, "Commit text that a grammar forces in one step; answers are the same without."
    )
    speculation: str = setting(
        "off", units.choice("off", "ngram"), "Guess tokens from what the request has said, and verify them in one step."
    )
    draft_tokens: int = setting(8, units.PLAIN, "Most tokens guessed for one request in one step.", at_least=1)
    draft_rule: str = setting(
        "coupled",
        units.choice("coupled", "probability"),
        "How a guess is accepted; coupled leaves each answer as it is without guesses.",
    )


@dataclass(frozen=True)
class FleetSettings:
    """Control plane and agents: what is kept running, and how patiently."""

    replicas: int = setting(1, units.PLAIN, "Replicas of a deployment that names no number.")
    start_timeout: float = setting(
        120.0, units.DURATION, "A replica must be ready after this long, else it is started anew."
    )
    stop_timeout: float = setting(40.0, units.DURATION, "From SIGTERM to SIGKILL.")
    backoff_first: float = setting(0.2, units.DURATION, "Wait before the first restart; doubles with each failure.")
    backoff_limit: float = setting(30.0, units.DURATION, "Longest wait before a restart.")
    backoff_reset: float = setting(
        10.0, units.DURATION, "A replica that lived this long starts again at backoff_first."
    )
    lost_after: float = setting(
        20.0, units.DURATION, "A cluster whose agent was not heard for this long has no room for replicas."
    )
    poll_timeout: float = setting(20.0, units.DURATION, "How long the control plane holds a poll that has no news.")
    linger: float = setting(
        300.0,
        units.DURATION,
        "How long the warm process that replicas are forked from stays without any; 0s: replicas start plainly.",
    )
    keep: float = setting(
        400 * 86_400.0, units.DURATION, "How long the event log and the ledger are kept; 62 days at least."
    )
    log_limit: int = setting(
        10 << 20, units.BYTES, "Size at which a replica's log is turned over; one old log is kept."
    )


@dataclass(frozen=True)
class LogSettings:
    """What processes say on stderr."""

    level: str = setting(
        "info", units.choice("debug", "info", "warning", "error"), "Least level logged.", flag="log-level"
    )
    format: str = setting(
        "text", units.choice("text", "json"), "One line an event, or one JSON object.", flag="log-format"
    )


@dataclass(frozen=True)
class HomeSettings:
    """The one setting that stands above the sections."""

    home: str = setting("~/.colonnade", units.TEXT, "Folder of all state: keys, database, records, logs, config.toml.")


SECTIONS = {
    "": HomeSettings,
    "http": HttpSettings,
    "gateway": GatewaySettings,
    "replica": ReplicaSettings,
    "engine": EngineSettings,
    "fleet": FleetSettings,
    "log": LogSettings,
}

REGISTRY: tuple[Setting, ...] = tuple(each for name, settings in SECTIONS.items() for each in declared(name, settings))
