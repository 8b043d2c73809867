"""Every message survives MessagePack and JSON, tagged so that a union tells them apart."""

import types
import typing
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colonnade.wire import messages, routes

INTS = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of an annotated type, as the structs use them."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    simple = {int: INTS, float: FLOATS, str: st.text(max_size=8), bool: st.booleans(), bytes: st.binary(max_size=8)}
    match origin:
        case _ if kind in simple:
            return simple[kind]
        case _ if kind is type(None):
            return st.none()
        case typing.Literal:
            return st.sampled_from(inner)
        case types.UnionType | typing.Union:
            return st.one_of(*map(values, inner))
        case _ if origin is list:
            return st.lists(values(inner[0]), max_size=3)
        case _ if origin is dict:
            return st.dictionaries(values(inner[0]), values(inner[1]), max_size=3)
        case _ if origin is tuple and inner[-1] is not ...:
            return st.tuples(*map(values, inner))
        case _ if origin is tuple:
            return st.lists(values(inner[0]), max_size=3).map(tuple)
        case _:
            return structs(kind)


def structs(kind: type[msgspec.Struct]) -> st.SearchStrategy[msgspec.Struct]:
    fields = msgspec.structs.fields(kind)
    return st.builds(kind, **{each.name: values(each.type) for each in fields})


STRUCTS = [
    each
    for module in (messages, routes)
    for each in vars(module).values()
    if isinstance(each, type) and issubclass(each, msgspec.Struct)
]
UNIONS = [messages.Command, messages.Report, messages.Published, messages.CacheChange]


@pytest.mark.parametrize("kind", STRUCTS, ids=lambda kind: kind.__name__)
@settings(max_examples=25)
@given(data=st.data())
def test_round_trip_in_messagepack_and_json(kind: type[msgspec.Struct], data: st.DataObject) -> None:
    message = data.draw(structs(kind))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(message), type=kind) == message
    assert msgspec.json.decode(msgspec.json.encode(message), type=kind) == message


@pytest.mark.parametrize("union", UNIONS, ids=str)
@settings(max_examples=25)
@given(data=st.data())
def test_a_union_tells_its_members_apart(union: Any, data: st.DataObject) -> None:
    message = data.draw(values(union))
    decoded = msgspec.msgpack.decode(msgspec.msgpack.encode(message), type=union)
    assert type(decoded) is type(message)
    assert decoded == message


@pytest.mark.parametrize("kind", STRUCTS, ids=lambda kind: kind.__name__)
def test_messages_are_immutable(kind: type[msgspec.Struct]) -> None:
    assert kind.__struct_config__.frozen
