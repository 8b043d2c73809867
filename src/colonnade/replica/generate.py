"""What /generate takes: SGLang's request, read as the completion that it is. Pure."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from colonnade.replica.refused import NOT_HERE, Refusal
from colonnade.replica.requests import CompletionRequest, Penalty, check, unknown_in
from colonnade.wire.errors import InvalidRequest

DEFAULT_LENGTH = 128
"""Tokens of an answer where the request names no number, as SGLang has it."""


class SamplingParams(msgspec.Struct, kw_only=True):
    max_new_tokens: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=-1, le=2**31 - 1)] | None = None
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Meta(gt=0, le=10)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    sampling_seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    stop: str | list[str] | None = None
    stop_token_ids: Annotated[list[Annotated[int, Meta(ge=0)]], Meta(max_length=64)] | None = None
    n: Annotated[int, Meta(ge=1, le=8)] | None = None
    ignore_eos: bool | None = None
    logit_bias: dict[int, Annotated[float, Meta(ge=-100, le=100)]] | None = None
    json_schema: str | dict[str, Any] | None = None
    regex: str | None = None
    ebnf: str | None = None


class GenerateRequest(msgspec.Struct, kw_only=True):
    """`rid` names the request for /abort_request and in `meta_info`."""

    model: str | None = None
    text: str | list[str] | None = None
    input_ids: list[Any] | None = None
    sampling_params: dict[str, Any] | None = None
    return_logprob: bool | None = None
    top_logprobs_num: Annotated[int, Meta(ge=0, le=20)] | None = None
    logprob_start_len: Annotated[int, Meta(ge=-1, le=2**31 - 1)] | None = None
    token_ids_logprob: Annotated[list[Annotated[int, Meta(ge=0)]], Meta(max_length=256)] | None = None
    return_text_in_logprobs: bool | None = None
    stream: bool | None = None
    rid: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    priority: Annotated[int, Meta(ge=-100, le=100)] | None = None


_KNOBS: dict[str, Refusal] = {
    "min_new_tokens": Refusal("not honoured", (0,)),
    "stop_regex": Refusal("not honoured", (), "use stop, or regex"),
    "structural_tag": Refusal("not taken", (), "use tools in /v1/chat/completions, or ebnf"),
    "skip_special_tokens": Refusal("special tokens are never part of the text", (True,), "read output_ids"),
    "spaces_between_special_tokens": Refusal("special tokens are never part of the text", (True,)),
    "no_stop_trim": Refusal("a stop string is never part of the answer", (False,)),
    "custom_params": Refusal("nothing reads them"),
    "beam_width": Refusal("not honoured", (1,)),
}

REFUSED: dict[str, Refusal] = {
    "image_data": NOT_HERE,
    "audio_data": NOT_HERE,
    "video_data": NOT_HERE,
    "input_embeds": Refusal("only texts and token ids are taken"),
    "lora_path": Refusal("there are no adapters"),
    "custom_logit_processor": Refusal("code of a request is not run", (), "use logit_bias"),
    "return_hidden_states": Refusal("hidden states are not given", (False,)),
    "session_params": Refusal("the prefix cache works by itself"),
}


def as_completion(request: GenerateRequest, model: str) -> tuple[CompletionRequest, list[str]]:
    """The same question in the other form, and the names of sampling parameters that are not known.

    Raises InvalidRequest."""
    params = request.sampling_params or {}
    for name in params.keys() & _KNOBS:
        _KNOBS[name].check(f"sampling_params.{name}", params[name])
    asked = _params(params)
    if (request.text is None) == (request.input_ids is None):
        raise InvalidRequest("text or input_ids: one of them", param="text")
    if request.stream and request.return_logprob:
        raise InvalidRequest(
            "return_logprob: not in a stream",
            param="return_logprob",
            code="unsupported_parameter",
            hint="leave stream out, or stream from /v1/completions with logprobs",
        )
    completion = CompletionRequest(
        model=model if request.model is None else request.model,
        prompt=request.text if request.input_ids is None else request.input_ids,
        max_tokens=DEFAULT_LENGTH if asked.max_new_tokens is None else asked.max_new_tokens,
        temperature=asked.temperature,
        top_p=asked.top_p,
        top_k=asked.top_k,
        min_p=asked.min_p,
        repetition_penalty=asked.repetition_penalty,
        presence_penalty=asked.presence_penalty,
        frequency_penalty=asked.frequency_penalty,
        seed=asked.sampling_seed,
        stop=asked.stop,
        stop_token_ids=asked.stop_token_ids,
        n=asked.n,
        ignore_eos=asked.ignore_eos,
        logit_bias=asked.logit_bias,
        json_schema=asked.json_schema,
        regex=asked.regex,
        ebnf=asked.ebnf,
        stream=request.stream,
        logprobs=(request.top_logprobs_num or 0) if request.return_logprob else None,
        priority=request.priority,
    )
    check(completion)
    return completion, unknown_in(params, SamplingParams, _KNOBS)


def scored_from(request: GenerateRequest) -> int | None:
    """The position of the prompt from which on its tokens are scored; None: they are not."""
    start = request.logprob_start_len
    return start if request.return_logprob and start is not None and start >= 0 else None


def _params(params: dict[str, Any]) -> SamplingParams:
    """JSON has text for keys, so that the bias by token is read leniently."""
    try:
        return msgspec.convert(params, SamplingParams, strict=False)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at ")
        path = where.strip("`").removeprefix("$").lstrip(".")
        param = f"sampling_params.{path}" if path else "sampling_params"
        raise InvalidRequest(f"{param}: {what}", param=param) from error
