"""/v1/completions: prompts to token ids or texts, and pieces to the bodies that OpenAI's clients read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from colonnade.replica.choice import Piece
from colonnade.replica.detokenize import Decode, Detokenizer
from colonnade.replica.order import Bounds
from colonnade.replica.refused import REFUSED, Refusal
from colonnade.replica.shape import Label, Said, Usage, floor
from colonnade.wire.errors import ColonnadeError, InvalidRequest
from colonnade.wire.messages import Logprob

HERE: Mapping[str, Refusal] = {name: refusal for name, refusal in REFUSED.items() if name != "echo"}
MAX_PROMPTS = 64
_FORMS = "a string, a list of token ids, a list of strings or a list of lists of token ids"


def read_prompts(prompt: Any, bounds: Bounds, most: int = MAX_PROMPTS, param: str = "prompt") -> list[str | list[int]]:
    """A text or token ids for each prompt. Raises InvalidRequest."""
    listed = cast(list[Any], prompt) if isinstance(prompt, list) else []
    several = bool(listed) and not isinstance(listed[0], int)
    prompts: list[Any] = listed if several else [prompt]
    if len(prompts) > most:
        raise InvalidRequest(f"{param}: {len(prompts)} of them; at most {most} in a request", param=param)
    return [_one(each, f"{param}[{index}]" if several else param, bounds) for index, each in enumerate(prompts)]


def _one(prompt: Any, param: str, bounds: Bounds) -> str | list[int]:
    if isinstance(prompt, str):
        return prompt
    if not isinstance(prompt, list) or not prompt:
        raise InvalidRequest(f"{param}: {_FORMS}", param=param)
    tokens = cast(list[Any], prompt)
    for token in tokens:
        if type(token) is not int:
            raise InvalidRequest(f"{param}: {_FORMS}", param=param)
        if not 0 <= token < bounds.vocab_size:
            raise InvalidRequest(f"{param}: token {token} is not in 0 to {bounds.vocab_size - 1}", param=param)
    return tokens


@dataclass(frozen=True, slots=True)
class Echo:
    """A prompt as its answer repeats it: `offsets` say where in the text each token begins, in characters."""

    text: str
    tokens: Sequence[int]
    offsets: Sequence[int]


def echo(tokens: Sequence[int], decode: Decode) -> Echo:
    """Of a prompt that came as tokens."""
    detokenizer, text, offsets = Detokenizer(decode), "", list[int]()
    for token in tokens:
        offsets.append(len(text))
        text += detokenizer.push(token)
    return Echo(text + detokenizer.flush(), tokens, offsets)


class CompletionShape:
    """Writes `text_completion`, whole and in chunks."""

    def __init__(
        self, label: Label, include_usage: bool, logprobs: int | None, echoes: Sequence[Echo] = (), n: int = 1
    ) -> None:
        """`echoes`: of each prompt, where they are asked for; `n` choices each."""
        self._label = label
        self._include_usage = include_usage
        self._logprobs = logprobs
        self._echoes = echoes
        self._n = n
        self._begun: set[int] = set()

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
        echo = self._echoes[index // self._n] if self._echoes else _NO_ECHO
        first = index not in self._begun
        self._begun.add(index)
        text = echo.text + piece.text if first else piece.text
        told = self._told(piece, echo, first=first)
        return {"index": index, "text": text, "logprobs": told, "finish_reason": piece.finish}

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

    def _told(self, piece: Piece, echo: Echo, *, first: bool) -> dict[str, Any] | None:
        """Of the first token of a prompt there is none: nothing stands before it."""
        if self._logprobs is None:
            return None
        head = echo if first else _NO_ECHO
        scores = [None, *(piece.scores or ())] if head.tokens else []
        told = [*scores, *(each.logprob for each in piece.logprobs)]
        return {
            "tokens": [
                *map(self._text, head.tokens),
                *(self._text(each.logprob.token) for each in piece.logprobs),
            ],
            "token_logprobs": [each and floor(each.logprob) for each in told],
            "top_logprobs": [each and self._top(each) for each in told] if self._logprobs else None,
            "text_offset": [*head.offsets, *(len(echo.text) + each.offset for each in piece.logprobs)],
        }

    def _top(self, told: Logprob) -> dict[str, float]:
        """The most likely, and the token itself; of tokens that are written alike the likelier one counts."""
        top: dict[str, float] = {}
        for token, logprob in (*told.top, (told.token, told.logprob)):
            top.setdefault(self._text(token), floor(logprob))
        return top

    def _text(self, token: int) -> str:
        return self._label.token_bytes(token).decode("utf-8", "replace")


_NO_ECHO = Echo("", (), ())
