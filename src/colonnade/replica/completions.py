"""/v1/completions: prompts to token ids or texts, and pieces to the bodies that OpenAI's clients read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from colonnade.replica.choice import Piece
from colonnade.replica.order import Bounds
from colonnade.replica.shape import Label, Said, Usage, floor
from colonnade.wire.errors import ColonnadeError, InvalidRequest

MAX_PROMPTS = 64
_FORMS = "prompt: a string, a list of token ids, a list of strings or a list of lists of token ids"


def read_prompts(prompt: Any, bounds: Bounds) -> list[str | list[int]]:
    """A text or token ids for each prompt. Raises InvalidRequest."""
    listed = cast(list[Any], prompt) if isinstance(prompt, list) else []
    several = bool(listed) and not isinstance(listed[0], int)
    prompts: list[Any] = listed if several else [prompt]
    if len(prompts) > MAX_PROMPTS:
        raise InvalidRequest(f"prompt: {len(prompts)} prompts; at most {MAX_PROMPTS} in a request", param="prompt")
    return [_one(each, f"prompt[{index}]" if several else "prompt", bounds) for index, each in enumerate(prompts)]


def _one(prompt: Any, param: str, bounds: Bounds) -> str | list[int]:
    if isinstance(prompt, str):
        return prompt
    if not isinstance(prompt, list) or not prompt:
        raise InvalidRequest(_FORMS, param=param)
    tokens = cast(list[Any], prompt)
    for token in tokens:
        if type(token) is not int:
            raise InvalidRequest(_FORMS, param=param)
        if not 0 <= token < bounds.vocab_size:
            raise InvalidRequest(f"{param}: token {token} is not in 0 to {bounds.vocab_size - 1}", param=param)
    return tokens


class CompletionShape:
    """Writes `text_completion`, whole and in chunks."""

    def __init__(self, label: Label, include_usage: bool, logprobs: int | None) -> None:
        self._label = label
        self._include_usage = include_usage
        self._logprobs = logprobs

    def opening(self, choices: int, usage: Usage) -> list[Said]:
        return []

    def chunk(self, index: int, piece: Piece) -> dict[str, Any]:
        body = self._around([self._choice(index, piece)])
        return body | {"usage": None} if self._include_usage else body

    def events(self, index: int, piece: Piece) -> list[Said]:
        return [Said(self.chunk(index, piece))]

    def quiet(self, index: int, piece: Piece) -> None:
        """Nothing is kept of it."""

    def closing(self, usage: Usage) -> list[Said]:
        return [Said(self._around([]) | {"usage": usage.body()})] if self._include_usage else []

    def failure(self, error: ColonnadeError, request_id: str) -> Said:
        return Said(error.envelope(request_id))

    def whole(self, pieces: Sequence[Piece], usage: Usage) -> dict[str, Any]:
        choices = [self._choice(index, piece) for index, piece in enumerate(pieces)]
        return self._around(choices) | {"usage": usage.body()}

    def _choice(self, index: int, piece: Piece) -> dict[str, Any]:
        return {"index": index, "text": piece.text, "logprobs": self._told(piece), "finish_reason": piece.finish}

    def _around(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        label = self._label
        return {
            "id": f"cmpl-{label.request_id}",
            "object": "text_completion",
            "created": label.created,
            "model": label.model,
            "system_fingerprint": label.fingerprint,
            "choices": choices,
        }

    def _told(self, piece: Piece) -> dict[str, Any] | None:
        if self._logprobs is None:
            return None
        told = [each.logprob for each in piece.logprobs]
        top = [{self._text(token): floor(logprob) for token, logprob in each.top} for each in told]
        return {
            "tokens": [self._text(each.token) for each in told],
            "token_logprobs": [floor(each.logprob) for each in told],
            "top_logprobs": top if self._logprobs else None,
            "text_offset": [each.offset for each in piece.logprobs],
        }

    def _text(self, token: int) -> str:
        return self._label.token_bytes(token).decode("utf-8", "replace")
