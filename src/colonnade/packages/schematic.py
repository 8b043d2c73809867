"""The schema of a model's inputs and outputs, from the annotations of its methods."""

from __future__ import annotations

import collections.abc as abc
import inspect
import types
from collections.abc import Callable
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec
from pydantic import BaseModel


class Schema(msgspec.Struct, frozen=True):
    """`inputs` is None where inputs are not annotated with a pydantic model, and are not validated."""

    inputs: type[BaseModel] | None
    outputs: type[BaseModel] | None
    streams: bool | None

    def page(self) -> dict[str, Any]:
        return {
            "input_schema": self.inputs.model_json_schema() if self.inputs else None,
            "output_schema": self.outputs.model_json_schema() if self.outputs else None,
            "supports_streaming": self.streams,
        }


def schema_of(takes: Callable[..., Any], gives: Callable[..., Any]) -> Schema | None:
    """None where nothing is annotated that tells anything."""
    inputs = _first_annotation(takes)
    inputs = inputs if _is_model(inputs) else None
    outputs = _outputs(_hints(gives).get("return"))
    if inputs is None and outputs is None:
        return None
    return Schema(inputs, outputs[0] if outputs else None, outputs[1] if outputs else None)


def _first_annotation(call: Callable[..., Any]) -> Any:
    parameters = list(inspect.signature(call).parameters)
    return _hints(call).get(parameters[0]) if parameters else None


def _hints(call: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(call)
    except (NameError, TypeError, AttributeError):  # names that only a type checker sees
        return {}


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _outputs(annotation: Any) -> tuple[type[BaseModel] | None, bool] | None:
    if _is_model(annotation):
        return annotation, False
    if _is(annotation, abc.Generator, abc.AsyncGenerator, abc.Iterator, abc.AsyncIterator):
        return None, True
    if _is(annotation, abc.Awaitable):
        awaited = _awaited(annotation)
        return (awaited, False) if awaited else None
    if get_origin(annotation) in (Union, types.UnionType):
        return _either(get_args(annotation))
    return None


def _either(arms: tuple[Any, ...]) -> tuple[type[BaseModel], bool] | None:
    """A model or a stream of bytes, whichever the inputs ask for."""
    if len(arms) != 2:
        return None
    models = [arm if _is_model(arm) else _awaited(arm) for arm in arms if _is_model(arm) or _is(arm, abc.Awaitable)]
    streams = [arm for arm in arms if _is(arm, abc.Generator, abc.AsyncGenerator, abc.Iterator, abc.AsyncIterator)]
    return (models[0], True) if len(models) == len(streams) == 1 and models[0] else None


def _is(annotation: Any, *kinds: type) -> bool:
    origin = get_origin(annotation)
    return isinstance(origin, type) and issubclass(origin, kinds)


def _awaited(annotation: Any) -> type[BaseModel] | None:
    arguments = get_args(annotation)
    return arguments[0] if arguments and _is_model(arguments[0]) else None
