"""What an answer cost in tokens, as its replica says. Pure."""

from __future__ import annotations

import msgspec


class Usage(msgspec.Struct, frozen=True, gc=False):
    prompt: int
    completion: int


class _Counts(msgspec.Struct):
    """OpenAI's names, and Anthropic's."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    input_tokens: int = 0
    output_tokens: int = 0


class _Answer(msgspec.Struct):
    usage: _Counts | None = None


class _Meta(msgspec.Struct):
    meta_info: _Counts


_decode = msgspec.json.Decoder(_Answer).decode


def in_body(body: bytes) -> Usage | None:
    """Of a whole answer in JSON; SGLang's `/generate` has it in `meta_info`."""
    if b'"usage"' not in body and b'"meta_info"' not in body:
        return None
    try:
        counts = [_decode(body).usage] if b'"usage"' in body else _meta(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    known = [each for each in counts if each is not None]
    if not known:
        return None
    return Usage(
        sum(each.prompt_tokens + each.input_tokens for each in known),
        sum(each.completion_tokens + each.output_tokens for each in known),
    )


def _meta(body: bytes) -> list[_Counts | None]:
    if body.lstrip().startswith(b"["):
        return [each.meta_info for each in msgspec.json.decode(body, type=list[_Meta])]
    return [msgspec.json.decode(body, type=_Meta).meta_info]
