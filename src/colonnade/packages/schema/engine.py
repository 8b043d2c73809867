"""LLM sections: `trt_llm`, of two generations, and `bis_llm`. They say which checkpoint is served, and how."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AliasChoices,
    BaseModel,
    Discriminator,
    Field,
    RootModel,
    StringConstraints,
    Tag,
    field_validator,
    model_validator,
)

from colonnade.packages.schema.part import Part, is_mapping, wrong

Count = Annotated[int, Field(strict=True, ge=1)]
Length = Annotated[int, Field(strict=True, ge=1, le=1 << 20)]
Batch = Annotated[int, Field(strict=True, ge=1, le=2048)]
Alias = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9_\-\.:]+$")]
RENAMED = ("palmyra", "qwen", "llama", "mistral", "deepseek")
ENCODERS = ("encoder", "encoder_bert")
Quantization = Literal[
    "no_quant",
    "weights_int8",
    "weights_kv_int8",
    "weights_int4",
    "weights_int4_kv_int8",
    "smooth_quant",
    "fp8",
    "fp8_kv",
    "fp4",
    "fp4_kv",
    "fp4_mlp_only",
]
_REPO = re.compile(
    r"(?!.*(--|\.\.))[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?(/[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?)?"
)


class Plugins(Part):
    paged_kv_cache: bool = True
    use_paged_context_fmha: bool = True
    use_fp8_context_fmha: bool = False


class Calibration(Part):
    loose: ClassVar[bool] = True

    calib_size: int = 1024
    calib_dataset: str = "abisee/cnn_dailymail"
    calib_max_seq_length: int = 1536

    @field_validator("calib_size", "calib_max_seq_length")
    @classmethod
    def _even(cls, value: int) -> int:
        if not 64 <= value <= 16384 or value % 64:
            raise wrong(f"must be a multiple of 64 from 64 to 16384, got {value}")
        return value


class Checkpoint(Part):
    loose: ClassVar[bool] = True

    source: Literal["HF", "GCS", "S3", "AZURE", "LOCAL", "REMOTE_URL", "BASETEN_TRAINING"]
    repo: str
    revision: str | None = None
    runtime_secret_name: str = "hf_access_token"

    @model_validator(mode="after")
    def _named(self) -> Self:
        fits = _REPO.fullmatch(self.repo) and len(self.repo) <= 96 and not self.repo.endswith(".git")
        if self.source == "HF" and not fits:
            raise wrong(f"no name of a Hugging Face repository: {self.repo!r}", "repo")
        return self


class Runtime(Part):
    kv_cache_free_gpu_mem_fraction: float = 0.9
    kv_cache_host_memory_bytes: Count | None = None
    enable_chunked_context: bool = True
    batch_scheduler_policy: Literal["max_utilization", "guaranteed_no_evict"] = "guaranteed_no_evict"
    request_default_max_tokens: Count | None = None
    served_model_name: str | None = None
    total_token_limit: int = 500000
    webserver_default_route: Literal["/v1/embeddings", "/rerank", "/predict", "/predict_tokens"] | None = None


class RuntimeV2(Part):
    max_seq_len: Length | None = None
    max_batch_size: Batch = 256
    max_num_tokens: Annotated[int, Field(strict=True, gt=64, le=131072)] = 8192
    tensor_parallel_size: Count = 1
    enable_chunked_prefill: bool = True
    served_model_name: str | None = None
    patch_kwargs: dict[str, str | int | float | dict[Any, Any] | list[Any] | None] = Field(
        default_factory=dict, validation_alias=AliasChoices("patch_kwargs", "gated_features")
    )


class Lora(Part):
    max_lora_rank: int = 64
    lora_target_modules: list[str] = Field(default_factory=list)


class Speculator(Part):
    loose: ClassVar[bool] = True

    speculative_decoding_mode: Literal["DRAFT_TOKENS_EXTERNAL", "LOOKAHEAD_DECODING"] = "DRAFT_TOKENS_EXTERNAL"
    num_draft_tokens: Count | None = None
    checkpoint_repository: Checkpoint | None = None
    runtime: Runtime = Field(default_factory=Runtime)
    build: Build | None = None
    lookahead_windows_size: Count | None = None
    lookahead_ngram_size: Count | None = None
    lookahead_verification_set_size: Count | None = None
    enable_b10_lookahead: bool | None = False

    @model_validator(mode="after")
    def _mode(self) -> Self:
        if self.speculative_decoding_mode == "LOOKAHEAD_DECODING":
            self._lookahead()
        else:
            if bool(self.checkpoint_repository) == bool(self.build):
                raise wrong("speculation needs checkpoint_repository or build, and not both", "build")
            if not self.num_draft_tokens:
                raise wrong("drafting by another model needs num_draft_tokens", "num_draft_tokens")
        if self.num_draft_tokens is not None and self.num_draft_tokens > 2048:
            raise wrong(f"at most 2048 draft tokens, got {self.num_draft_tokens}", "num_draft_tokens")
        return self

    def _lookahead(self) -> None:
        window, ngram, checked = (
            self.lookahead_windows_size,
            self.lookahead_ngram_size,
            self.lookahead_verification_set_size,
        )
        if window is None or ngram is None or checked is None:
            sizes = "lookahead_windows_size, lookahead_ngram_size and lookahead_verification_set_size"
            raise wrong(f"lookahead decoding needs {sizes}")
        drafted = max(0, ngram - 2) + (window - 1 + checked) * (ngram - 1)
        if self.num_draft_tokens is None:
            self.num_draft_tokens = drafted
        if self.num_draft_tokens < drafted:
            raise wrong(f"the lookahead sizes draft {drafted} tokens: raise num_draft_tokens", "num_draft_tokens")


class Build(Part):
    loose: ClassVar[bool] = True

    base_model: Literal[
        "encoder", "encoder_bert", "decoder", "palmyra", "qwen", "llama", "mistral", "deepseek", "whisper"
    ] = "decoder"
    max_seq_len: Length | None = None
    max_batch_size: Batch = 256
    max_num_tokens: Annotated[int, Field(strict=True, gt=64, le=1 << 20)] = 8192
    max_beam_width: Annotated[int, Field(strict=True, ge=1, le=1)] = 1
    max_prompt_embedding_table_size: int = 0
    checkpoint_repository: Checkpoint | None = None
    gather_all_token_logits: bool = False
    strongly_typed: bool = False
    quantization_type: Quantization = "no_quant"
    quantization_config: Calibration = Field(default_factory=Calibration)
    tensor_parallel_count: Count = 1
    pipeline_parallel_count: int = 1
    moe_expert_parallel_option: int = -1
    sequence_parallel_count: int = 1
    plugin_configuration: Plugins = Field(default_factory=Plugins)
    num_builder_gpus: Count | None = None
    speculator: Speculator | None = None
    lora_adapters: dict[Alias, Checkpoint] | None = None
    lora_configuration: Lora | None = None
    skip_build_result: bool = False

    @property
    def devices(self) -> int:
        return self.tensor_parallel_count * self.pipeline_parallel_count * self.sequence_parallel_count

    @model_validator(mode="after")
    def _cache(self) -> Self:
        plugins = self.plugin_configuration
        if self.base_model == "encoder":  # keeps no keys and values between requests
            plugins.paged_kv_cache = plugins.use_paged_context_fmha = False
        if plugins.use_paged_context_fmha and not plugins.paged_kv_cache:
            raise wrong("use_paged_context_fmha requires paged_kv_cache", "plugin_configuration")
        if self.speculator is None:
            return self
        if not (plugins.use_paged_context_fmha and plugins.paged_kv_cache):
            raise wrong("speculation requires paged_kv_cache and use_paged_context_fmha", "plugin_configuration")
        if self.speculator.speculative_decoding_mode == "DRAFT_TOKENS_EXTERNAL":
            raise wrong("drafting by another model was given up: use LOOKAHEAD_DECODING", "speculator")
        return self

    @model_validator(mode="after")
    def _experts(self) -> Self:
        experts = self.moe_expert_parallel_option
        if self.base_model == "decoder" and experts != -1 and not 0 < experts <= self.tensor_parallel_count:
            raise wrong("must be -1, or from 1 to tensor_parallel_count", "moe_expert_parallel_option")
        return self


class Versions(Part):
    engine_builder_version: str | None = None
    briton_version: str | None = None
    bei_version: str | None = None
    bei_bert_version: str | None = None
    v2_llm_version: str | None = None

    @field_validator("engine_builder_version", "briton_version", "bei_version", "bei_bert_version")
    @classmethod
    def _number(cls, value: str | None) -> str | None:
        if value is not None and not value[:1].isdigit():
            raise wrong("must start with a number")
        return value


class V1(Part):
    build: Build
    inference_stack: Literal["v1"] = "v1"
    runtime: Runtime = Field(default_factory=Runtime)
    version_overrides: Versions = Field(default_factory=Versions)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.build.checkpoint_repository is None:
            raise wrong("checkpoint_repository is required under build", "build")
        plugins = self.build.plugin_configuration
        paged = plugins.use_paged_context_fmha and plugins.paged_kv_cache
        if self.runtime.enable_chunked_context and self.build.base_model not in ENCODERS and not paged:
            raise wrong("enable_chunked_context requires paged_kv_cache and use_paged_context_fmha", "runtime")
        return self


class V2(Part):
    inference_stack: Literal["v2"] = "v2"
    build: Build
    runtime: RuntimeV2
    version_overrides: Versions = Field(default_factory=Versions)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        build = self.build
        if build.checkpoint_repository is None and not build.skip_build_result:
            raise wrong("checkpoint_repository is required under build unless skip_build_result is set", "build")
        free = {"checkpoint_repository", "quantization_type", "quantization_config", "skip_build_result"}
        fresh = Build()
        for name in (build.model_fields_set & set(Build.model_fields)) - free - {"num_builder_gpus"}:
            if getattr(build, name) != getattr(fresh, name):
                raise wrong(f"build.{name} does not go with inference_stack v2", "build")
        return self


def _generation(value: Any) -> str | None:
    if is_mapping(value):
        return value.get("inference_stack") or "v1"
    return getattr(value, "inference_stack", None)


class TrtLlm(RootModel[Annotated[Annotated[V1, Tag("v1")] | Annotated[V2, Tag("v2")], Discriminator(_generation)]]):
    pass


class Metric(BaseModel):
    name: str
    target: float


class Autoscaling(BaseModel):
    metrics: list[Metric]


class BisLlm(Part):
    config: dict[str, Any] | None = None
    version: str = ""
    additional_autoscaling_config: Autoscaling | None = None
