"""Bodies that no client should send, by a fixed seed: sound ones with something wrong in them, or wrong bytes."""

import json
import random
from collections.abc import Iterator
from typing import Any

USER = {"role": "user", "content": "hi"}
SYSTEM = {"role": "system", "content": "s"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"a": {}}}}}
SOUND: list[tuple[str, dict[str, Any]]] = [
    ("/v1/chat/completions", {"messages": [USER], "max_tokens": 2, "temperature": 0.5, "stop": ["a"], "seed": 1}),
    ("/v1/chat/completions", {"messages": [SYSTEM, USER], "tools": [TOOL], "max_tokens": 2}),
    ("/v1/chat/completions", {"messages": [USER], "response_format": {"type": "text"}, "logprobs": True, "n": 2}),
    ("/v1/completions", {"prompt": ["a", "b"], "max_tokens": 1, "logprobs": 1, "logit_bias": {"5": 1}, "n": 2}),
    ("/v1/completions", {"prompt": [[1, 2], [3]], "max_tokens": 1, "stream": True, "stream_options": {}}),
    ("/v1/messages", {"messages": [USER], "max_tokens": 2, "system": "s", "stop_sequences": ["x"], "metadata": {}}),
    ("/v1/messages", {"messages": [{"role": "user", "content": [{"type": "text", "text": "t"}]}], "max_tokens": 1}),
    ("/v1/messages/count_tokens", {"messages": [USER], "tools": [{"name": "f", "input_schema": {}}]}),
    ("/v1/completions", {"prompt": ["ab", "c"], "max_tokens": 0, "echo": True, "logprobs": 2}),
    ("/v1/embeddings", {"input": ["a", "b"], "dimensions": 2, "encoding_format": "base64"}),
    ("/v1/embeddings", {"input": [[1, 2], [3]], "pooling": "mean", "user": "u"}),
    ("/score", {"query": "a", "items": ["b", "c"], "label_token_ids": [1, 2], "apply_softmax": True}),
    ("/v1/score", {"query": [1], "items": [[2], [3]], "label_token_ids": [1], "item_first": True}),
    ("/generate", {"input_ids": [1, 2, 3], "return_logprob": True, "logprob_start_len": 0, "token_ids_logprob": [1]}),
    ("/generate", {"text": "a", "sampling_params": {"max_new_tokens": 1, "stop": "b"}, "return_logprob": True}),
    ("/generate", {"input_ids": [[1], [2]], "sampling_params": {"max_new_tokens": 1, "n": 2}}),
    ("/abort_request", {"rid": "nobody"}),
]  # fmt: skip


class Raw(str):
    """Text that stands in the body as it is."""


def _deep(rng: random.Random) -> Raw:
    depth = rng.choice([30, 65, 500, 5000, 60000])
    opens, closes = rng.choice([("[", "]"), ('{"a":', "}")])
    return Raw(opens * depth + "1" + closes * depth)


def _strange(rng: random.Random) -> Any:
    simple: list[Any] = [
        None, True, -1, 0.0, 2**31, 2**63, 2**64, -(2**63) - 1, 1e308, -0.0, "", "\x00", "\ud800", "a\udfffb", "\ufeff",
        "{{ 1 }}", "{% for %}", "{{ messages.__class__ }}", "<think>", "</tool_call>", "A" * 3000, "é" * 999, [], {},
        [[]], [None], {"type": "function"}, {"type": "text"}, {"$ref": "#"}, [1, "a"], [1e400], {"": ""}, 10**18,
    ]  # fmt: skip
    raw = ["1" + "0" * rng.choice([20, 400, 5000]), "1e999", "-1e999", "NaN", "Infinity", "1e-999", "0.1e1", "-0", "01"]
    return rng.choice([*simple, *map(Raw, raw), _deep(rng)])


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in items:
        yield from _places(child, (*path, key))


def _put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = _put(copy[path[0]], path[1:], new)
    return copy


def _written(value: Any) -> bytes:
    if isinstance(value, Raw):
        return value.encode()
    if isinstance(value, dict):
        pairs = (json.dumps(key).encode() + b":" + _written(child) for key, child in value.items())
        return b"{" + b",".join(pairs) + b"}"
    if isinstance(value, list):
        return b"[" + b",".join(map(_written, value)) + b"]"
    return json.dumps(value).encode()


def _bytes(rng: random.Random, body: bytes) -> bytes:
    at = rng.randrange(len(body) + 1)
    wrong = rng.choice(
        [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\x00", b'"', b"}", b"\\u12", b"\\ud800", b"\xef\xbb\xbf", b","]
    )
    return rng.choice([body[:at], body[:at] + wrong + body[at:], body[at:], wrong * 50, body + body, b"", b" " + body])


def bodies(seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """(path, body), the same for the same seed."""
    rng = random.Random(seed)
    for _ in range(count):
        path, sound = rng.choice(SOUND)
        body: Any = {"model": "parrot", **sound} if path != "/abort_request" else sound
        for _ in range(rng.choice([0, 1, 1, 1, 2, 3])):
            places = list(_places(body))
            new = rng.choice([_strange(rng), "words", 1])
            body = _put(body, rng.choice(places[1:] or places), new) if isinstance(body, dict) else body
        if rng.random() < 0.1 and isinstance(body, dict):
            body = {**body, rng.choice(["regex", "ebnf", "json_schema", "thinking", "x", "\ud800"]): _strange(rng)}
        written = _written(body)
        yield path, _bytes(rng, written) if rng.random() < 0.25 else written
