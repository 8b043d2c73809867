"""A deployment as people write it: one YAML file, every fault at once and with its line.

name: tiny                 # left out: made from the model
model: colonnade-tiny      # a folder, or the name of a model
replicas: 2                # or by demand:
scaling: {min: 0, max: 4, target: 8, idle: 300}
placement: {zones: [eu], overflow: true}   # left out: anywhere, on own and committed capacity
resources: {type: h100, count: 1}          # what a replica takes; left out: one unit of cpu
budget: {cost: 500, per: month, fails: open}        # or tokens; left out: any
rollout: {steps: [0.05, 0.5], step: 60, requests: 50}   # how a new version comes in; left out: replica by replica
settings: {threads: 1}
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

from colonnade.fleet.change import MOST_REPLICAS, NAME
from colonnade.fleet.launch import settings_argv
from colonnade.packages.fault import Fault
from colonnade.packages.marked import Document, NotYaml, dotted
from colonnade.wire import units
from colonnade.wire.errors import BadSetting, ClientError, InvalidRequest

Number = Annotated[int, Field(ge=0, le=MOST_REPLICAS, strict=True)]


class BadManifest(ClientError):
    """Carries every fault that was found."""

    code = "bad_manifest"

    def __init__(self, file: Path, faults: tuple[Fault, ...]) -> None:
        self.faults = faults
        what = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        super().__init__(f"{file} has {what}", hint="\n".join(str(each) for each in faults))


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", protected_namespaces=())


class ScalingPart(_Part):
    min: Number = 1
    max: Annotated[int, Field(ge=1, le=MOST_REPLICAS, strict=True)]
    target: Annotated[float, Field(gt=0)] = 8.0
    idle: Annotated[float, Field(ge=0)] = 300.0
    forecast: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min > self.max:
            raise _wrong(f"min ({self.min}) is above max ({self.max})")
        return self


class RolloutPart(_Part):
    steps: list[Annotated[float, Field(gt=0, lt=1)]] = [0.05, 0.25, 0.5]
    step: Annotated[float, Field(ge=0)] = 60.0
    requests: Annotated[int, Field(ge=0, strict=True)] = 50
    errors: Annotated[float, Field(ge=0, le=1)] = 0.01
    latency: Annotated[float, Field(ge=1)] = 1.5

    @field_validator("steps")
    @classmethod
    def _rising(cls, steps: list[float]) -> list[float]:
        if steps != sorted(set(steps)):
            raise _wrong("shares of the requests, each above the one before")
        return steps


class ResourcesPart(_Part):
    type: Annotated[str, Field(min_length=1)] = "cpu"
    count: Annotated[float, Field(gt=0)] = 1.0
    memory: Annotated[int, Field(ge=0, strict=True)] = 0

    @field_validator("memory", mode="before")
    @classmethod
    def _bytes(cls, memory: object) -> object:
        try:
            return units.BYTES.parse(memory) if isinstance(memory, str) else memory
        except BadSetting as error:
            raise _wrong(f"{error.message}; {error.hint}") from error


class PlacementPart(_Part):
    zones: list[Annotated[str, Field(min_length=1)]] = []
    overflow: bool = False


class BudgetPart(_Part):
    fails: Literal["open", "closed"]
    tokens: Annotated[int, Field(ge=0, strict=True)] | None = None
    cost: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    per: Literal["day", "month"] = "month"

    @model_validator(mode="after")
    def _of_one_kind(self) -> Self:
        if (self.tokens is None) == (self.cost is None):
            raise _wrong("a budget of tokens or of cost: one of both")
        return self


class Manifest(_Part):
    """Field by field the body of PUT /v1/deployments/NAME."""

    name: str = ""
    model: Annotated[str, Field(min_length=1)]
    replicas: Number | None = None
    scaling: ScalingPart | None = None
    rollout: RolloutPart | None = None
    resources: ResourcesPart | None = None
    placement: PlacementPart | None = None
    budget: BudgetPart | None = None
    settings: dict[str, str] = {}

    @field_validator("name")
    @classmethod
    def _named(cls, name: str) -> str:
        if name and NAME.fullmatch(name) is None:
            raise _wrong("up to 63 letters, digits, dots, dashes and underscores, a letter or digit first and last")
        return name

    @field_validator("settings", mode="before")
    @classmethod
    def _texts(cls, settings: object) -> object:
        """YAML reads `threads: 1` as a number, and `on` as true."""
        return {str(key): _text(value) for key, value in settings.items()} if isinstance(settings, dict) else settings

    @field_validator("settings")
    @classmethod
    def _known(cls, settings: dict[str, str]) -> dict[str, str]:
        try:
            settings_argv(settings)
        except InvalidRequest as error:
            raise _wrong(f"{error.message}; {error.hint}", (error.param or "").partition(".")[2]) from error
        return settings

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.replicas is not None and self.scaling is not None:
            raise _wrong("replicas are a fixed number, or follow demand by scaling: not both", "replicas")
        return self


def read_manifest(file: Path) -> Manifest:
    """Raises BadManifest."""
    try:
        document = Document(file.read_text(encoding="utf-8"))
    except NotYaml as error:
        raise BadManifest(file, (Fault(file.name, error.line, str(error)),)) from error
    except (OSError, UnicodeDecodeError) as error:
        raise BadManifest(file, (Fault(file.name, 1, f"it cannot be read: {error}"),)) from error
    try:
        return Manifest.model_validate(document.value)
    except ValidationError as error:
        raise BadManifest(file, tuple(sorted(_faults(file.name, document, error)))) from error


def _faults(shown: str, document: Document, error: ValidationError) -> Iterator[Fault]:
    for each in error.errors(include_url=False):
        path = each["loc"]
        if field := each.get("ctx", {}).get("field"):
            path = (*path, field)
        yield Fault(shown, document.line(path), each["msg"], dotted(path))


def _wrong(message: str, field: str = "") -> PydanticCustomError:
    return PydanticCustomError("wrong", "{said}", {"said": message, "field": field})  # pyright: ignore[reportArgumentType]


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
