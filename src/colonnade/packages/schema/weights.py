"""Where weights and other large files come from."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, StringConstraints, field_validator, model_validator

from colonnade.packages.schema.access import Access, upper
from colonnade.packages.schema.part import Part, is_mapping, wrong

Text = Annotated[str, StringConstraints(min_length=1)]
BUCKETS = ("s3", "gs", "azure", "r2", "cw")
SCHEMES = ("azure", "cw", "gs", "hf", "https", "r2", "s3")


class CachedRepository(Part):
    """One entry of `cache_internal`, and what `model_cache` has in common with it."""

    repo_id: Text
    revision: str = ""
    allow_patterns: list[str] | None = None
    ignore_patterns: list[str] | None = None
    volume_folder: Text | None = None
    use_volume: bool = False
    kind: Literal["hf", "gcs", "s3", "azure"] = "hf"
    runtime_secret_name: str = "hf_access_token"

    @field_validator("revision")
    @classmethod
    def _revision(cls, revision: str) -> str:
        if len(revision) == 1:
            raise wrong("revision must be empty or at least 2 characters")
        return revision

    @model_validator(mode="before")
    @classmethod
    def _volume(cls, values: Any) -> Any:
        if not is_mapping(values) or not values.get("use_volume"):
            return values
        if values.get("kind") in (None, "hf") and not values.get("revision"):
            raise wrong("revision is required with use_volume for a Hugging Face repository: name a commit", "revision")
        if not values.get("volume_folder"):
            raise wrong("volume_folder is required with use_volume", "volume_folder")
        return values


class ModelRepository(CachedRepository):
    use_volume: bool  # pyright: ignore[reportGeneralTypeIssues]  # required here


class WeightsAccess(Access):
    auth_method: Annotated[Literal["CUSTOM_SECRET", "AWS_OIDC", "GCP_OIDC"], BeforeValidator(upper)]
    auth_secret_name: str | None = None

    @model_validator(mode="after")
    def _fields(self) -> Self:
        self.check_method(self.auth_method, "auth_secret_name", "CUSTOM_SECRET")
        return self


class Weights(Part):
    """`source` is mounted at `mount_location` before the model is constructed."""

    source: Text
    mount_location: Text
    auth: WeightsAccess | None = None
    auth_secret_name: str | None = None
    allow_patterns: list[str] | None = None
    ignore_patterns: list[str] | None = None

    @field_validator("source")
    @classmethod
    def _source(cls, source: str) -> str:
        scheme, found, rest = source.partition("://")
        if not found:
            raise wrong(f"{source!r} has no scheme; accepted: {', '.join(f'{each}://' for each in SCHEMES)}")
        if scheme not in SCHEMES:
            raise wrong(f"{scheme}:// is not known; accepted: {', '.join(f'{each}://' for each in SCHEMES)}")
        if not rest or rest.startswith("/"):
            raise wrong(f"{source!r} names nothing after {scheme}://")
        if scheme in BUCKETS and "@" in rest:
            raise wrong("a revision behind @ is for hf:// alone")
        return source

    @field_validator("mount_location")
    @classmethod
    def _mount(cls, place: str) -> str:
        if not place.startswith("/"):
            raise wrong(f"must be an absolute path (start with /), got {place}")
        return place

    @model_validator(mode="after")
    def _one_secret(self) -> Self:
        if self.auth_secret_name and self.auth and self.auth.auth_secret_name:
            raise wrong("auth_secret_name is given here and under auth: choose one", "auth_secret_name")
        return self


class ExternalData(Part):
    url: Text
    local_data_path: Text
    backend: str = "http_public"
    name: str | None = None


class Artifacts(Part):
    training_job_id: str
    paths: list[str] = Field(default_factory=list)


class Checkpoints(Part):
    download_folder: str = "/tmp/training_checkpoints"
    artifact_references: list[Artifacts] = Field(default_factory=list)
    loops_checkpoint_ids: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.artifact_references and self.loops_checkpoint_ids:
            raise wrong("artifact_references and loops_checkpoint_ids cannot be mixed", "loops_checkpoint_ids")
        return self
