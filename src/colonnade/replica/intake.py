"""From a body to an order: parse, render, tokenise, check what fits. Long texts are tokenised on a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from colonnade.replica import completions, generate
from colonnade.replica.chat import ChatShape, conversation, offered_tools
from colonnade.replica.completions import MAX_PROMPTS, CompletionShape, Echo, echo, read_prompts
from colonnade.replica.embeddings import MAX_INPUTS, EmbeddingRequest, EmbeddingShape, check_dimensions
from colonnade.replica.form import Form, asked_form, chat_form
from colonnade.replica.generate import GenerateRequest, as_completion, scored_from
from colonnade.replica.generate_shape import Asked, GenerateShape
from colonnade.replica.grammars import Grammars
from colonnade.replica.identity import Identity
from colonnade.replica.landmarks import Mark
from colonnade.replica.marking import Encoded, Marking
from colonnade.replica.message_shape import MessageShape
from colonnade.replica.messages import REFUSED, CountRequest, MessagesRequest, as_chat, counted
from colonnade.replica.model import ServedModel
from colonnade.replica.order import Bounds, Order, Telling, Version, answer_length, check_tokens, sampling
from colonnade.replica.requests import ChatRequest, CommonRequest, CompletionRequest, check_unknown, read, warnings
from colonnade.replica.scoring import MAX_ITEMS, ScoreRequest, ScoreShape, joined
from colonnade.replica.shape import Label, Shape
from colonnade.replica.speech import Listening
from colonnade.replica.templates import Templates, Text
from colonnade.wire.errors import InvalidRequest
from colonnade.wire.messages import Grammar

_INLINE = 4096
"""Characters: a text up to this long is tokenised in about a millisecond, and a thread would only add to it."""

_MAX_SCORES = 1 << 18
"""Log-probabilities told of the prompts of one request, which are kept until its answer is written."""

_ANSWER = 16
"""Tokens of an answer of /v1/completions that names no number, as OpenAI has it."""


@dataclass(frozen=True, slots=True)
class Taken:
    order: Order
    shape: Shape
    warnings: list[str]
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Counted:
    """Tokens of a prompt that is not to be answered."""

    tokens: int
    warnings: list[str]


class Intake:
    """The version's fingerprint stands in answers as `system_fingerprint`."""

    def __init__(
        self,
        model: ServedModel,
        bounds: Bounds,
        version: Version,
        grammars: Grammars,
        templates: Templates,
        *,
        strict: bool,
    ) -> None:
        self.model = model
        self.bounds = bounds
        self._grammars = grammars
        self._templates = templates
        self._marking = Marking(model, version.fingerprint)
        self.fingerprint = version.fingerprint
        self._version = version
        self._strict = strict

    async def chat(self, body: bytes, identity: Identity) -> Taken:
        """Raises InvalidRequest."""
        request, warned = read(body, ChatRequest, strict=self._strict)
        order = await self._converse(request, identity, body)
        logprobs = order.sampling[0].logprobs
        return Taken(order, ChatShape(self._label(identity), order.include_usage, logprobs), warned, self.fingerprint)

    async def message(self, body: bytes, identity: Identity) -> Taken:
        """Raises InvalidRequest."""
        request, warned = read(body, MessagesRequest, strict=self._strict, refused=REFUSED)
        warned += self._thinks(request)
        order = await self._converse(as_chat(request), identity)
        return Taken(order, MessageShape(self._label(identity)), warned, self.fingerprint)

    async def count(self, body: bytes, identity: Identity) -> Counted:
        """Raises InvalidRequest."""
        request, warned = read(body, CountRequest, strict=self._strict, refused=REFUSED)
        warned += self._thinks(request)
        chat = counted(request)
        self.model.check_name(chat.model)
        _, encoded = await self._prompt(chat, identity)
        return Counted(len(encoded.tokens), warned)

    def _thinks(self, request: CountRequest) -> list[str]:
        """What cannot be held to of the reasoning that is asked for. Raises InvalidRequest where there is none."""
        thinking = request.thinking
        if thinking is None or thinking.type == "disabled":
            return []
        if not self.model.reasons:
            raise InvalidRequest(
                "thinking: this model gives no reasoning",
                param="thinking",
                code="unsupported_parameter",
                hint="leave it out; reasoning_parser says what is looked for",
            )
        return [] if thinking.budget_tokens is None else ["thinking.budget_tokens is not held to"]

    async def _converse(self, request: ChatRequest, identity: Identity, body: bytes = b"") -> Order:
        """`body`: where its messages are those of the request, for what the gateway knows of them."""
        self.model.check_name(request.model)
        body = b"" if request.cache_salt else body  # the gateway does not know of salts
        grammar = await self._grammar(chat_form(request))
        text, encoded = await self._prompt(request, identity, self._marking.counts(body, identity) if body else ())
        marks = self._marking.chat(body, identity, request, text, encoded) if body else ()
        several = request.parallel_tool_calls is not False and not isinstance(request.tool_choice, dict)
        listening = self.model.listening(text.text, several if offered_tools(request) else None, grammar)
        limit = request.max_completion_tokens or request.max_tokens
        telling = Telling((request.top_logprobs or 0) if request.logprobs else None)
        prompts = [encoded.tokens]
        return self._order(request, prompts, identity, (limit, None), "messages", telling, grammar, listening, marks)

    async def _prompt(
        self, request: ChatRequest, identity: Identity, counts: Sequence[int] = ()
    ) -> tuple[Text, Encoded]:
        tools, thinks = offered_tools(request), request.enable_thinking
        self.model.check_template()
        text = await self._templates.render(conversation(request), tools, identity.created, thinks, counts)
        return text, await self._encode(text.text, special=False)

    async def completion(self, body: bytes, identity: Identity) -> Taken:
        """Raises InvalidRequest."""
        request, warned = read(body, CompletionRequest, strict=self._strict, refused=completions.HERE)
        telling = Telling(request.logprobs, scored=0 if request.echo and request.logprobs is not None else None)
        order, encoded = await self._complete(request, identity, telling, body)
        order = replace(order, tell_end=bool(request.echo))
        echoes = await asyncio.to_thread(self._echoes, request, encoded) if request.echo else []
        shape = CompletionShape(self._label(identity), order.include_usage, request.logprobs, echoes, order.n)
        return Taken(order, shape, warned, self.fingerprint)

    def _echoes(self, request: CompletionRequest, encoded: list[Encoded]) -> list[Echo]:
        given = read_prompts(request.prompt, self.bounds)
        return [
            Echo(text, each.tokens, [start for start, _ in each.spans()])
            if isinstance(text, str)
            else echo(each.tokens, self.model.vocabulary.decode)
            for text, each in zip(given, encoded, strict=True)
        ]

    async def generate(self, body: bytes, identity: Identity) -> Taken:
        """Raises InvalidRequest."""
        request, warned = read(body, GenerateRequest, strict=self._strict, refused=generate.REFUSED)
        completion, unknown = as_completion(request, self.model.name)
        check_unknown(unknown, strict=self._strict)
        labels, start = tuple(request.token_ids_logprob or ()), scored_from(request)
        check_tokens("token_ids_logprob", labels, self.bounds)
        order, _ = await self._complete(completion, identity, Telling(completion.logprobs, labels, start))
        order = replace(order, name=request.rid or "", tell_end=True)
        asked = Asked(
            rid=request.rid or identity.request_id,
            prompts=tuple(map(len, order.prompts)),
            n=order.n,
            several=order.n > 1 or isinstance(request.text, list) or isinstance((request.input_ids or [0])[0], list),
            logprobs=bool(request.return_logprob),
            spelled=bool(request.return_text_in_logprobs),
            labels=labels,
            firsts=() if start is None else self._firsts(order, start),
        )
        return Taken(
            order, GenerateShape(self._label(identity), asked), [*warned, *warnings(unknown)], self.fingerprint
        )

    def _firsts(self, order: Order, start: int) -> tuple[int, ...]:
        for prompt in order.prompts:
            if start >= len(prompt):
                raise InvalidRequest(
                    f"logprob_start_len: {start}, and a prompt has {len(prompt)} tokens", param="logprob_start_len"
                )
        return tuple(prompt[start] for prompt in order.prompts)

    async def score(self, body: bytes, identity: Identity) -> Taken:
        """Raises InvalidRequest."""
        request, warned = read(body, ScoreRequest, strict=self._strict, refused={})
        completion = CompletionRequest(
            model=self.model.name if request.model is None else request.model,
            prompt=joined(request, self.bounds),
            max_tokens=1,
            temperature=0.0,
            priority=request.priority,
        )
        telling = Telling(0, tuple(request.label_token_ids))
        order, _ = await self._complete(completion, identity, telling, most=MAX_ITEMS)
        order = replace(order, tell_end=True, leads=not request.item_first)
        shape = ScoreShape(self._label(identity), softmax=request.apply_softmax)
        return Taken(order, shape, warned, self.fingerprint)

    async def embedding(self, body: bytes, identity: Identity) -> Taken:
        """Raises InvalidRequest."""
        request, warned = read(body, EmbeddingRequest, strict=self._strict, refused={})
        check_dimensions(request, int(self.model.folder.config["hidden_size"]))
        completion = CompletionRequest(
            model=request.model, prompt=request.input, max_tokens=0, temperature=0.0, priority=request.priority
        )
        telling = Telling(pooling=request.pooling or "last")
        order, _ = await self._complete(completion, identity, telling, most=MAX_INPUTS, param="input")
        base64 = request.encoding_format == "base64"
        shape = EmbeddingShape(self._label(identity), request.dimensions, base64=base64)
        return Taken(order, shape, warned, self.fingerprint)

    async def _complete(
        self,
        request: CompletionRequest,
        identity: Identity,
        telling: Telling,
        body: bytes = b"",
        most: int = MAX_PROMPTS,
        param: str = "prompt",
    ) -> tuple[Order, list[Encoded]]:
        self.model.check_name(request.model)
        grammar = await self._grammar(asked_form(request))
        given = read_prompts(request.prompt, self.bounds, most, param)
        encoded = [await self._encode(each, special=True) if isinstance(each, str) else Encoded(each) for each in given]
        marks: Sequence[Mark] = ()
        if body and not request.cache_salt and isinstance(request.prompt, str):
            marks = self._marking.text(body, identity, request.prompt, encoded[0])
        prompts, limit = [each.tokens for each in encoded], (request.max_tokens, _ANSWER)
        order = self._order(request, prompts, identity, limit, param, telling, grammar, marks=marks)
        return order, encoded

    async def _grammar(self, form: Form | None) -> Grammar | None:
        """Checked: an engine that gets it can follow it. Raises InvalidRequest."""
        if form is None:
            return None
        grammar, param = form
        if not self.bounds.eos:
            raise InvalidRequest(
                f"{param}: the model names no token that ends an answer", param=param, code="unsupported_parameter"
            )
        await self._grammars.check(grammar, param)
        return grammar

    def _order(
        self,
        request: CommonRequest,
        prompts: list[list[int]],
        identity: Identity,
        limit: tuple[int | None, int | None],
        param: str,
        telling: Telling,
        grammar: Grammar | None,
        listening: Listening | None = None,
        marks: Sequence[Mark] = (),
    ) -> Order:
        if not all(prompts):
            raise InvalidRequest(f"{param}: an empty prompt", param=param, hint="send at least one token")
        lengths = [answer_length(len(prompt), *limit, self.bounds, param) for prompt in prompts]
        options, told = request.stream_options, 1 + (telling.logprobs or 0) + len(telling.labels)
        if telling.scored is not None and sum(map(len, prompts)) * told > _MAX_SCORES:
            raise InvalidRequest(
                f"{param}: more than {_MAX_SCORES} log-probabilities of prompts in one request",
                param=param,
                hint="send fewer prompts at a time, or ask for fewer tokens in each place",
            )
        return Order(
            prompts=tuple(map(tuple, prompts)),
            sampling=tuple(
                sampling(request, identity.seed, self.bounds, max(1, length), telling, grammar) for length in lengths
            ),
            n=request.n or 1,
            stops=request.stops(),
            stream=bool(request.stream),
            include_usage=bool(options and options.include_usage),
            salt=request.cache_salt or "",
            listening=listening,
            priority=request.priority or 0,
            marks=tuple(marks),
            scoring=telling.scoring,
            silent=not any(lengths),
        )

    def _label(self, identity: Identity) -> Label:
        return Label(
            request_id=identity.request_id,
            created=identity.created,
            model=self.model.name,
            fingerprint=self.fingerprint,
            token_bytes=self.model.vocabulary.token_bytes,
            weights=self._version.label,
        )

    async def _encode(self, text: str, *, special: bool) -> Encoded:
        if len(text) <= _INLINE:
            encoding = self.model.vocabulary.encoding(text, special=special)
            return Encoded(encoding.ids, lambda: encoding.offsets)
        return await asyncio.to_thread(self._encode_long, text, special)

    def _encode_long(self, text: str, special: bool) -> Encoded:
        encoding = self.model.vocabulary.encoding(text, special=special)
        offsets = encoding.offsets
        return Encoded(encoding.ids, lambda: offsets)
