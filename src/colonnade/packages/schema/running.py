"""How a package runs: its share of a machine, its server, its image."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, field_validator, model_validator

from colonnade.packages.schema.access import Access, upper
from colonnade.packages.schema.part import Part, is_mapping, wrong

ACCELERATORS = (
    *("T4", "L4", "A10G", "V100", "A100", "A100_40GB", "H100", "H200", "H100_40GB"),
    *("B200", "L40S", "RTX_PRO_6000", "B300", "GB300"),
)
MEMORY_UNITS = {
    **{unit: 1000**power for power, unit in enumerate("kMGTPE", 1)},
    **{f"{unit}i": 1024**power for power, unit in enumerate("KMGTPE", 1)},
}
_LABEL = r"[a-zA-Z0-9*](?:[a-zA-Z0-9*-]{0,61}[a-zA-Z0-9*])?"
_FQDN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_SECRET = re.compile(r"[-._a-zA-Z0-9]{1,253}")
_VERSION = re.compile(
    r"v?\d+(\.\d+)*([-_.]?(a|b|c|rc|alpha|beta|pre|preview|post|rev|r|dev)[-_.]?\d*)*(\+[\w.-]+)?", re.I
)


class Accelerator(Part):
    """Written "H100" or "H100:8"; `accelerator` is None for none."""

    loose: ClassVar[bool] = True

    accelerator: str | None = None
    count: int = Field(default=1, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _written(cls, value: Any) -> Any:
        if value is None:
            return {}
        if not isinstance(value, str):
            return value
        name, *rest = value.strip().split(":")
        if len(rest) != 1:
            return {"accelerator": name}
        if not rest[0].isdigit() or int(rest[0]) <= 0:
            raise wrong(f"{value!r}: the count behind the colon must be a positive whole number")
        return {"accelerator": name, "count": int(rest[0])}

    @field_validator("accelerator")
    @classmethod
    def _known(cls, name: str | None) -> str | None:
        if name is not None and name not in ("B10", *ACCELERATORS):
            raise wrong(f"no such accelerator: {name!r}; accepted: {', '.join(ACCELERATORS)}")
        return name

    @property
    def text(self) -> str | None:
        return f"{self.accelerator}:{self.count}" if self.accelerator and self.count else None


class Fabric(Part):
    use_rdma: bool | None = None
    preferences: list[str] | None = None


class Resources(Part):
    cpu: str = "1"
    memory: str = "2Gi"
    accelerator: Accelerator = Field(default_factory=Accelerator)
    instance_type: str | None = None
    node_count: Annotated[int, Field(ge=1, strict=True)] | None = None
    fabric: Fabric | None = None

    @model_validator(mode="before")
    @classmethod
    def _computed(cls, values: Any) -> Any:
        """`use_gpu` was written by hand once; it follows from the accelerator."""
        return {k: v for k, v in values.items() if k != "use_gpu"} if is_mapping(values) else values

    @field_validator("cpu")
    @classmethod
    def _cpu(cls, cpu: str) -> str:
        if not _number(cpu) and re.fullmatch(r"[0-9.]*m", cpu) is None:
            raise wrong(f"no amount of CPU: {cpu!r}; accepted: cores as 2 or 0.5, thousandths as 500m")
        return cpu

    @field_validator("memory")
    @classmethod
    def _memory(cls, memory: str) -> str:
        found = re.fullmatch(r"[0-9.]*([a-zA-Z]+)?", memory)
        if not _number(memory) and (found is None or found[1] not in MEMORY_UNITS):
            raise wrong(f"no amount of memory: {memory!r}; accepted: a number with one of {', '.join(MEMORY_UNITS)}")
        return memory

    @property
    def memory_bytes(self) -> int:
        """Raises ValueError for what has a unit and no number."""
        if _number(self.memory):
            return int(float(self.memory))
        digits = self.memory.rstrip("kKMGTPEi")
        return int(float(digits) * MEMORY_UNITS[self.memory.removeprefix(digits)])


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


class Http(BaseModel):
    kind: Literal["http"] = "http"


class Websocket(BaseModel):
    kind: Literal["websocket"] = "websocket"
    ping_interval_seconds: float | None = None
    ping_timeout_seconds: float | None = None


class Grpc(BaseModel):
    kind: Literal["grpc"] = "grpc"


class HealthChecks(Part):
    restart_check_delay_seconds: int | None = None
    restart_threshold_seconds: int | None = None
    stop_traffic_threshold_seconds: int | None = None
    startup_threshold_seconds: int | None = None


class Oidc(Part):
    enabled: bool | None = None


class RemoteSsh(Part):
    enabled: bool = False


class Backpressure(Part):
    policy: Literal["queue_on_full", "reject_on_full"] | None = None


def _address(value: str) -> str:
    try:
        network = ipaddress.ip_network(value, strict=False)
    except ValueError as error:
        raise wrong(f"no address or range: {error}") from None
    if network.version != 4:
        raise wrong(f"{value}: IPv6 is not supported")
    return value


def _domain(value: str) -> str:
    if _FQDN.fullmatch(value) is None:
        raise wrong(f"no domain name: {value!r}")
    return value


class Egress(Part):
    ip_allow_list: list[Annotated[str, AfterValidator(_address)]] | None = None
    fqdn_allow_list: list[Annotated[str, AfterValidator(_domain)]] | None = None


class Runtime(Part):
    predict_concurrency: int = 1
    streaming_read_timeout: int = 60
    enable_tracing_data: bool = False
    enable_debug_logs: bool = False
    transport: Annotated[Http | Websocket | Grpc, Field(discriminator="kind")] = Field(default_factory=Http)
    is_websocket_endpoint: bool | None = None
    health_checks: HealthChecks = Field(default_factory=HealthChecks)
    oidc: Oidc = Field(default_factory=Oidc)
    remote_ssh: RemoteSsh = Field(default_factory=RemoteSsh)
    egress_restrictions: Egress | None = None
    truss_server_version_override: str | None = None
    request_backpressure: Backpressure = Field(default_factory=Backpressure)

    @model_validator(mode="before")
    @classmethod
    def _older(cls, values: Any) -> Any:
        if not is_mapping(values):
            return values
        if values.get("num_workers", 1) != 1:
            raise wrong("one worker a server; for concurrency use asyncio, threads or replicas", "num_workers")
        if values.get("transport") is None and values.get("is_websocket_endpoint"):
            return {**values, "transport": {"kind": "websocket"}}
        return values

    @field_validator("transport", mode="before")
    @classmethod
    def _default_kind(cls, value: Any) -> Any:
        return {"kind": "http"} if value == {} else value

    @field_validator("truss_server_version_override")
    @classmethod
    def _version(cls, value: str | None) -> str | None:
        if value is not None and _VERSION.fullmatch(value) is None:
            raise wrong(f"no version: {value!r}; accepted: as 0.9.0")
        return value

    @model_validator(mode="after")
    def _same(self) -> Self:
        if self.is_websocket_endpoint and self.transport.kind != "websocket":
            self.transport = Websocket()
        self.is_websocket_endpoint = self.transport.kind == "websocket"
        return self


class Build(Part):
    model_server: Literal["TrussServer", "TRT_LLM"] = "TrussServer"
    arguments: dict[str, Any] = Field(default_factory=dict)
    secret_to_path_mapping: Mapping[str, str] = Field(default_factory=dict)
    no_cache: bool = False

    @field_validator("secret_to_path_mapping")
    @classmethod
    def _names(cls, mapping: Mapping[str, str]) -> Mapping[str, str]:
        for name in mapping:
            check_secret_name(name)
        return mapping

    @field_validator("no_cache")
    @classmethod
    def _not_here(cls, value: bool) -> bool:
        if value is True:
            raise wrong("no_cache is an option of a build, not of a package")
        return value


def check_secret_name(name: str) -> None:
    if _SECRET.fullmatch(name) is None and not (name.startswith("DOCKER_REGISTRY_") and len(name) <= 253):
        raise wrong(f"no name of a secret: {name!r}; accepted: 1 to 253 of a-z, A-Z, 0-9, - . _")
    if name in (".", ".."):
        raise wrong(f"a secret cannot be named {name!r}")


class ImageAccess(Access):
    auth_method: Annotated[
        Literal["GCP_SERVICE_ACCOUNT_JSON", "AWS_IAM", "AWS_OIDC", "GCP_OIDC", "REGISTRY_SECRET"],
        BeforeValidator(upper),
    ]
    registry: str | None = ""
    secret_name: str | None = None
    aws_access_key_id_secret_name: str = "aws_access_key_id"
    aws_secret_access_key_secret_name: str = "aws_secret_access_key"

    @model_validator(mode="after")
    def _fields(self) -> Self:
        self.check_method(self.auth_method, "secret_name", "GCP_SERVICE_ACCOUNT_JSON")
        return self


class BaseImage(Part):
    image: str = ""
    python_executable_path: str = ""
    docker_auth: ImageAccess | None = None

    @field_validator("python_executable_path")
    @classmethod
    def _absolute(cls, path: str) -> str:
        if path and not PurePosixPath(path).is_absolute():
            raise wrong(f"must be an absolute path, got {path}")
        return path


class DockerServer(Part):
    """A server of the package's own, run as it is."""

    start_command: str | None = None
    server_port: int
    predict_endpoint: str
    readiness_endpoint: str
    liveness_endpoint: str
    run_as_user_id: int | None = None
    no_build: bool | None = None

    @field_validator("run_as_user_id")
    @classmethod
    def _user(cls, user: int | None) -> int | None:
        if user in (0, 60000):
            raise wrong(f"cannot be {user}: choose another user")
        return user

    @model_validator(mode="after")
    def _command(self) -> Self:
        if not self.no_build and self.start_command is None:
            raise wrong("start_command is required unless no_build is true", "start_command")
        return self
