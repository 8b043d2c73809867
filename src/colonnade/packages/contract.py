"""The class contract: which methods a model has, what each takes, and what goes together."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from enum import Enum
from typing import Any

import msgspec
from starlette.requests import Request

from colonnade.packages.schematic import Schema, schema_of

ENDPOINTS = ("chat_completions", "completions", "embeddings", "messages", "responses")
"""Methods with a path of their own beside predict."""


class ModelDefinitionError(TypeError):
    """The class does not keep the contract."""


class Takes(Enum):
    NOTHING = 0
    INPUTS = 1
    REQUEST = 2
    BOTH = 3


class Method(msgspec.Struct, frozen=True):
    """One method of a model, bound."""

    name: str
    call: Callable[..., Any]
    takes: Takes
    is_async: bool
    is_generator: bool

    def arguments(self, inputs: Any, request: Request) -> tuple[Any, ...]:
        match self.takes:
            case Takes.NOTHING:
                return ()
            case Takes.INPUTS:
                return (inputs,)
            case Takes.REQUEST:
                return (request,)
            case Takes.BOTH:
                return (inputs, request)


class Contract(msgspec.Struct, frozen=True):
    """What a model offers. Exactly one of `predict` and `websocket` is there."""

    methods: dict[str, Method]
    schema: Schema | None

    def get(self, name: str) -> Method | None:
        return self.methods.get(name)

    @property
    def reads_body_itself(self) -> bool:
        """Its first method takes the request alone: the body is not parsed for it."""
        first = self.get("preprocess") or self.get("predict")
        return first is not None and first.takes is Takes.REQUEST


def contract_of(model: object) -> Contract:
    """Raises ModelDefinitionError for the first thing that does not fit."""
    names = ("preprocess", "predict", "postprocess", "is_healthy", "setup_environment", "websocket", *ENDPOINTS)
    methods = {name: _method(getattr(model, name), name) for name in names if hasattr(model, name)}
    _check_shapes(methods)
    schema = None
    if "predict" in methods:
        first, last = methods.get("preprocess", methods["predict"]), methods.get("postprocess", methods["predict"])
        schema = schema_of(first.call, last.call)
    return Contract(methods, schema)


def _check_shapes(methods: dict[str, Method]) -> None:
    if "is_healthy" in methods and methods["is_healthy"].takes is not Takes.NOTHING:
        raise ModelDefinitionError("`is_healthy` must have only one argument: `self`.")
    if "websocket" in methods:
        _check_websocket(methods)
        return
    if "predict" not in methods:
        raise ModelDefinitionError("Truss model must have a `predict` or `websocket` method.")
    if "preprocess" in methods and methods["predict"].takes is Takes.REQUEST:
        raise ModelDefinitionError(
            "When using `preprocess`, the predict method cannot only have the request argument (because the result of "
            "`preprocess` would be  discarded)."
        )
    if "postprocess" in methods and methods["postprocess"].takes is Takes.REQUEST:
        raise ModelDefinitionError(
            "The `postprocess` method cannot only have the request argument (because the result of `predict` would be "
            "discarded)."
        )


def _check_websocket(methods: dict[str, Method]) -> None:
    if methods.keys() & {"predict", "preprocess", "postprocess"}:
        raise ModelDefinitionError(
            "Truss model cannot have both `websocket` and any of `predict`, `preprocess`, or `postprocess` methods."
        )
    if methods["websocket"].takes is not Takes.INPUTS:
        raise ModelDefinitionError("`websocket` must have only one argument: `websocket`.")
    if not methods["websocket"].is_async:
        raise ModelDefinitionError("`websocket` endpoints must be async function definitions.")


def _method(call: Callable[..., Any], name: str) -> Method:
    generates = inspect.isgeneratorfunction(call) or inspect.isasyncgenfunction(call)
    return Method(name, call, _takes(call, name), inspect.iscoroutinefunction(call), generates)


def _takes(call: Callable[..., Any], name: str) -> Takes:
    signature = inspect.signature(call)
    asked = [_is_request(each, call) for each in signature.parameters.values()]
    match asked:
        case []:
            return Takes.NOTHING
        case [request]:
            return Takes.REQUEST if request else Takes.INPUTS
        case [False, True]:
            return Takes.BOTH
        case [True, _]:
            raise ModelDefinitionError(
                f"`{name}` method with two arguments is not allowed to have request as first argument, request must be "
                f"second. Got: {signature}"
            )
        case [_, _]:
            raise ModelDefinitionError(
                f"`{name}` method with two arguments must have request as second argument (type annotated). "
                f"Got: {signature} "
            )
        case _:
            raise ModelDefinitionError(f"`{name}` method cannot have more than two arguments. Got: {signature}")


def _is_request(parameter: inspect.Parameter, call: Callable[..., Any]) -> bool:
    """Annotations may be texts, as `from __future__ import annotations` makes them."""
    annotation = parameter.annotation
    if isinstance(annotation, str):
        names = getattr(inspect.unwrap(call), "__globals__", {})
        annotation = names.get(annotation) or _attribute(names, annotation)
    return isinstance(annotation, type) and issubclass(annotation, Request)


def _attribute(names: dict[str, Any], dotted: str) -> Any:
    """`fastapi.Request` of a module's names; None where it is none."""
    first, *rest = dotted.split(".")
    found = names.get(first)
    for each in rest:
        found = getattr(found, each, None)
    return found
