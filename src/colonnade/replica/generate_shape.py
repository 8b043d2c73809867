"""Writes what /generate answers, as SGLang does: each event of a stream holds all of its choice up to there. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from colonnade.replica.choice import Piece, TokenLogprob
from colonnade.replica.shape import Label, Said, Usage, floor
from colonnade.wire.errors import ColonnadeError


@dataclass(frozen=True, slots=True)
class Asked:
    """How a request wants its answer. `several`: it is a list, even of one. `prompts`: tokens of each prompt."""

    rid: str
    prompts: tuple[int, ...]
    n: int
    several: bool
    logprobs: bool
    spelled: bool
    """Tokens in log-probabilities with their text."""


class GenerateShape:
    def __init__(self, label: Label, asked: Asked) -> None:
        self._label = label
        self._asked = asked
        self._texts: dict[int, str] = {}
        self._tokens: dict[int, list[int]] = {}
        self._usage = Usage(0, 0, 0)

    def opening(self, choices: int, usage: Usage) -> list[Said]:
        self._usage = usage
        return []

    def events(self, index: int, piece: Piece) -> list[Said]:
        self.quiet(index, piece)
        self._texts[index] = self._texts.get(index, "") + piece.text
        whole = Piece(tuple(self._tokens[index]), finish=piece.finish, stopped=piece.stopped)
        body = self._choice(index, self._texts[index], whole, self._usage)
        return [Said(body | {"index": index} if self._asked.several else body)]

    def quiet(self, index: int, piece: Piece) -> None:
        self._tokens.setdefault(index, []).extend(piece.tokens)

    def closing(self, usage: Usage) -> list[Said]:
        return []

    def whole(self, pieces: Sequence[Piece], usage: Usage) -> Any:
        told = [self._choice(index, piece.text, piece, usage) for index, piece in enumerate(pieces)]
        return told if self._asked.several else told[0]

    def failure(self, error: ColonnadeError, request_id: str) -> Said:
        return Said(error.envelope(request_id))

    def _choice(self, index: int, text: str, piece: Piece, usage: Usage) -> dict[str, Any]:
        asked = self._asked
        meta: dict[str, Any] = {
            "id": f"{asked.rid}_{index}" if asked.several else asked.rid,
            "finish_reason": _finish(piece),
            "prompt_tokens": asked.prompts[index // asked.n],
            "completion_tokens": len(piece.tokens),
            "cached_tokens": usage.cached,
            "weight_version": self._label.fingerprint,
        }
        if asked.logprobs:
            meta["output_token_logprobs"] = [self._told(each) for each in piece.logprobs]
            meta["output_top_logprobs"] = [
                [self._token(token, logprob) for token, logprob in each.logprob.top] for each in piece.logprobs
            ]
        return {"text": text, "output_ids": list(piece.tokens), "meta_info": meta}

    def _told(self, each: TokenLogprob) -> list[Any]:
        return self._token(each.logprob.token, each.logprob.logprob)

    def _token(self, token: int, logprob: float) -> list[Any]:
        text = self._label.token_bytes(token).decode("utf-8", "replace") if self._asked.spelled else None
        return [floor(logprob), token, text]


def _finish(piece: Piece) -> dict[str, Any] | None:
    match piece.finish:
        case None:
            return None
        case "length":
            return {"type": "length", "length": len(piece.tokens)}
        case _:
            return {"type": "stop", "matched": piece.stopped or (piece.tokens[-1] if piece.tokens else None)}
