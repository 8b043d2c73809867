"""The OpenAPI document of a replica, made of its routes and of the structs that its bodies are read into."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import msgspec

from colonnade import __version__
from colonnade.replica.caretaker import NewWeights
from colonnade.replica.embeddings import EmbeddingRequest
from colonnade.replica.generate import GenerateRequest
from colonnade.replica.messages import CountRequest, MessagesRequest
from colonnade.replica.native import AbortRequest
from colonnade.replica.requests import ChatRequest, CompletionRequest
from colonnade.replica.scoring import ScoreRequest

BODIES: dict[str, type[msgspec.Struct]] = {
    "/v1/chat/completions": ChatRequest,
    "/v1/completions": CompletionRequest,
    "/v1/embeddings": EmbeddingRequest,
    "/v1/messages": MessagesRequest,
    "/v1/messages/count_tokens": CountRequest,
    "/generate": GenerateRequest,
    "/score": ScoreRequest,
    "/v1/score": ScoreRequest,
    "/abort_request": AbortRequest,
    "/update_weights_from_disk": NewWeights,
}
"""What the body of each POST is read into; an endpoint that is not here reads none."""

_STREAMS = ("/v1/chat/completions", "/v1/completions", "/v1/messages", "/generate")

_ERROR: dict[str, Any] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code", "retryable", "hint", "request_id"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": "string"},
                "retryable": {"type": "boolean"},
                "hint": {"type": "string"},
                "request_id": {"type": "string"},
            },
        }
    },
}


@cache
def document(routes: tuple[tuple[str, str, str], ...]) -> dict[str, Any]:
    """`routes`: (method, path, summary) of each endpoint."""
    kinds = list(dict.fromkeys(BODIES.values()))
    schemas, components = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    bodies = {path: schemas[kinds.index(kind)] for path, kind in BODIES.items()}
    paths: dict[str, Any] = {}
    for method, path, summary in routes:
        paths.setdefault(path, {})[method.lower()] = _operation(method, path, summary, bodies.get(path))
    return {
        "openapi": "3.1.0",
        "info": {"title": "Colonnade", "version": __version__, "description": "docs/api.md says what the fields mean."},
        "paths": paths,
        "components": {"schemas": {**components, "Error": _ERROR}},
    }


def _operation(method: str, path: str, summary: str, body: dict[str, Any] | None) -> dict[str, Any]:
    operation: dict[str, Any] = {"operationId": _name(method, path), "summary": summary, "responses": _answers(path)}
    if names := _placeholders(path):
        operation["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
        ]
    if body is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return operation


def _answers(path: str) -> dict[str, Any]:
    kind = "text/plain" if path == "/metrics" else "application/json"
    content: dict[str, Any] = {kind: {}}
    if path in _STREAMS:
        content["text/event-stream"] = {"schema": {"type": "string"}}
    failed = {"description": "An error", "content": {"application/json": {"schema": {"$ref": _ref("Error")}}}}
    unready = {"description": "Not now", "content": {"application/json": {}}}
    return {"200": {"description": "Done", "content": content}, "503": unready, "default": failed}


def _ref(name: str) -> str:
    return f"#/components/schemas/{name}"


def _placeholders(path: str) -> Sequence[str]:
    return [part[1:-1] for part in path.split("/") if part.startswith("{")]


def _name(method: str, path: str) -> str:
    words = path.replace("{", "").replace("}", "").replace("/", " ").replace("_", " ").replace(".", " ").split()
    return "_".join([method.lower(), *words])
