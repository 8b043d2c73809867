"""Writes what /generate answers, as SGLang does: each event of a stream holds all of its choice up to there. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from colonnade.replica.choice import Piece
from colonnade.replica.shape import Label, Said, Usage, floor
from colonnade.wire.errors import ColonnadeError
from colonnade.wire.messages import Logprob


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
    top: int = 0
    labels: tuple[int, ...] = ()
    """Tokens whose log-probabilities are told at each position."""
    firsts: tuple[int, ...] = ()
    """Where prompts are scored: of each the token at the position where that begins. Nothing is known of it."""


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
            "weight_version": self._label.weights,
        }
        if asked.logprobs:
            meta |= self._logprobs("output", [each.logprob for each in piece.logprobs])
        if asked.firsts:
            meta |= self._prompt(asked.firsts[index // asked.n], piece.scores or ())
        return {"text": text, "output_ids": list(piece.tokens), "meta_info": meta}

    def _prompt(self, first: int, scores: Sequence[Logprob]) -> dict[str, Any]:
        told = self._logprobs("input", scores)
        named, *others = told
        return {named: [[None, *self._token(first, 0.0)[1:]], *told[named]]} | {
            name: [None, *told[name]] for name in others
        }

    def _logprobs(self, side: str, told: Sequence[Logprob]) -> dict[str, list[Any]]:
        """SGLang's lists, a place for each token: itself, the most likely, and those that were asked for."""
        labels = self._asked.labels
        lists = {f"{side}_token_logprobs": [self._token(each.token, each.logprob) for each in told]}
        lists[f"{side}_top_logprobs"] = [[self._token(*pair) for pair in each.top] for each in told]
        if labels:
            pairs = [zip(labels, each.labels, strict=True) for each in told]
            lists[f"{side}_token_ids_logprobs"] = [[self._token(*pair) for pair in each] for each in pairs]
        return lists

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
