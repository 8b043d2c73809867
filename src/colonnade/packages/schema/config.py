"""The whole of a config.yaml."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import Field, field_validator

from colonnade.packages.fault import Path
from colonnade.packages.schema.engine import ENCODERS, RENAMED, BisLlm, TrtLlm
from colonnade.packages.schema.part import Part, is_mapping, wrong
from colonnade.packages.schema.running import BaseImage, Build, DockerServer, Resources, Runtime
from colonnade.packages.schema.weights import CachedRepository, Checkpoints, ExternalData, ModelRepository, Weights

PYTHONS = ("py39", "py310", "py311", "py312", "py313", "py314")
RESERVED = ("PORT", "HOSTNAME")
"""Environment variables that whoever runs a package sets."""


class Config(Part):
    model_name: str | None = None
    model_metadata: dict[str, Any] = Field(default_factory=dict)
    description: str | None = None
    examples_filename: str = "examples.yaml"
    data_dir: str = "data"
    external_data: list[ExternalData] | None = None
    external_package_dirs: list[str] = Field(default_factory=list)
    python_version: str = "py313"
    base_image: BaseImage | None = None
    requirements_file: str | None = None
    requirements: list[str] = Field(default_factory=list)
    system_packages: list[str] = Field(default_factory=list)
    environment_variables: dict[str, str] = Field(default_factory=dict)
    secrets: dict[str, str | None] = Field(default_factory=dict)
    resources: Resources = Field(default_factory=Resources)
    runtime: Runtime = Field(default_factory=Runtime)
    build: Build = Field(default_factory=Build)
    build_commands: list[str] = Field(default_factory=list)
    docker_server: DockerServer | None = None
    model_cache: list[ModelRepository] = Field(default_factory=list)
    weights: list[Weights] = Field(default_factory=list)
    trt_llm: TrtLlm | None = None
    training_checkpoints: Checkpoints | None = None
    bis_llm: BisLlm | None = None
    input_type: str = "Any"
    model_framework: str = "custom"
    model_type: str = "Model"
    model_module_dir: str = "model"
    model_class_filename: str = "model.py"
    model_class_name: str = "Model"
    bundled_packages_dir: str = "packages"
    use_local_src: bool = False
    cache_internal: list[CachedRepository] = Field(default_factory=list)
    live_reload: bool = False
    apply_library_patches: bool = True
    spec_version: str = "2.0"

    @field_validator("python_version")
    @classmethod
    def _python(cls, version: str) -> str:
        if version not in PYTHONS:
            raise wrong(f"must be one of {', '.join(PYTHONS)}, got {version}")
        return version

    @field_validator("environment_variables", mode="before")
    @classmethod
    def _texts(cls, variables: Any) -> Any:
        if not is_mapping(variables):
            return variables
        return {name: str(v).lower() if isinstance(v, bool) else str(v) for name, v in variables.items()}

    @field_validator("cache_internal", mode="before")
    @classmethod
    def _none(cls, value: Any) -> Any:
        return [] if value is None else value

    @field_validator("weights")
    @classmethod
    def _apart(cls, weights: list[Weights]) -> list[Weights]:
        places = [each.mount_location for each in weights]
        if twice := sorted({place for place in places if places.count(place) > 1}):
            raise wrong(f"mounted twice: {', '.join(twice)}")
        return weights

    @property
    def kind(self) -> str:
        """`model_class`, `docker_server` or `trt_llm`: who serves it."""
        if self.docker_server is not None:
            return "docker_server"
        return "model_class" if self.trt_llm is None else "trt_llm"


Conflict = tuple[tuple[str, ...], Path, str]
"""The sections that it is between, the key to blame, and what is wrong."""


def conflicts(config: Config) -> Iterator[Conflict]:
    """What no section can see alone."""
    if config.requirements and config.requirements_file:
        yield ("requirements", "requirements_file"), ("requirements_file",), "choose requirements or requirements_file"
    if config.model_cache and config.weights:
        yield ("model_cache", "weights"), ("model_cache",), "choose model_cache or weights; weights is the newer one"
    server = config.docker_server
    if config.runtime.remote_ssh.enabled and server is not None and server.run_as_user_id is not None:
        where = ("docker_server", "run_as_user_id")
        yield ("runtime", "docker_server"), where, "does not go with runtime.remote_ssh"
    if config.trt_llm is not None:
        yield from _engine_conflicts(config, config.trt_llm)


def _engine_conflicts(config: Config, section: TrtLlm) -> Iterator[Conflict]:
    build, card = section.root.build, config.resources.accelerator
    both = ("trt_llm", "resources")
    where: Path = ("trt_llm", "build", "base_model")
    if build.base_model in RENAMED:
        yield ("trt_llm",), where, f"{build.base_model} is called decoder now"
        return
    if build.base_model == "whisper":
        yield ("trt_llm",), where, "whisper is not served by an LLM engine any more"
        return
    yield from ((both, path, said) for path, said in _device_conflicts(config, section))
    if section.root.inference_stack != "v1":
        return
    tags = config.model_metadata.get("tags", [])
    if not isinstance(tags, list | str):
        yield ("trt_llm", "model_metadata"), ("model_metadata", "tags"), "must be a list of texts"
        return
    both_tags = "openai-compatible" in tags and "force-legacy-api-non-openai-compatible" in tags
    if build.base_model not in ENCODERS and both_tags:
        yield ("trt_llm", "model_metadata"), ("model_metadata", "tags"), "choose one of the two API tags"
    if build.base_model == "decoder" and build.devices != card.count:
        said = f"the engine is built for {build.devices} devices, resources.accelerator has {card.count}"
        yield both, ("trt_llm", "build", "tensor_parallel_count"), said


def _device_conflicts(config: Config, section: TrtLlm) -> Iterator[tuple[Path, str]]:
    """By compute capability: 8.0 at least, 8.9 for FP8, 10.0 for FP4."""
    build, name = section.root.build, config.resources.accelerator.accelerator
    where: Path = ("trt_llm", "build", "quantization_type")
    if name in ("T4", "V100"):
        if build.base_model != "encoder_bert":
            yield ("resources", "accelerator"), f"{name} is too old for this engine: A10G, A100 or newer"
    elif build.quantization_type.startswith(("fp8", "fp4")) and name in ("A10G", "A100", "A100_40GB"):
        yield where, f"{name} has no arithmetic of this kind: L4, H100 or newer"
    elif build.quantization_type.startswith("fp4") and name in ("H100", "H100_40GB", "H200", "L4", "L40S"):
        yield where, f"{name} has no FP4 arithmetic: B200 or newer"
