"""Credentials: how weights and images are fetched. Every method needs some fields and rules out others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from colonnade.packages.schema.part import Part, present, wrong

AWS_OIDC = ("aws_oidc_role_arn", "aws_oidc_region")
GCP_OIDC = ("gcp_oidc_service_account", "gcp_oidc_workload_id_provider")
CLOUDS: Mapping[str, tuple[str, ...]] = {"AWS_OIDC": AWS_OIDC, "GCP_OIDC": GCP_OIDC}


class Access(Part):
    aws_oidc_role_arn: str | None = None
    aws_oidc_region: str | None = None
    gcp_oidc_service_account: str | None = None
    gcp_oidc_workload_id_provider: str | None = None

    def check_method(self, method: str, secret: str, with_secret: str) -> None:
        """`secret` names the field of the secret, `with_secret` the method that takes it. Raises for the first field
        that is missing or does not go with `method`."""
        methods = {**CLOUDS, with_secret: (secret,)}
        if method not in methods:
            return
        needed = methods[method]
        for name in needed:
            if not present(getattr(self, name)):
                raise wrong(f"{name} must be provided when auth_method is {method}", name)
        for name in (name for names in methods.values() for name in names if name not in needed):
            if present(getattr(self, name)):
                raise wrong(f"{name} cannot be specified when auth_method is {method}", name)


def upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value
