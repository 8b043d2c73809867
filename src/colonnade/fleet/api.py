"""The control plane over HTTP: JSON, an admin token, every error in the one envelope. `ROUTES` is all of it."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from colonnade.fleet.allowance import AllowanceChange
from colonnade.fleet.change import Change
from colonnade.fleet.control import ControlPlane
from colonnade.fleet.roles import Holder, may
from colonnade.fleet.store import Only
from colonnade.fleet.tls import Door
from colonnade.fleet.tokens import Token
from colonnade.fleet.versions import version_of
from colonnade.wire.errors import (
    BodyTooLarge,
    ColonnadeError,
    Forbidden,
    Internal,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    Unauthenticated,
)
from colonnade.wire.routes import Allowance, Budget, Demands, KeyRecord, Observed

LONGEST_POLL_S = 25.0
BODY_LIMIT = 16 << 20
MOST_EVENTS = 1000

T = TypeVar("T")
Handler = Callable[[ControlPlane, Request], Awaitable[Any]]


@dataclass(frozen=True)
class Endpoint:
    method: str
    path: str
    summary: str
    handle: Handler
    open: bool = False
    """Answers without the admin token."""


class NewKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    tenant: str = ""
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    weight: float = 1.0
    priority: int = 0
    budget: Budget | None = None


def _shown(record: KeyRecord) -> dict[str, Any]:
    limits = msgspec.structs.asdict(record.allowance)
    return {"name": record.name, "tenant": record.tenant, "created": record.created, **limits}


class NewToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    role: str
    cluster: str = ""


class Beat(msgspec.Struct, frozen=True):
    agent: str


class GoBack(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    to: str = ""
    generation: int | None = None


class Promotion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    source: str
    generation: int | None = None


async def _live(_plane: ControlPlane, _request: Request) -> Any:
    return {"status": "live"}


async def _ready(_plane: ControlPlane, _request: Request) -> Any:
    return {"status": "ready"}


async def _deployments(plane: ControlPlane, _request: Request) -> Any:
    return {"data": plane.deployments()}


async def _deployment(plane: ControlPlane, request: Request) -> Any:
    return plane.deployment(request.path_params["name"])


async def _deploy(plane: ControlPlane, request: Request) -> Any:
    return await plane.deploy(request.path_params["name"], await _body(request, Change))


async def _roll_back(plane: ControlPlane, request: Request) -> Any:
    asked = await _body(request, GoBack)
    return await plane.roll_back(request.path_params["name"], asked.to, asked.generation)


async def _promote(plane: ControlPlane, request: Request) -> Any:
    asked = await _body(request, Promotion)
    return await plane.promote(asked.source, request.path_params["name"], asked.generation)


async def _versions(plane: ControlPlane, request: Request) -> Any:
    name = request.path_params["name"]
    now, had = plane.deployment(name), await plane.versions(name)
    return {"data": [{"name": each, "current": each == version_of(now), **msgspec.to_builtins(s)} for each, s in had]}


async def _remove(plane: ControlPlane, request: Request) -> Any:
    await plane.remove(request.path_params["name"])
    return {"removed": request.path_params["name"]}


async def _replicas(plane: ControlPlane, _request: Request) -> Any:
    return {"data": [{"cluster": name, **msgspec.to_builtins(status)} for name, status in plane.replicas()]}


async def _routes(plane: ControlPlane, request: Request) -> Any:
    return await plane.routes(_number(request, "since", -1), _wait(request))


async def _clusters(plane: ControlPlane, _request: Request) -> Any:
    return {"data": plane.clusters()}


async def _sync(plane: ControlPlane, request: Request) -> Any:
    observed = await _body(request, Observed)
    if observed.cluster != request.path_params["name"]:
        raise InvalidRequest("the report is of another cluster than the path", param="cluster")
    return await plane.sync(observed, _wait(request))


async def _beat(plane: ControlPlane, request: Request) -> Any:
    plane.beat(request.path_params["name"], (await _body(request, Beat)).agent)
    return {}


async def _forget(plane: ControlPlane, request: Request) -> Any:
    await plane.forget_cluster(request.path_params["name"])
    return {"forgotten": request.path_params["name"]}


async def _demand(plane: ControlPlane, request: Request) -> Any:
    await plane.take_demand(await _body(request, Demands))
    return {}


async def _keys(plane: ControlPlane, _request: Request) -> Any:
    return {"data": [_shown(each) for each in plane.keys.all()]}


async def _create_key(plane: ControlPlane, request: Request) -> Any:
    asked = await _body(request, NewKey)
    limits = Allowance(asked.requests_per_minute, asked.tokens_per_minute, asked.weight, asked.priority, asked.budget)
    key, record = await plane.keys.create(asked.name, asked.tenant, limits)
    return {"key": key, **_shown(record)}


async def _limit_key(plane: ControlPlane, request: Request) -> Any:
    return _shown(await plane.keys.limit(request.path_params["name"], await _body(request, AllowanceChange)))


async def _revoke_key(plane: ControlPlane, request: Request) -> Any:
    await plane.keys.revoke(request.path_params["name"])
    return {"revoked": request.path_params["name"]}


async def _events(plane: ControlPlane, request: Request) -> Any:
    limit = min(max(_number(request, "limit", 100), 1), MOST_EVENTS)
    asked = request.query_params
    only = Only(
        asked.get("deployment", ""), asked.get("cluster", ""), asked.get("kind", ""), _seconds(request, "since")
    )
    found = await plane.events(_number(request, "after", 0), limit, only)
    return {"data": [{"id": each.id, **msgspec.to_builtins(each.event)} for each in found]}


async def _cost(plane: ControlPlane, request: Request) -> Any:
    by = [each for each in request.query_params.get("by", "deployment").split(",") if each]
    return {"data": await plane.used(by, _seconds(request, "since"))}


async def _tokens(plane: ControlPlane, _request: Request) -> Any:
    return {"data": [_of_token(each) for each in plane.tokens.all()]}


async def _create_token(plane: ControlPlane, request: Request) -> Any:
    asked = await _body(request, NewToken)
    secret, token = await plane.tokens.create(asked.name, asked.role, asked.cluster)
    return {"token": _pinned(request, secret, token), **_of_token(token)}


def _pinned(request: Request, secret: str, token: Token) -> str:
    """One for enrolment carries whom its agent is to talk to."""
    door: Door | None = request.app.state.door
    return f"{secret}.{door.pin()}" if door is not None and token.role == "enrol" else secret


async def _rotate_token(plane: ControlPlane, request: Request) -> Any:
    secret, token = await plane.tokens.rotate(request.path_params["name"])
    return {"token": _pinned(request, secret, token), **_of_token(token)}


async def _revoke_token(plane: ControlPlane, request: Request) -> Any:
    await plane.tokens.revoke(request.path_params["name"])
    return {"revoked": request.path_params["name"]}


async def _enrol(plane: ControlPlane, request: Request) -> Any:
    secret, token = await plane.tokens.enrol(request.state.holder)
    door: Door | None = request.app.state.door
    return {"token": secret, "authority": "" if door is None else door.authority(), **_of_token(token)}


def _of_token(token: Token) -> dict[str, Any]:
    return {name: value for name, value in msgspec.structs.asdict(token).items() if name != "digest"}


ENDPOINTS = (
    Endpoint("GET", "/live", "The process answers.", _live, open=True),
    Endpoint("GET", "/ready", "It serves.", _ready, open=True),
    Endpoint("GET", "/v1/deployments", "What is wanted.", _deployments),
    Endpoint("GET", "/v1/deployments/{name}", "One deployment.", _deployment),
    Endpoint("PUT", "/v1/deployments/{name}", "Make or change one; 409 when `generation` has moved on.", _deploy),
    Endpoint("DELETE", "/v1/deployments/{name}", "Remove one; its replicas drain.", _remove),
    Endpoint("POST", "/v1/deployments/{name}/rollback", "Back to a version before, at once.", _roll_back),
    Endpoint("POST", "/v1/deployments/{name}/promote", "Take over the version of another deployment.", _promote),
    Endpoint("GET", "/v1/deployments/{name}/versions", "The versions that it has had.", _versions),
    Endpoint("GET", "/v1/replicas", "Every replica, its state, and why.", _replicas),
    Endpoint("GET", "/v1/routes", "For gateways: ready replicas and key digests; `since`, `wait`: long poll.", _routes),
    Endpoint("GET", "/v1/clusters", "The clusters and when their agents were last heard.", _clusters),
    Endpoint("POST", "/v1/clusters/{name}/sync", "For agents: a report in, the desired state out; long poll.", _sync),
    Endpoint("POST", "/v1/clusters/{name}/beat", "For agents: they are there.", _beat),
    Endpoint("DELETE", "/v1/clusters/{name}", "Forget a cluster that will not come back.", _forget),
    Endpoint("POST", "/v1/demand", "For gateways: what is in flight and what waits, by deployment.", _demand),
    Endpoint("GET", "/v1/keys", "API keys by name; the keys themselves are not kept.", _keys),
    Endpoint("POST", "/v1/keys", "Create an API key; the answer shows it this once.", _create_key),
    Endpoint("PATCH", "/v1/keys/{name}", "Change what a key may ask for; gateways hear of it at once.", _limit_key),
    Endpoint("DELETE", "/v1/keys/{name}", "Revoke an API key.", _revoke_key),
    Endpoint("GET", "/v1/tokens", "Tokens of the control plane, by role, and their last use.", _tokens),
    Endpoint("POST", "/v1/tokens", "Create one for a role; the answer shows it this once.", _create_token),
    Endpoint("POST", "/v1/tokens/{name}/rotate", "Another one in its place.", _rotate_token),
    Endpoint("DELETE", "/v1/tokens/{name}", "Revoke it.", _revoke_token),
    Endpoint("POST", "/v1/enrol", "For agents: a one-time token becomes the cluster's own.", _enrol),
    Endpoint("GET", "/v1/cost", "What was used and what it cost; `by`, `since`.", _cost),
    Endpoint("GET", "/v1/events", "What was decided and happened, and why; filters.", _events),
)

ROUTES: tuple[tuple[str, str, str], ...] = tuple((each.method, each.path, each.summary) for each in ENDPOINTS)
"""(method, path, summary) of everything that is served."""


def application(
    plane: ControlPlane, token: str, longest_poll: float = LONGEST_POLL_S, door: Door | None = None
) -> Starlette:
    """An ASGI application. `token`: what `Authorization: Bearer` must carry. `longest_poll`: seconds that an answer is
    held back at most. `door`: where agents elsewhere dial in."""
    paths: dict[str, list[Endpoint]] = {}
    for each in ENDPOINTS:
        paths.setdefault(each.path, []).append(each)
    routes = [Route(path, _served(plane, token, at), methods=[e.method for e in at]) for path, at in paths.items()]
    handlers: Any = {ColonnadeError: _told, HTTPException: _not_routed, Exception: _broken}
    served = Starlette(routes=routes, exception_handlers=handlers)
    served.state.longest_poll = longest_poll
    served.state.door = door
    return served


def _served(plane: ControlPlane, token: str, endpoints: list[Endpoint]) -> Callable[[Request], Awaitable[Response]]:
    by_method = {each.method: each for each in endpoints}

    async def serve(request: Request) -> Response:
        endpoint = by_method.get("GET" if request.method == "HEAD" else request.method)
        assert endpoint is not None
        if not endpoint.open:
            await _authenticate(plane, request, token, endpoint)
        return _json(await endpoint.handle(plane, request))

    return serve


async def _authenticate(plane: ControlPlane, request: Request, admin: str, endpoint: Endpoint) -> None:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthenticated("the control plane needs a token", hint="run/control.json in the home folder has one")
    own = hmac.compare_digest(given.encode(), admin.encode())
    holder = Holder("admin", "admin") if own else await plane.tokens.holder(given)
    if not may(holder, endpoint.method, endpoint.path, str(request.path_params.get("name", ""))):
        raise Forbidden(f"{holder.name} has the role {holder.role}", hint=f"{endpoint.path} is not for it")
    request.state.holder = holder


async def _body(request: Request, kind: type[T]) -> T:
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > BODY_LIMIT:
            raise BodyTooLarge(f"the body is longer than {BODY_LIMIT} bytes")
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.DecodeError as error:
        raise InvalidRequest(f"the body does not hold: {error}", hint="docs/fleet.md has what is expected") from error


def _number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, str(default))
    try:
        return int(text)
    except ValueError as error:
        raise InvalidRequest(f"{name}={text!r} is not a whole number", param=name) from error


def _seconds(request: Request, name: str) -> float:
    text = request.query_params.get(name, "0")
    try:
        return float(text)
    except ValueError as error:
        raise InvalidRequest(f"{name}={text!r} is no number of seconds", param=name) from error


def _wait(request: Request) -> float:
    """`wait`: seconds that the answer may be held back; 0 asks and does not wait."""
    longest: float = request.app.state.longest_poll
    return min(max(float(_number(request, "wait", int(longest))), 0.0), longest)


def _json(value: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")


async def _told(_request: Request, error: ColonnadeError) -> Response:
    return _json(error.envelope(), error.status)


async def _not_routed(request: Request, error: HTTPException) -> Response:
    if error.status_code == 405:
        return await _told(request, MethodNotAllowed(f"{request.method} is not for {request.url.path}"))
    return await _told(request, NotFound(f"nothing at {request.url.path}", hint="docs/fleet.md lists what there is"))


async def _broken(request: Request, error: Exception) -> Response:
    """The traceback goes to the log: Starlette raises on after this answer."""
    return await _told(request, Internal(f"{type(error).__name__} in the control plane; its log has more"))
