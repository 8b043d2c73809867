"""The command of another engine's server for an LLM section of config.yaml. Pure.

Flags are those of vLLM's `vllm serve`, SGLang's `sglang.launch_server` and TensorRT-LLM's `trtllm-serve`.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping

from colonnade.packages.llm import Llm

_FP8 = ("fp8", "fp8_kv")
_KV = ("fp8_kv", "fp4_kv")


def _vllm(llm: Llm, repo: str, revision: str) -> list[str]:
    return [
        *("vllm", "serve", repo),
        *_flag("--revision", revision),
        *_flag("--max-model-len", llm.context),
        *_flag("--max-num-seqs", llm.batch),
        *_flag("--max-num-batched-tokens", llm.step),
        *_flag("--tensor-parallel-size", llm.devices if llm.devices > 1 else None),
        *_flag("--pipeline-parallel-size", llm.stages if llm.stages > 1 else None),
        *_flag("--quantization", "fp8" if llm.quantization in _FP8 else None),
        *_flag("--kv-cache-dtype", "fp8" if llm.quantization in _KV else None),
        *_flag("--gpu-memory-utilization", llm.memory),
    ]


def _sglang(llm: Llm, repo: str, revision: str) -> list[str]:
    return [
        *("python3", "-m", "sglang.launch_server", "--enable-metrics", "--model-path", repo),
        *_flag("--revision", revision),
        *_flag("--context-length", llm.context),
        *_flag("--max-running-requests", llm.batch),
        *_flag("--chunked-prefill-size", llm.step),
        *_flag("--tp-size", llm.devices if llm.devices > 1 else None),
        *_flag("--pp-size", llm.stages if llm.stages > 1 else None),
        *_flag("--quantization", "fp8" if llm.quantization in _FP8 else None),
        *_flag("--kv-cache-dtype", "fp8_e4m3" if llm.quantization in _KV else None),
        *_flag("--mem-fraction-static", llm.memory),
    ]


def _trtllm(llm: Llm, repo: str, revision: str) -> list[str]:
    return [
        *("trtllm-serve", repo),
        *_flag("--revision", revision),
        *_flag("--max_seq_len", llm.context),
        *_flag("--max_batch_size", llm.batch),
        *_flag("--max_num_tokens", llm.step),
        *_flag("--tp_size", llm.devices if llm.devices > 1 else None),
        *_flag("--pp_size", llm.stages if llm.stages > 1 else None),
        *_flag("--kv_cache_free_gpu_memory_fraction", llm.memory),
    ]


SERVERS: Mapping[str, Callable[[Llm, str, str], list[str]]] = {"vllm": _vllm, "sglang": _sglang, "trtllm": _trtllm}
"""By `engine_kind`."""


def command(kind: str, llm: Llm, port: int) -> str:
    """As a shell reads it."""
    repo, _, revision = llm.model.partition("@")
    return shlex.join([*SERVERS[kind](llm, repo, revision), "--host", "127.0.0.1", "--port", str(port)])


def lost(kind: str, llm: Llm) -> list[str]:
    """Keys that this server's command does not carry, either."""
    fp4 = llm.quantization not in ("no_quant", *_FP8) or (kind == "trtllm" and llm.quantization != "no_quant")
    wanted = [each.key for each in llm.wishes]
    extra = [key for key in wanted if "patch_kwargs" in key or key.endswith(("lora_adapters", "speculator"))]
    return [*(["trt_llm.build.quantization_type"] if fp4 else []), *extra]


def _flag(name: str, value: object) -> list[str]:
    return [] if value in (None, "") else [name, str(value)]
