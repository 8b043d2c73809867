"""What the gateway answers, and what it relays. Pure."""

from __future__ import annotations

import re

from colonnade.wire.errors import MethodNotAllowed, NotFound

ROUTES: tuple[tuple[str, str, str], ...] = (
    ("GET", "/live", "The process answers."),
    ("GET", "/ready", "200 when a replica is ready and keys are known, else 503 with the reason."),
    ("GET", "/metrics", "Prometheus text; to peers on this machine only."),
    ("GET", "/v1/models", "The models that are served, as their replicas describe them."),
    ("GET", "/v1/models/{model}", "One of them."),
    ("POST", "/v1/chat/completions", "Relayed to a replica of the body's `model`."),
    ("POST", "/v1/completions", "Relayed to a replica of the body's `model`."),
    ("POST", "/generate", "Relayed to a replica of the body's `model`, or of the only one."),
    ("POST", "/score", "Relayed to a replica of the body's `model`, or of the only one."),
    ("POST", "/v1/score", "The same."),
    ("POST", "/v1/embeddings", "Relayed to a replica or a package, the body's `model`."),
    ("POST", "/v1/messages", "Relayed to a replica of the body's `model`."),
    ("POST", "/v1/messages/count_tokens", "Relayed to a replica of the body's `model`."),
    ("POST", "/v1/responses", "Relayed to a package, the body's `model`."),
)
"""(method, path, summary) of every endpoint."""

RELAYED = frozenset((method.encode(), path.encode()) for method, path, _ in ROUTES if method == "POST")

MODELS = b"/v1/models/"

UNNAMED = frozenset({b"/generate", b"/score", b"/v1/score"})
"""Endpoints whose bodies may leave the model out, where there is one alone."""

OF_PACKAGES: tuple[tuple[str, str, str], ...] = (
    ("POST", "/v1/models/{model}:predict", "Relayed to the package that the path names; the body is not read."),
    ("POST", "/v1/models/{model}:predict_binary", "The same."),
    ("POST", "/v1/models/{model}:async_predict", "Relayed to the package that the path names."),
    ("GET", "/v1/models/{model}/async_request/{id}", "Relayed to the package that the path names."),
    ("DELETE", "/v1/models/{model}/async_request/{id}", "Relayed to the package that the path names."),
    ("GET", "/v1/models/{model}/async_queue_status", "Relayed to the package that the path names."),
    ("GET", "/v1/models/{model}/loaded", "Relayed to the package that the path names."),
    ("GET", "/v1/models/{model}/schema", "Relayed to the package that the path names."),
)

_ACTION = re.compile(
    rb"/v1/models/([^/:]{1,256})"
    rb"(?:(?P<post>:predict|:predict_binary|:async_predict)|/(?:loaded|schema|async_queue_status)"
    rb"|(?P<job>/async_request/[\w-]{1,64}))"
)


def named_in(method: bytes, path: bytes) -> str | None:
    """The package that a path asks for by its name, where it does."""
    found = _ACTION.fullmatch(path) if path.startswith(MODELS) else None
    if found is None or method not in _asked(found):
        return None
    return found[1].decode("utf-8", "replace")


def _asked(found: re.Match[bytes]) -> tuple[bytes, ...]:
    """The methods that such a path is asked with."""
    if found["post"]:
        return (b"POST",)
    return (b"GET", b"DELETE") if found["job"] else (b"GET",)


_METHODS = {path.encode(): method for method, path, _ in ROUTES}


def check_endpoint(method: bytes, path: bytes) -> None:
    """Raises NotFound or MethodNotAllowed. HEAD is GET without a body."""
    known = _METHODS.get(path) or (_below_models(path) if path.startswith(MODELS) else None)
    shown = path[:100].decode("latin-1")
    if known is None:
        raise NotFound(f"there is no {shown}", hint="docs/gateway.md lists the endpoints")
    if method.decode("ascii") not in ((known, "HEAD") if known == "GET" else (known,)):
        raise MethodNotAllowed(f"{shown} is asked with {known}")


def _below_models(path: bytes) -> str:
    return "POST" if named_in(b"POST", path) else "GET"
