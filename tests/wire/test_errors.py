"""The error tree: as drawn, one envelope, documented."""

import inspect
import re

import msgspec
import pytest

from colonnade.wire import errors
from colonnade.wire.errors import ColonnadeError

CLASSES = [each for _, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, ColonnadeError)]
DRAWN = re.compile(
    r"^    (?P<indent>[│ ]*)(?:├── |└── )?(?P<name>[A-Z]\w+)(?:\s+fault=(?P<fault>\w+))?(?:\s+(?P<status>\d{3}))?"
)


def drawn() -> dict[str, tuple[str, str | None, str | None]]:
    """name -> (parent, fault, status) of the tree in the module's docstring."""
    assert errors.__doc__ is not None
    path: list[str] = []
    tree: dict[str, tuple[str, str | None, str | None]] = {}
    for line in errors.__doc__.splitlines():
        if match := DRAWN.match(line):
            depth = (line.index(match["name"]) - 4) // 4
            path = [*path[:depth], match["name"]]
            tree[match["name"]] = (path[-2] if depth else "Exception", match["fault"], match["status"])
    return tree


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    tree = drawn()
    assert {each.__name__: each.__bases__[0].__name__ for each in CLASSES} == {k: v[0] for k, v in tree.items()}
    for each in CLASSES:
        _, fault, status = tree[each.__name__]
        assert fault in (None, each.fault)
        assert status in (None, str(each.status))


@pytest.mark.parametrize("each", CLASSES, ids=lambda each: each.__name__)
def test_one_envelope(each: type[ColonnadeError]) -> None:
    body = each("what happened", hint="the knob", param="field").envelope("req_1")
    assert list(body) == ["error"]
    assert {key: type(value) for key, value in body["error"].items()} == {
        "message": str,
        "type": str,
        "param": str,
        "code": str,
        "retryable": bool,
        "hint": str,
        "request_id": str,
    }
    assert msgspec.json.decode(msgspec.json.encode(body)) == body


def test_a_narrower_code() -> None:
    error = errors.NotFound("no model x", code="model_not_found")
    assert error.envelope()["error"]["code"] == "model_not_found"
    assert errors.NotFound("x").reason == "not_found"
    assert str(error) == error.message == "no model x"


def test_capacity_and_lost_replicas_are_worth_a_retry_and_mistakes_are_not() -> None:
    retryable = {each.__name__ for each in CLASSES if each.retryable}
    assert retryable == {
        "RequestTimeout",
        "CapacityError",
        "RateLimited",
        "Overloaded",
        "ReplicaLost",
        "StreamGone",
        "DeadlineExceeded",
    }
