"""/score: how probable each of some answers is after each of some texts, in SGLang's shapes. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from colonnade.replica.choice import Piece
from colonnade.replica.order import Bounds, check_tokens
from colonnade.replica.shape import Label, Unstreamed, Usage
from colonnade.wire.errors import InvalidRequest

MAX_ITEMS = 256
Token = Annotated[int, Meta(ge=0)]


class ScoreRequest(msgspec.Struct, kw_only=True):
    """A prompt is the query and an item, as texts or as tokens; `item_first`: the other way round."""

    query: str | Annotated[list[Token], Meta(min_length=1)]
    items: str | Annotated[list[Any], Meta(min_length=1, max_length=MAX_ITEMS)]
    label_token_ids: Annotated[list[Token], Meta(min_length=1, max_length=256)]
    apply_softmax: bool = False
    item_first: bool = False
    model: str | None = None
    priority: Annotated[int, Meta(ge=-100, le=100)] | None = None
    user: str | None = None


def joined(request: ScoreRequest, bounds: Bounds) -> list[str | list[int]]:
    """The prompts. Raises InvalidRequest where query and items are not of one kind."""
    check_tokens("label_token_ids", request.label_token_ids, bounds)
    items = [request.items] if isinstance(request.items, str) else request.items
    query = request.query
    if isinstance(query, str):
        return [_text(query, item, index, first=request.item_first) for index, item in enumerate(items)]
    check_tokens("query", query, bounds)
    return [_tokens(query, item, index, bounds, first=request.item_first) for index, item in enumerate(items)]


def _text(query: str, item: Any, index: int, *, first: bool) -> str:
    if not isinstance(item, str):
        raise _mixed(index)
    return item + query if first else query + item


def _tokens(query: list[int], item: Any, index: int, bounds: Bounds, *, first: bool) -> list[int]:
    try:
        tokens = msgspec.convert(item, list[Token])
    except msgspec.ValidationError as error:
        raise _mixed(index) from error
    check_tokens(f"items[{index}]", tokens, bounds)
    return tokens + query if first else query + tokens


def _mixed(index: int) -> InvalidRequest:
    return InvalidRequest(
        f"items[{index}]: query and items are all texts, or all lists of token ids", param=f"items[{index}]"
    )


class ScoreShape(Unstreamed):
    """`softmax`: the probabilities of the labels among themselves, else in the whole vocabulary."""

    def __init__(self, label: Label, *, softmax: bool) -> None:
        self._label = label
        self._softmax = softmax

    def whole(self, pieces: Sequence[Piece], usage: Usage) -> dict[str, Any]:
        return {
            "object": "scoring",
            "model": self._label.model,
            "scores": [self._scores(piece.logprobs[0].logprob.labels) for piece in pieces],
            "usage": Usage(usage.prompt, usage.cached, 0).body(),
        }

    def _scores(self, logprobs: Sequence[float]) -> list[float]:
        peak = max(logprobs) if self._softmax else 0.0
        weights = [exp(each - peak) for each in logprobs]
        return [each / sum(weights) for each in weights] if self._softmax else weights
