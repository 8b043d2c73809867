"""What becomes of a package here: who serves it, and which of its wishes are kept, changed or refused. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from colonnade.packages.llm import llm_of
from colonnade.packages.schema.config import Config
from colonnade.packages.schema.running import DockerServer
from colonnade.packages.wish import Wish


def wishes(config: Config) -> list[Wish]:
    """All that goes beyond a Python class in a folder."""
    found = [*_servers(config), *_machine(config), *_files(config)]
    return sorted(found, key=lambda wish: wish.key)


def _servers(config: Config) -> Iterator[Wish]:
    if config.docker_server is not None:
        yield from _command(config.docker_server)
    if (llm := llm_of(config)) is not None:
        yield from llm.wishes
    if config.bis_llm is not None:
        said = "the platform's own LLM stack, whose options are not published: name the checkpoint in trt_llm instead"
        yield Wish("bis_llm", "refused", said, decides=True)
    if config.runtime.transport.kind == "grpc":
        yield Wish("runtime.transport.kind", "refused", "grpc is not served")


def _command(server: DockerServer) -> Iterator[Wish]:
    if server.no_build and server.start_command is None:
        said = "the command is in the image, and no image is run: write docker_server.start_command"
        yield Wish("docker_server", "refused", said, decides=True)
        return
    said = f"run as a process of this machine, at its port {server.server_port} or a free one"
    yield Wish("docker_server", "kept", said)
    if server.run_as_user_id is not None:
        yield Wish("docker_server.run_as_user_id", "refused", "it runs as the user who serves it")


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
    llm = llm_of(config)
    mapped = set[str]() if llm is None else {wish.key for wish in llm.wishes}
    for key in ("weights", "model_cache", "external_data", "training_checkpoints"):
        if getattr(config, key) and key not in mapped:
            yield Wish(key, "refused", "files are not fetched: put them where the class opens them")
