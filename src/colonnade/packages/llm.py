"""An LLM section of config.yaml (`trt_llm`, of both generations) as a model of our engine with its settings. Pure.

What our engine cannot keep to is refused, key by key, and the model served without it; what leaves nothing to serve
`decides`. Another engine's server may keep more of it: see `colonnade.packages.llm_servers`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from colonnade.packages.schema.config import Config
from colonnade.packages.schema.engine import V1, V2, Build, Checkpoint, Runtime, RuntimeV2, Speculator
from colonnade.packages.wish import Outcome, Wish

CACHE = "/app/model_cache/"
MODEL_PATH = "model_path"
MOST_DRAFTED = 64


class Llm(msgspec.Struct, frozen=True):
    """`model` is a repository of a hub, `org/name` or `org/name@revision`, or a folder; `settings` of our engine by
    name; sizes as config.yaml has them, None where it says nothing."""

    model: str
    served_name: str
    settings: Mapping[str, str | int]
    wishes: tuple[Wish, ...]
    context: int | None
    batch: int | None
    step: int | None
    devices: int
    stages: int
    quantization: str
    memory: float | None


def llm_of(config: Config) -> Llm | None:
    """None for a package that has no LLM section."""
    return None if config.trt_llm is None else _Mapping(config, config.trt_llm.root).llm()


class _Mapping:
    def __init__(self, config: Config, section: V1 | V2) -> None:
        self._config = config
        self._section = section
        self._build = section.build
        self._settings: dict[str, str | int] = {}

    def llm(self) -> Llm:
        runtime = self._section.runtime
        sizes = runtime if isinstance(runtime, RuntimeV2) else self._build
        given = sizes.model_fields_set
        devices = runtime.tensor_parallel_size if isinstance(runtime, RuntimeV2) else self._build.tensor_parallel_count
        model, found = self._checkpoint()
        wishes = (*found, *self._sizes(sizes), *self._kind(), *self._weights(devices), *self._running(runtime))
        return Llm(
            model,
            runtime.served_model_name or self._config.model_name or "",
            self._settings,
            wishes,
            sizes.max_seq_len,
            sizes.max_batch_size if "max_batch_size" in given else None,
            sizes.max_num_tokens if "max_num_tokens" in given else None,
            devices,
            self._build.pipeline_parallel_count,
            self._build.quantization_type,
            _memory(runtime),
        )

    def _checkpoint(self) -> tuple[str, list[Wish]]:
        """The model, and what is to be said of where it comes from."""
        key = "trt_llm.build.checkpoint_repository"
        if (found := self._beside()) is not None:
            return found
        checkpoint = self._build.checkpoint_repository
        if checkpoint is None:
            return "", [Wish("trt_llm.build", "refused", "no checkpoint_repository names the model", decides=True)]
        model = _model(checkpoint)
        if not model:
            said = f"{checkpoint.source} is not fetched from, or {checkpoint.repo!r} is no name: fetch it to a folder"
            return "", [Wish(key, "refused", f"{said}, and serve that", decides=True)]
        return model, [Wish(key, "mapped", f"the model {model}")]

    def _beside(self) -> tuple[str, list[Wish]] | None:
        """A model that `patch_kwargs.model_path` names among the mounted files: the checkpoint is then empty."""
        runtime = self._section.runtime
        place = str(runtime.patch_kwargs.get(MODEL_PATH, "")) if isinstance(runtime, RuntimeV2) else ""
        for each in self._config.model_cache:
            if place and place == CACHE + (each.volume_folder or "") and each.kind == "hf":
                model = _reference(each.repo_id, each.revision)
                return model, [Wish("model_cache", "mapped", f"the model {model}")]
        for each in self._config.weights:
            if place and place == each.mount_location and each.source.startswith("hf://"):
                model = each.source.removeprefix("hf://")
                return model, [Wish("weights", "mapped", f"the model {model}")]
        return None

    def _sizes(self, sizes: Build | RuntimeV2) -> Iterator[Wish]:
        section = "runtime" if isinstance(sizes, RuntimeV2) else "build"
        names = (
            ("max_seq_len", "max_context"),
            ("max_batch_size", "max_running"),
            ("max_num_tokens", "step_tokens"),
        )
        for key, setting in names:
            value = getattr(sizes, key)
            if key in sizes.model_fields_set and value is not None:
                yield self._set(f"trt_llm.{section}.{key}", setting, value)

    def _kind(self) -> Iterator[Wish]:
        for name in sorted(_BUILT.keys() & self._build.model_fields_set):
            verdict, said = _BUILT[name]
            yield Wish(f"trt_llm.build.{name}", verdict, said)
        if "version_overrides" in self._section.model_fields_set:
            yield Wish("trt_llm.version_overrides", "refused", "versions of another engine")
        kind, key = self._build.base_model, "trt_llm.build.base_model"
        if kind == "encoder_bert":
            yield Wish(key, "refused", "the engine serves decoders, and embeddings of decoders", decides=True)
        elif kind == "encoder":
            yield Wish(key, "mapped", "served at /v1/embeddings, where the checkpoint's architecture is a decoder's")
        elif "base_model" in self._build.model_fields_set:
            yield Wish(key, "kept", "served by our engine")
        yield from self._route()

    def _route(self) -> Iterator[Wish]:
        key, route = "trt_llm.runtime.webserver_default_route", None
        if isinstance(self._section.runtime, Runtime):
            route = self._section.runtime.webserver_default_route
        if route == "/v1/embeddings":
            yield Wish(key, "kept", "served at this path")
        elif route is not None:
            yield Wish(key, "refused", f"{route} is not served: of encoders, /v1/embeddings is", decides=True)

    def _weights(self, devices: int) -> Iterator[Wish]:
        build = self._build
        key = "trt_llm.build.quantization_type"
        if build.quantization_type == "weights_int8":
            yield self._set(key, "quantize", "int8")
        elif build.quantization_type != "no_quant":
            said = "weights are served in the type that they come in; --quantize int8 halves them or more"
            yield Wish(key, "refused", said)
        if devices > 1:
            where = "runtime.tensor_parallel_size" if isinstance(self._section, V2) else "build.tensor_parallel_count"
            yield Wish(f"trt_llm.{where}", "refused", "one device a replica: it is served where it fits there")
        for name in ("pipeline_parallel_count", "sequence_parallel_count"):
            if getattr(build, name) > 1:
                yield Wish(f"trt_llm.build.{name}", "refused", "one device a replica")
        if build.moe_expert_parallel_option != -1:
            yield Wish("trt_llm.build.moe_expert_parallel_option", "refused", "one device a replica")
        if build.lora_adapters:
            yield Wish("trt_llm.build.lora_adapters", "refused", "no adapters: the model is served without them")
        if build.speculator is not None:
            yield self._speculation(build.speculator)

    def _speculation(self, speculator: Speculator) -> Wish:
        """Both guess from what was said before; ours leaves answers as they are without."""
        self._settings["speculation"] = "ngram"
        drafted = min(speculator.num_draft_tokens or 8, MOST_DRAFTED)
        self._settings["draft_tokens"] = drafted
        said = f"--speculation ngram --draft-tokens {drafted}"
        return Wish("trt_llm.build.speculator", "mapped", said)

    def _running(self, runtime: Runtime | RuntimeV2) -> Iterator[Wish]:
        if runtime.served_model_name:
            yield self._set("trt_llm.runtime.served_model_name", "served_name", runtime.served_model_name)
        for name in _SAID.keys() & runtime.model_fields_set:
            verdict, said = _SAID[name]
            yield Wish(f"trt_llm.runtime.{name}", verdict, said)
        if isinstance(runtime, RuntimeV2):
            for name in sorted(runtime.patch_kwargs.keys() - {MODEL_PATH}):
                verdict, said = _PATCHES.get(name, ("refused", "an option of another engine"))
                yield Wish(f"trt_llm.runtime.patch_kwargs.{name}", verdict, said)

    def _set(self, key: str, setting: str, value: str | int) -> Wish:
        self._settings[setting] = value
        return Wish(key, "mapped", f"--{setting.replace('_', '-')} {value}")


_Fate = tuple[Outcome, str]

_CHUNKED: _Fate = ("kept", "long prompts are always computed in chunks")
_BUILT: Mapping[str, _Fate] = {
    "gather_all_token_logits": ("kept", "a request asks for log-probabilities of its prompt"),
    "lora_configuration": ("refused", "no adapters"),
    "max_beam_width": ("kept", "one beam"),
    "max_prompt_embedding_table_size": ("refused", "prompts are text or tokens"),
    "num_builder_gpus": ("kept", "nothing is compiled ahead"),
    "plugin_configuration": ("kept", "keys and values are always in pages; there are no plugins to choose"),
    "quantization_config": ("refused", "nothing is calibrated"),
    "skip_build_result": ("kept", "nothing is compiled ahead"),
    "strongly_typed": ("kept", "weights are computed with in the type that --dtype says"),
}
_SAID: Mapping[str, _Fate] = {
    "kv_cache_free_gpu_mem_fraction": ("refused", "--kv-memory or --kv-tokens say what keys and values get"),
    "kv_cache_host_memory_bytes": ("refused", "keys and values stay on the device"),
    "enable_chunked_context": _CHUNKED,
    "enable_chunked_prefill": _CHUNKED,
    "batch_scheduler_policy": ("kept", "requests may be put back; their answers stay the same"),
    "request_default_max_tokens": ("refused", "a request says max_tokens, or gets what fits the context"),
    "total_token_limit": ("refused", "--max-waiting bounds how many requests wait"),
}
_PATCHES: Mapping[str, _Fate] = {
    "guided_decoding_backend": ("kept", "grammars are held to by our own"),
    "disable_overlap_scheduler": ("kept", "--overlap says so; off by default"),
    "tool_call_parser": ("kept", "calls are found by the chat template; --tool-parser says otherwise"),
}


def _memory(runtime: Runtime | RuntimeV2) -> float | None:
    """The share of the device's memory, where one is named."""
    name = "kv_cache_free_gpu_mem_fraction"
    return getattr(runtime, name) if name in runtime.model_fields_set else None


def _model(checkpoint: Checkpoint) -> str:
    """ "" for what cannot be had from here."""
    match checkpoint.source:
        case "HF" if "/" in checkpoint.repo:
            return _reference(checkpoint.repo, checkpoint.revision or "")
        case "LOCAL":
            return checkpoint.repo
        case _:
            return ""


def _reference(repo: str, revision: str) -> str:
    return repo if revision in ("", "main") else f"{repo}@{revision}"
