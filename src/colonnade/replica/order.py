"""A request as the engine and the writer need it, whichever endpoint it came by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from colonnade.replica.identity import SEED_LIMIT
from colonnade.replica.landmarks import Mark
from colonnade.replica.requests import CommonRequest
from colonnade.replica.speech import Listening
from colonnade.wire.errors import ContextTooLong, InvalidRequest
from colonnade.wire.messages import Grammar, Sampling, Scoring


@dataclass(frozen=True, slots=True)
class Version:
    """Which weights an answer is computed with: the numerics, exactly, and a label for people."""

    fingerprint: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a model allows, and what it takes where a request is silent (generation_config.json)."""

    max_context: int
    vocab_size: int
    eos: tuple[int, ...] = ()
    defaults: Mapping[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True, slots=True)
class Telling:
    """What is told of tokens: of the answer's, of the `logprobs` most likely in their place and of `labels`; and the
    same of the prompt's own, behind position `scored`."""

    logprobs: int | None = None
    labels: tuple[int, ...] = ()
    scored: int | None = None
    pooling: Literal["", "last", "mean"] = ""
    """A vector of each prompt instead."""

    @property
    def scoring(self) -> Scoring | None:
        if self.scored is None and not self.pooling:
            return None
        return Scoring(self.scored or 0, self.logprobs or 0, self.labels, self.pooling)


@dataclass(frozen=True, slots=True)
class Order:
    """`n` choices for each prompt: choice `i` of the answer belongs to prompt `i // n`."""

    prompts: tuple[tuple[int, ...], ...]
    sampling: tuple[Sampling, ...]  # one for each prompt
    n: int
    stops: tuple[str, ...]
    stream: bool
    include_usage: bool
    listening: Listening | None = None  # what is looked for in the text; None: text is text
    priority: int = 0
    name: str = ""  # the client's own for it, where it has one
    marks: tuple[Mark, ...] = ()  # of a single prompt
    salt: str = ""  # prefixes are shared with requests of the same salt alone
    scoring: Scoring | None = None  # what is wanted of each prompt's own tokens
    silent: bool = False  # nothing but the prompt is of interest: the token that the engine draws is dropped
    tell_end: bool = False  # the log-probability of a token that ends the answer is told, too
    leads: bool = False  # the first prompt goes ahead of the others, which find in the cache what they share with it

    @property
    def choices(self) -> int:
        return len(self.prompts) * self.n

    @property
    def prompt_tokens(self) -> int:
        return sum(map(len, self.prompts))


def sampling(
    request: CommonRequest,
    seed: int,
    bounds: Bounds,
    max_tokens: int,
    telling: Telling,
    grammar: Grammar | None = None,
) -> Sampling:
    """`seed` is the gateway's; the body's own goes first. Raises InvalidRequest for token ids out of range."""
    check_tokens("stop_token_ids", request.stop_token_ids or (), bounds)
    check_tokens("logit_bias", request.logit_bias or (), bounds)
    chosen = request.seed if request.seed is not None else seed
    return Sampling(
        seed=chosen % SEED_LIMIT,
        max_tokens=max_tokens,
        temperature=_or_default(request, "temperature", bounds, 1.0),
        top_p=_or_default(request, "top_p", bounds, 1.0),
        top_k=max(0, int(_or_default(request, "top_k", bounds, 0))),
        min_p=_or_default(request, "min_p", bounds, 0.0),
        repetition_penalty=_or_default(request, "repetition_penalty", bounds, 1.0),
        presence_penalty=request.presence_penalty or 0.0,
        frequency_penalty=request.frequency_penalty or 0.0,
        stop_token_ids=_stop_tokens(request, bounds),
        ignore_eos=bool(request.ignore_eos),
        logit_bias=request.logit_bias or None,
        logprobs=telling.logprobs,
        labels=telling.labels,
        grammar=grammar,
    )


def _stop_tokens(request: CommonRequest, bounds: Bounds) -> tuple[int, ...]:
    """The model's own end of a turn is one, unless the request has it ignored."""
    own = () if request.ignore_eos else bounds.eos
    return tuple(dict.fromkeys((*own, *(request.stop_token_ids or ()))))


def _or_default(request: CommonRequest, name: str, bounds: Bounds, default: float) -> float:
    value = getattr(request, name)
    return float(bounds.defaults.get(name, default) if value is None else value)


def check_tokens(name: str, tokens: Iterable[int], bounds: Bounds) -> None:
    """Raises InvalidRequest for one that is not in the vocabulary."""
    for token in tokens:
        if not 0 <= token < bounds.vocab_size:
            raise InvalidRequest(f"{name}: token {token} is not in 0 to {bounds.vocab_size - 1}", param=name)


def answer_length(prompt: int, asked: int | None, default: int | None, bounds: Bounds, param: str) -> int:
    """Most tokens of the answer. Raises ContextTooLong, with the numbers, where prompt and answer do not fit."""
    room = bounds.max_context - prompt
    if room < 1:
        raise ContextTooLong(
            f"the prompt has {prompt} tokens; with at least one of an answer it must fit in {bounds.max_context}",
            param=param,
            hint="shorten the prompt; max_context says how long prompt and answer may be together",
        )
    if asked is not None and asked > room:
        raise ContextTooLong(
            f"the prompt has {prompt} tokens and max_tokens asks for {asked}, together {prompt + asked}; "
            f"they must fit in {bounds.max_context}",
            param="max_tokens",
            hint=f"ask for at most {room} tokens, or leave max_tokens out",
        )
    return asked if asked is not None else min(default or room, room)
