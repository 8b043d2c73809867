"""The OpenAPI document says what is served: its paths are the routes, its bodies what the readers take."""

import json
from typing import Any

import msgspec
import pytest

from colonnade.replica.app import ROUTES
from colonnade.replica.exchange import READERS
from colonnade.replica.openapi import BODIES, document

DOCUMENT = json.loads(msgspec.json.encode(document(ROUTES)))


def references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [each for child in node.values() for each in references(child)]
    return [each for child in node for each in references(child)] if isinstance(node, list) else []


def test_every_route_is_there_and_nothing_else():
    told = {(method.upper(), path) for path, methods in DOCUMENT["paths"].items() for method in methods}
    assert told == {(method, path) for method, path, _ in ROUTES}
    names = [each["operationId"] for methods in DOCUMENT["paths"].values() for each in methods.values()]
    assert sorted(names) == sorted(set(names))


def test_every_body_that_is_read_is_described():
    assert set(READERS) <= set(BODIES)
    with_body = {path for path, methods in DOCUMENT["paths"].items() if "requestBody" in methods.get("post", {})}
    assert with_body == set(BODIES)


def test_references_lead_somewhere():
    for reference in references(DOCUMENT):
        assert reference.removeprefix("#/components/schemas/") in DOCUMENT["components"]["schemas"]


CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.parametrize(
    ("path", "body", "sound"),
    [
        ("/v1/chat/completions", CHAT, True),
        ("/v1/chat/completions", CHAT | {"temperature": 3}, False),
        ("/v1/chat/completions", {"model": "m"}, False),
        ("/v1/completions", {"model": "m", "prompt": [1, 2]}, True),
        ("/v1/messages", CHAT | {"max_tokens": 5, "system": "s"}, True),
        ("/v1/messages", CHAT, False),
        ("/v1/messages/count_tokens", CHAT, True),
        ("/generate", {"text": "a", "sampling_params": {"n": 1}}, True),
        ("/generate", {"text": 1}, False),
        ("/abort_request", {"rid": "a"}, True),
    ],
)
def test_bodies_are_what_the_readers_take(path: str, body: dict[str, Any], sound: bool):
    try:
        msgspec.json.decode(msgspec.json.encode(body), type=BODIES[path])
        taken = True
    except msgspec.ValidationError:
        taken = False
    assert taken is sound
