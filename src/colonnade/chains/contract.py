"""The contract of a step: what `run_remote` takes and gives, read from its annotations, and how both travel."""

from __future__ import annotations

import hashlib
import inspect
import typing
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from colonnade.chains import kinds
from colonnade.chains.frames import Buffer, Parts
from colonnade.chains.kinds import name_of
from colonnade.chains.values import Blob, Codec, inward, is_bytes
from colonnade.wire.errors import InvalidRequest, StepFailed

METHOD = "run_remote"


class Unfit(Exception):
    """`faults` say what keeps a method from being one of a step."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


@dataclass(frozen=True)
class Parameter:
    name: str
    kind: Any
    optional: bool
    default: Any = None


@dataclass(frozen=True)
class Signature:
    """Types only. `feed` names the parameter that is a stream, `streams` says that the answer is one; then `kind` is
    that of its items."""

    parameters: tuple[Parameter, ...]
    kind: Any
    streams: bool = False
    feed: str = ""
    waits: bool = True
    """Whether it is async: what is not runs in a thread."""

    @property
    def values(self) -> tuple[Parameter, ...]:
        return tuple(each for each in self.parameters if each.name != self.feed)

    def __str__(self) -> str:
        said = ", ".join(f"{each.name}: {name_of(each.kind)}{' = ...' * each.optional}" for each in self.parameters)
        kind = name_of(self.kind)
        return f"({said}) -> {f'AsyncIterator[{kind}]' if self.streams else kind}"


def signature_of(method: Callable[..., Any]) -> Signature:
    """Of an unbound method. Raises Unfit with everything that is wrong."""
    faults: list[str] = []
    try:
        hints = typing.get_type_hints(method)
    except (NameError, TypeError, AttributeError, SyntaxError) as error:
        raise Unfit([f"an annotation cannot be read: {error}"]) from error
    listed = list(inspect.signature(method).parameters.values())
    if not listed or listed[0].name != "self":
        raise Unfit(["its first parameter must be self"])
    parameters = tuple(_parameter(each, hints, faults) for each in listed[1:])
    feeds = [each.name for each in parameters if kinds.item_of(each.kind)[0]]
    if len(feeds) > 1:
        faults.append(f"only one parameter may be a stream, and {' and '.join(feeds)} are")
    streams, kind = kinds.item_of(hints.get("return", Any))
    faults += _answer_faults(method, hints, streams, kind)
    if faults:
        raise Unfit(faults)
    waits = inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method)
    return Signature(parameters, kind, streams, feeds[0] if feeds else "", waits)


def _parameter(each: inspect.Parameter, hints: dict[str, Any], faults: list[str]) -> Parameter:
    if each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD):
        faults.append(f"{each.name} takes any number of arguments: name them")
    elif each.name not in hints:
        faults.append(f"{each.name} has no type")
    kind = hints.get(each.name, Any)
    if said := _travels(kinds.item_of(kind)[1]):
        faults.append(f"{each.name}: {said}")
    return Parameter(each.name, kind, each.default is not each.empty, each.default)


def _answer_faults(method: Callable[..., Any], hints: dict[str, Any], streams: bool, kind: Any) -> list[str]:
    if "return" not in hints:
        return ["its answer has no type: annotate it, with None if there is none"]
    generates = inspect.isasyncgenfunction(method)
    if inspect.isgeneratorfunction(method):
        return ["it yields and is not async: write `async def`"]
    if streams != generates:
        return (
            ["it yields, and is not annotated with AsyncIterator"] if generates else ["it is a stream and never yields"]
        )
    return [f"its answer: {said}"] if (said := _travels(kind)) else []


def _travels(kind: Any) -> str:
    if said := kinds.complaint(kind):
        return said
    try:
        Codec(kind)
    except TypeError as error:
        return f"{name_of(kind)} cannot be told apart on the wire: {str(error).splitlines()[0]}"
    return ""


class Contract:
    """A signature, with what puts its values on the wire and takes them from it."""

    def __init__(self, signature: Signature) -> None:
        self.signature = signature
        self.streams = signature.streams
        self._names = [each.name for each in signature.values]
        self._blobs = [each.name for each in signature.values if each.kind is bytes]
        self._order = [each.name for each in signature.parameters]
        self.arguments = msgspec.defstruct(
            "Arguments", [_field(each) for each in signature.values], forbid_unknown_fields=True
        )
        self._arguments = Codec(self.arguments)
        self._answer = Codec(signature.kind)
        self._item = None
        self._item_kind: Any = None
        if signature.feed:
            kind = next(each.kind for each in signature.parameters if each.name == signature.feed)
            self._item_kind = kinds.item_of(kind)[1]
            self._item = Codec(self._item_kind)
        self.digest = hashlib.sha256(str(signature).encode()).hexdigest()[:16]

    def bind(self, args: tuple[Any, ...], given: dict[str, Any]) -> tuple[Any, AsyncIterator[Any] | None]:
        """The arguments as one, and the stream among them. Raises TypeError like any call."""
        feed, name = None, self.signature.feed
        if name:
            given = {**given, **dict(zip(self._order, args, strict=False))}
            if name not in given or len(args) > len(self._order):
                raise TypeError(f"{METHOD}{self.signature}: these arguments do not fit")
            feed, args = given.pop(name), ()
        return self.arguments(*args, **given), feed

    def encode_arguments(self, arguments: Any) -> list[Buffer]:
        for name in self._blobs:
            value = getattr(arguments, name)
            if is_bytes(value):
                setattr(arguments, name, Blob(value))
        return self._arguments.encode(arguments)

    def decode_arguments(self, parts: Parts) -> dict[str, Any]:
        """Raises InvalidRequest."""
        try:
            found = self._arguments.decode(parts)
        except (msgspec.DecodeError, ValueError) as error:
            raise InvalidRequest(f"the arguments are not {self.signature}: {error}") from error
        values = {name: getattr(found, name) for name in self._names}
        for name in self._blobs:
            if isinstance(values[name], Blob):
                values[name] = bytes(values[name].data)
        return values

    def decode_json(self, body: bytes) -> Any:
        """Arguments, as `bind` gives them. Raises InvalidRequest."""
        try:
            return msgspec.json.decode(body or b"{}", type=self.arguments, dec_hook=inward)
        except (msgspec.DecodeError, ValueError) as error:
            raise InvalidRequest(f"the body is not {self.signature}: {error}", code="invalid_json") from error

    def encode_answer(self, value: Any) -> list[Buffer]:
        """Raises StepFailed (`bad_answer`) for what cannot travel."""
        try:
            return self._answer.encode(value)
        except InvalidRequest as error:
            raise StepFailed(f"the answer is not {name_of(self.signature.kind)}: {error}", code="bad_answer") from error

    def decode_answer(self, parts: Parts, step: str) -> Any:
        """Raises StepFailed (`bad_answer`)."""
        try:
            return self._answer.decode(parts)
        except (msgspec.DecodeError, ValueError) as error:
            promised = name_of(self.signature.kind)
            raise StepFailed(f"step {step} did not answer with {promised}: {error}", code="bad_answer") from error

    def encode_item(self, value: Any) -> list[Buffer]:
        assert self._item is not None
        return self._item.encode(value)

    def decode_item(self, parts: Parts) -> Any:
        """Raises InvalidRequest."""
        assert self._item is not None
        try:
            return self._item.decode(parts)
        except (msgspec.DecodeError, ValueError) as error:
            raise InvalidRequest(self._no_item(error)) from error

    def item_of_json(self, data: Buffer) -> Any:
        """Raises InvalidRequest."""
        try:
            return msgspec.json.decode(data, type=self._item_kind, dec_hook=inward)
        except (msgspec.DecodeError, ValueError) as error:
            raise InvalidRequest(self._no_item(error)) from error

    def item_of_bytes(self, data: bytes) -> Any:
        """Raises InvalidRequest where items are never bytes."""
        try:
            return msgspec.convert(data, type=self._item_kind, dec_hook=inward)
        except (msgspec.ValidationError, ValueError) as error:
            raise InvalidRequest(self._no_item(error)) from error

    def _no_item(self, error: Exception) -> str:
        return f"an item of {self.signature.feed} is not what it should be: {error}"


def _field(each: Parameter) -> tuple[Any, ...]:
    kind = Blob if each.kind is bytes else each.kind
    if not each.optional:
        return (each.name, kind, msgspec.field())
    return (each.name, kind, msgspec.field(default_factory=lambda: each.default))
