"""What becomes of a package here: who serves it, and which of its wishes are kept, changed or refused. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec

from colonnade.packages.schema.config import Config
from colonnade.packages.schema.engine import Build
from colonnade.packages.schema.running import DockerServer

Verdict = Literal["kept", "mapped", "refused"]


class Wish(msgspec.Struct, frozen=True):
    """`key` of config.yaml, what becomes of it, and how or why."""

    key: str
    verdict: Verdict
    said: str

    @property
    def decides(self) -> bool:
        """Refused, it leaves nothing to serve."""
        return self.verdict == "refused" and self.key in ("docker_server", "bis_llm", "trt_llm")


def wishes(config: Config) -> list[Wish]:
    """All that goes beyond a Python class in a folder."""
    found = [*_servers(config), *_machine(config), *_files(config)]
    return sorted(found, key=lambda wish: wish.key)


def _servers(config: Config) -> Iterator[Wish]:
    if config.docker_server is not None:
        yield from _command(config.docker_server)
    if config.trt_llm is not None:
        yield Wish("trt_llm", "refused", "an LLM is served from its own folder: `colonnade serve FOLDER`")
        yield from _engine(config.trt_llm.root.build, config.trt_llm.root.runtime.served_model_name)
    if config.bis_llm is not None:
        yield Wish("bis_llm", "refused", "the platform's own LLM stack: name the checkpoint in a model folder instead")
    if config.runtime.transport.kind == "grpc":
        yield Wish("runtime.transport.kind", "refused", "grpc is not served")


def _command(server: DockerServer) -> Iterator[Wish]:
    if server.no_build and server.start_command is None:
        said = "the command is in the image, and no image is run: write docker_server.start_command"
        yield Wish("docker_server", "refused", said)
        return
    said = f"run as a process of this machine, at its port {server.server_port} or a free one"
    yield Wish("docker_server", "kept", said)
    if server.run_as_user_id is not None:
        yield Wish("docker_server.run_as_user_id", "refused", "it runs as the user who serves it")


def _engine(build: Build, name: str | None) -> Iterator[Wish]:
    """A checkpoint with a decoder is a model of our own engine; its options are settings of `colonnade serve`."""
    if build.base_model != "decoder":
        yield Wish("trt_llm.build.base_model", "refused", f"the engine serves decoders, not {build.base_model}")
        return
    checkpoint = build.checkpoint_repository
    if checkpoint is not None:
        place = f"{checkpoint.source}:{checkpoint.repo}"
        yield Wish("trt_llm.build.checkpoint_repository", "mapped", f"fetch {place}, then `colonnade serve FOLDER`")
    if build.max_seq_len:
        yield Wish("trt_llm.build.max_seq_len", "mapped", f"--max-context {build.max_seq_len}")
    if "max_batch_size" in build.model_fields_set:
        yield Wish("trt_llm.build.max_batch_size", "mapped", f"--max-running {build.max_batch_size}")
    if "max_num_tokens" in build.model_fields_set:
        yield Wish("trt_llm.build.max_num_tokens", "mapped", f"--step-tokens {build.max_num_tokens}")
    if name:
        yield Wish("trt_llm.runtime.served_model_name", "mapped", f"--served-name {name}")
    if build.quantization_type != "no_quant":
        yield Wish("trt_llm.build.quantization_type", "refused", "weights are served in the type that they come in")
    if build.devices > 1:
        yield Wish("trt_llm.build.tensor_parallel_count", "refused", "one device a replica")
    if build.speculator is not None:
        yield Wish("trt_llm.build.speculator", "refused", "no speculation")
    if build.lora_adapters:
        yield Wish("trt_llm.build.lora_adapters", "refused", "no adapters")


def _machine(config: Config) -> Iterator[Wish]:
    for key in ("requirements", "requirements_file"):
        if getattr(config, key):
            yield Wish(key, "kept", "installed in an environment of the package's own")
    here = "what the machine has is used: no image is built"
    for key in ("system_packages", "build_commands", "base_image"):
        if getattr(config, key):
            yield Wish(key, "refused", here)
    runtime = config.runtime
    if runtime.egress_restrictions is not None:
        yield Wish("runtime.egress_restrictions", "refused", "a process of this machine reaches what the machine does")
    if runtime.remote_ssh.enabled:
        yield Wish("runtime.remote_ssh", "refused", "the process runs on your machine")
    if config.resources.accelerator.accelerator:
        yield Wish("resources.accelerator", "kept", f"{config.resources.accelerator.text}: must be here; not reserved")


def _files(config: Config) -> Iterator[Wish]:
    for key in ("weights", "model_cache", "external_data", "training_checkpoints"):
        if getattr(config, key):
            yield Wish(key, "refused", "files are not fetched: put them where the class opens them")
