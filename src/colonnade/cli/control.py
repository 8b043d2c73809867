"""The control plane's API, as commands use it. All of its paths stand here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from colonnade.cli.api import Api
from colonnade.cli.home import Home
from colonnade.wire.errors import ColonnadeError, SetupError
from colonnade.wire.routes import Deployment, ReplicaStatus


@dataclass(frozen=True, slots=True)
class Control:
    api: Api

    def replicas(self) -> list[ReplicaStatus]:
        return msgspec.convert(self.api.call("GET", "/v1/replicas")["data"], list[ReplicaStatus])

    def deployments(self) -> list[Deployment]:
        return msgspec.convert(self.api.call("GET", "/v1/deployments")["data"], list[Deployment])

    def deploy(self, wanted: Deployment) -> None:
        """Make it so, if nobody has changed it since it was read. Raises Conflict when somebody has."""
        kept = ("model", "settings", "scaling", "rollout", "resources", "placement", "budget")
        body = {key: value for key, value in msgspec.to_builtins(wanted).items() if key in kept}
        self.put(wanted.name, {**body, "replicas": wanted.replicas, "generation": wanted.generation})

    def put(self, name: str, change: Mapping[str, object]) -> Deployment:
        """`change`: the body of PUT /v1/deployments/NAME. The deployment as it is then."""
        return msgspec.convert(self.api.call("PUT", f"/v1/deployments/{quote(name, safe='')}", change), Deployment)

    def deployment(self, name: str) -> Deployment:
        """Raises NotFound."""
        return msgspec.convert(self.api.call("GET", f"/v1/deployments/{quote(name, safe='')}"), Deployment)

    def roll_back(self, name: str, to: str) -> Deployment:
        """Raises Conflict where there is no such version."""
        path = f"/v1/deployments/{quote(name, safe='')}/rollback"
        return msgspec.convert(self.api.call("POST", path, {"to": to}), Deployment)

    def promote(self, source: str, name: str) -> Deployment:
        path = f"/v1/deployments/{quote(name, safe='')}/promote"
        return msgspec.convert(self.api.call("POST", path, {"source": source}), Deployment)

    def versions(self, name: str) -> list[dict[str, Any]]:
        return self.api.call("GET", f"/v1/deployments/{quote(name, safe='')}/versions")["data"]

    def events(self, limit: int, **only: object) -> list[dict[str, Any]]:
        """The newest, oldest first. `only`: filters of GET /v1/events; what is empty is left out."""
        asked = urlencode({"limit": limit, **{name: value for name, value in only.items() if value}})
        return self.api.call("GET", f"/v1/events?{asked}")["data"]

    def tokens(self) -> list[dict[str, Any]]:
        return self.api.call("GET", "/v1/tokens")["data"]

    def create_token(self, name: str, role: str, cluster: str) -> dict[str, Any]:
        """`token` of the answer is shown this once."""
        return self.api.call("POST", "/v1/tokens", {"name": name, "role": role, "cluster": cluster})

    def rotate_token(self, name: str) -> dict[str, Any]:
        return self.api.call("POST", f"/v1/tokens/{quote(name, safe='')}/rotate")

    def revoke_token(self, name: str) -> None:
        self.api.call("DELETE", f"/v1/tokens/{quote(name, safe='')}")

    def clusters(self) -> list[dict[str, Any]]:
        return self.api.call("GET", "/v1/clusters")["data"]

    def cost(self, by: str, since: float) -> list[dict[str, Any]]:
        """`by`: what to tell apart, joined by commas."""
        return self.api.call("GET", "/v1/cost?" + urlencode({"by": by, "since": since}))["data"]

    def remove(self, name: str) -> None:
        """Its replicas drain and are not replaced."""
        self.api.call("DELETE", f"/v1/deployments/{quote(name, safe='')}")

    def api_keys(self) -> list[dict[str, Any]]:
        return self.api.call("GET", "/v1/keys")["data"]

    def create_key(self, name: str, **limits: object) -> dict[str, Any]:
        """`key` of the answer is shown this once. `limits`: the fields of `wire.routes.Allowance`."""
        return self.api.call("POST", "/v1/keys", {"name": name, **limits})

    def limit_key(self, name: str, **limits: object) -> dict[str, Any]:
        """What is left out stays as it is; None takes a limit away."""
        return self.api.call("PATCH", f"/v1/keys/{quote(name, safe='')}", limits)

    def revoke_key(self, name: str) -> None:
        self.api.call("DELETE", f"/v1/keys/{quote(name, safe='')}")


def open_control(home: Home) -> Control:
    """Of the `up` that runs. Raises SetupError with the reason `not_running`."""
    file = home.control()
    if file is None:
        raise not_running(home)
    control = Control(Api(file.url, file.token, timeout=10.0))
    try:
        control.api.call("GET", "/live")
    except ColonnadeError as error:
        raise (not_running(home) if error.reason == "not_running" else error) from error
    return control


def not_running(home: Home) -> SetupError:
    return SetupError(
        f"nothing runs in {home.path}",
        hint="`colonnade up` starts it; --home or COLONNADE_HOME names another state folder",
        code="not_running",
    )
