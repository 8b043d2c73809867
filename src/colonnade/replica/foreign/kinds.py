"""What each foreign engine can hold of our contract: data, published in /v1/models and docs/foreign-engines.md. Pure.

exact     as with our own engine
seam      it works, with a difference that `why` names
refused   a request that needs it is answered by 400 with `why`
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Standing = Literal["exact", "seam", "refused"]

FEATURES: Mapping[str, str] = {
    "stream": "streams by the contract, whole events alone",
    "cancel": "a client that leaves ends the work",
    "reconnect": "`Colonnade-Resume` and `Last-Event-ID`, at the same replica",
    "resume": "another replica goes on with a broken stream, by replay",
    "token_ids": "tokens lines in streams",
    "usage": "usage lines in streams",
    "seed": "`seed`: equal requests give equal answers",
    "n": "several choices",
    "logprobs": "log-probabilities of the model's distribution",
    "tools": "calls of tools",
    "json_schema": "`response_format`",
    "grammar": "`regex` and `ebnf`",
    "token_prompts": "prompts of /v1/completions as token ids",
    "cache_salt": "`cache_salt`, and prefixes shared within one tenant alone",
    "load": "running, waiting and memory, as the engine tells them",
    "cache_events": "which prefixes it holds, for routing",
    "progress": "health by tokens that grow while requests run",
}


@dataclass(frozen=True, slots=True)
class Ability:
    standing: Standing
    why: str = ""


@dataclass(frozen=True, slots=True)
class Kind:
    """`health` answers 200 when the server takes requests; `metrics` is read twice a second, "" for none. `asks` is
    added to the body of every request, `asks_stream` to those of streams' `stream_options`."""

    name: str
    title: str
    abilities: Mapping[str, Ability]
    health: str = "/v1/models"
    metrics: str = ""
    asks: Mapping[str, Any] = field(default_factory=dict[str, Any])
    asks_stream: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def facts(self) -> dict[str, dict[str, str]]:
        return {name: {"standing": each.standing, "why": each.why} for name, each in self.abilities.items()}


_EXACT = Ability("exact")
_NO_REPLAY = "its tokens do not follow from seed and position, so that another replica would say something else"
_NO_IDS = "it gives no token ids with text"
_SHARED = Ability("refused", "its prefix cache is shared by all; run one server a tenant, or switch its cache off")
_NO_BLOCKS = Ability("refused", "it publishes no cache events")
_BLOCKS = Ability(
    "seam",
    "whole blocks, published token by token hash (`engine_events`); gateways do not route by them, since this replica "
    "does not tokenise",
)
_COUNTED = Ability("exact", "its own counters of tokens, and what passes here")

_ALL: Mapping[str, Ability] = {
    "stream": _EXACT,
    "cancel": Ability("exact", "its connection is closed"),
    "reconnect": _EXACT,
    "resume": Ability("refused", _NO_REPLAY),
    "token_ids": Ability("refused", _NO_IDS),
    "usage": Ability("seam", "on the last block alone"),
    "n": _EXACT,
    "tools": Ability("seam", "read by its own parser, which the server's flags choose"),
    "grammar": Ability("refused", "it takes none in this form; `response_format` with a JSON schema may do"),
    "cache_salt": _SHARED,
    "cache_events": _NO_BLOCKS,
}

OPENAI = Kind(
    "openai",
    "any server that speaks OpenAI's API",
    {
        **_ALL,
        "seed": Ability("seam", "passed on; what it means is the server's"),
        "logprobs": Ability("seam", "passed on; the server says of which distribution they are"),
        "json_schema": Ability("seam", "passed on; whether it is enforced is the server's"),
        "token_prompts": Ability("seam", "passed on; many servers take them"),
        "load": Ability("refused", "only what passes here is counted"),
        "progress": Ability("seam", "by the streams that pass here; of other answers nothing is seen until they end"),
    },
)

VLLM = Kind(
    "vllm",
    "vLLM",
    {
        **_ALL,
        "token_ids": Ability("exact", "asked for with `return_token_ids`"),
        "usage": Ability("exact", "asked for with `continuous_usage_stats`"),
        "seed": Ability("seam", "holds in equal company alone, unless the server runs with VLLM_BATCH_INVARIANT=1"),
        "logprobs": Ability("exact", "with its default, `--logprobs-mode raw_logprobs`"),
        "json_schema": Ability("exact", "by its structured outputs"),
        "token_prompts": _EXACT,
        "cache_salt": Ability("exact", "each tenant's requests carry a salt of their own"),
        "load": Ability("exact", "vllm:num_requests_running, …_waiting, kv_cache_usage_perc, cache_config_info"),
        "cache_events": _BLOCKS,
        "progress": _COUNTED,
    },
    health="/health",
    metrics="/metrics",
    asks={"return_token_ids": True},
    asks_stream={"continuous_usage_stats": True},
)

SGLANG = Kind(
    "sglang",
    "SGLang",
    {
        **_ALL,
        "seed": Ability("seam", "holds with `--enable-deterministic-inference` alone"),
        "logprobs": Ability("seam", "taken after the temperature, unless the server is told otherwise"),
        "json_schema": Ability("exact", "by its grammar backend"),
        "grammar": Ability("exact", "`regex` and `ebnf` are its own words; of EBNF its backend's dialect counts"),
        "token_prompts": _EXACT,
        "load": Ability("exact", "sglang:num_running_reqs, num_queue_reqs, num_used_tokens; needs `--enable-metrics`"),
        "cache_events": _BLOCKS,
        "progress": _COUNTED,
    },
    health="/health",
    metrics="/metrics",
)

TRTLLM = Kind(
    "trtllm",
    "TensorRT-LLM (trtllm-serve)",
    {
        **_ALL,
        "seed": Ability("seam", "holds in equal company alone"),
        "logprobs": Ability("seam", "which distribution they are of depends on its sampler"),
        "json_schema": Ability("seam", "enforced where the server has a `guided_decoding_backend`"),
        "token_prompts": _EXACT,
        "load": Ability("seam", "of its last iterations: each is told once, so that nobody else may read /metrics"),
        "progress": Ability("exact", "its iterations, and what passes here"),
    },
    health="/health",
    metrics="/metrics",
)

LLAMACPP = Kind(
    "llamacpp",
    "llama.cpp (llama-server)",
    {
        **_ALL,
        "n": Ability("seam", "since the end of 2025; older servers answer 400"),
        "seed": Ability("seam", "holds in equal company alone, and with equal hits of its prompt cache"),
        "logprobs": Ability("exact", "of the distribution before its samplers"),
        "json_schema": Ability("seam", "turned into GBNF: what that cannot say is not enforced"),
        "token_prompts": _EXACT,
        "load": Ability("exact", "llamacpp:requests_processing and requests_deferred; needs `--metrics`"),
        "progress": _COUNTED,
    },
    health="/health",
    metrics="/metrics",
)

KINDS: Mapping[str, Kind] = {each.name: each for each in (OPENAI, VLLM, SGLANG, TRTLLM, LLAMACPP)}
