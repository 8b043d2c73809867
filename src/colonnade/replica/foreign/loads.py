"""A foreign engine's own metrics as our `Load`. Pure: the page comes in as text.

`work` is a count that moves when the engine computes: of tokens, or of steps where it tells those. None where a page
does not tell it.

    vLLM           docs/usage/metrics: vllm:num_requests_running, …_waiting, kv_cache_usage_perc (once gpu_cache_…)
    SGLang         docs/references/production_metrics: sglang:num_running_reqs, num_queue_reqs, num_used_tokens
    TensorRT-LLM   trtllm-serve's /metrics: a JSON list of iterations, each told once
    llama.cpp      tools/server/README: llamacpp:requests_processing, requests_deferred
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec

from colonnade.replica.foreign.samples import Samples
from colonnade.wire.messages import Load


@dataclass(frozen=True, slots=True)
class Seen:
    """What a page of metrics says; `load.steps` is not set: the adapter counts them."""

    load: Load
    work: int | None = None


Reader = Callable[[str], Seen | None]
"""None for a page that tells nothing."""


def vllm(text: str) -> Seen | None:
    samples = Samples(text)
    running = samples.total("vllm:num_requests_running")
    if running is None:
        return None
    block = _whole(samples.label("vllm:cache_config_info", "block_size"))
    total = _whole(samples.label("vllm:cache_config_info", "num_gpu_blocks")) * block
    share = samples.most("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc") or 0.0
    used = round(share * total)
    load = Load(running, samples.total("vllm:num_requests_waiting") or 0, used, used, 0, total)
    names = ("vllm:generation_tokens_total", "vllm:prompt_tokens_total", "vllm:iteration_tokens_total_count")
    return Seen(load, _sum(samples, *names))


def sglang(text: str) -> Seen | None:
    samples = Samples(text)
    running = samples.total("sglang:num_running_reqs")
    if running is None:
        return None
    used = samples.total("sglang:num_used_tokens") or 0
    share = samples.most("sglang:token_usage") or 0.0
    total = samples.total("sglang:max_total_num_tokens") or (round(used / share) if share else 0)
    load = Load(running, samples.total("sglang:num_queue_reqs") or 0, used, used, 0, total)
    return Seen(load, _sum(samples, "sglang:generation_tokens_total", "sglang:prompt_tokens_total"))


def llamacpp(text: str) -> Seen | None:
    samples = Samples(text)
    running = samples.total("llamacpp:requests_processing")
    if running is None:
        return None
    held = samples.total("llamacpp:kv_cache_tokens") or 0
    share = samples.most("llamacpp:kv_cache_usage_ratio") or 0.0
    load = Load(
        running, samples.total("llamacpp:requests_deferred") or 0, held, held, 0, round(held / share) if share else 0
    )
    names = ("llamacpp:tokens_predicted_total", "llamacpp:prompt_tokens_total", "llamacpp:n_decode_total")
    return Seen(load, _sum(samples, *names))


class _Blocks(msgspec.Struct, rename="camel"):
    max_num_blocks: int = 0
    used_num_blocks: int = 0
    tokens_per_block: int = 1


class _Iteration(msgspec.Struct, rename="camel"):
    iter: int = 0
    num_active_requests: int = 0
    num_queued_requests: int = 0
    kv_cache_stats: _Blocks | None = None


def trtllm(text: str) -> Seen | None:
    """An empty list says that there was no iteration since the last look."""
    try:
        iterations = msgspec.json.decode(text, type=list[_Iteration])
    except msgspec.DecodeError:
        return None
    if not iterations:
        return None
    last = iterations[-1]
    blocks = last.kv_cache_stats or _Blocks()
    used, total = (count * blocks.tokens_per_block for count in (blocks.used_num_blocks, blocks.max_num_blocks))
    return Seen(Load(last.num_active_requests, last.num_queued_requests, used, used, 0, total), last.iter)


READERS: Mapping[str, Reader] = {"vllm": vllm, "sglang": sglang, "llamacpp": llamacpp, "trtllm": trtllm}
"""By kind; one that is not here has no metrics that are read."""


def _sum(samples: Samples, *names: str) -> int | None:
    found = [count for name in names if (count := samples.total(name)) is not None]
    return sum(found) if found else None


def _whole(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() else 0
