"""From a body to an order: parse, render, tokenise, check what fits. Long texts are tokenised on a thread."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from colonnade.replica.chat import ChatShape, conversation, offered_tools
from colonnade.replica.completions import CompletionShape, read_prompts
from colonnade.replica.form import Form, asked_form, chat_form
from colonnade.replica.grammars import Grammars
from colonnade.replica.identity import Identity
from colonnade.replica.model import ServedModel
from colonnade.replica.order import Bounds, Order, answer_length, sampling
from colonnade.replica.requests import ChatRequest, CommonRequest, CompletionRequest, read
from colonnade.replica.shape import Label, Shape
from colonnade.wire.errors import InvalidRequest
from colonnade.wire.messages import Grammar

_INLINE = 4096
"""Characters: a text up to this long is tokenised in about a millisecond, and a thread would only add to it."""

_ANSWER = 16
"""Tokens of an answer of /v1/completions that names no number, as OpenAI has it."""


@dataclass(frozen=True, slots=True)
class Taken:
    order: Order
    shape: Shape
    warnings: list[str]
    fingerprint: str


class Intake:
    """`fingerprint` stands in answers as `system_fingerprint`."""

    def __init__(
        self, model: ServedModel, bounds: Bounds, fingerprint: str, grammars: Grammars, *, strict: bool
    ) -> None:
        self.model = model
        self.bounds = bounds
        self._grammars = grammars
        self.fingerprint = fingerprint
        self._strict = strict

    async def chat(self, body: bytes, identity: Identity) -> Taken:
        """Raises InvalidRequest."""
        request, warnings = read(body, ChatRequest, strict=self._strict)
        self.model.check_name(request.model)
        grammar = await self._grammar(chat_form(request))
        tools = offered_tools(request)
        text = self.model.chat_template().render(conversation(request), tools, identity.created)
        prompt = await self._encode(text, special=False)
        limit = request.max_completion_tokens or request.max_tokens
        logprobs = (request.top_logprobs or 0) if request.logprobs else None
        several = request.parallel_tool_calls is not False and not isinstance(request.tool_choice, dict)
        order = self._order(
            request, [prompt], identity, (limit, None), "messages", logprobs, grammar, several if tools else None
        )
        return Taken(order, ChatShape(self._label(identity), order.include_usage, logprobs), warnings, self.fingerprint)

    async def completion(self, body: bytes, identity: Identity) -> Taken:
        """Raises InvalidRequest."""
        request, warnings = read(body, CompletionRequest, strict=self._strict)
        self.model.check_name(request.model)
        grammar = await self._grammar(asked_form(request))
        given = read_prompts(request.prompt, self.bounds)
        prompts = [await self._encode(each, special=True) if isinstance(each, str) else each for each in given]
        order = self._order(
            request, prompts, identity, (request.max_tokens, _ANSWER), "prompt", request.logprobs, grammar
        )
        shape = CompletionShape(self._label(identity), order.include_usage, request.logprobs)
        return Taken(order, shape, warnings, self.fingerprint)

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
        logprobs: int | None,
        grammar: Grammar | None,
        tools: bool | None = None,
    ) -> Order:
        if not all(prompts):
            raise InvalidRequest(f"{param}: an empty prompt", param=param, hint="send at least one token")
        lengths = [answer_length(len(prompt), *limit, self.bounds, param) for prompt in prompts]
        options = request.stream_options
        return Order(
            prompts=tuple(map(tuple, prompts)),
            sampling=tuple(
                sampling(request, identity.seed, self.bounds, length, logprobs, grammar) for length in lengths
            ),
            n=request.n or 1,
            stops=request.stops(),
            stream=bool(request.stream),
            include_usage=bool(options and options.include_usage),
            tools=tools,
            salt=request.cache_salt or "",
        )

    def _label(self, identity: Identity) -> Label:
        return Label(
            request_id=identity.request_id,
            created=identity.created,
            model=self.model.name,
            fingerprint=self.fingerprint,
            token_bytes=self.model.vocabulary.token_bytes,
        )

    async def _encode(self, text: str, *, special: bool) -> list[int]:
        if len(text) <= _INLINE:
            return self.model.vocabulary.encode(text, special=special)
        return await asyncio.to_thread(self.model.vocabulary.encode, text, special=special)
