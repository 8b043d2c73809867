"""What other engines are asked for, and what is refused in their name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from colonnade.replica.foreign.asking import Asked, Names, asked, needs, refuse
from colonnade.replica.foreign.kinds import FEATURES, KINDS, LLAMACPP, OPENAI, SGLANG, VLLM, Kind
from colonnade.replica.foreign.page import tables
from colonnade.wire.errors import InvalidRequest

NAMES = Names("ours", "org/theirs")
PAGE = Path(__file__).parents[2] / "docs" / "foreign-engines.md"


def sent(kind: Kind, tenant: str = "", **fields: Any) -> tuple[dict[str, Any], Asked]:
    found = asked(msgspec.json.encode({"model": "ours", **fields}), kind, NAMES, tenant)
    return msgspec.json.decode(found.body), found


def test_what_is_neither_ours_nor_refused_goes_on() -> None:
    body, found = sent(OPENAI, temperature=0.5, custom={"x": [1]}, stream_options={"include_usage": True})
    assert body == {
        "model": "org/theirs",
        "temperature": 0.5,
        "custom": {"x": [1]},
        "stream_options": {"include_usage": True},
    }
    assert (found.stream, found.choices, found.ids, found.numbered) == (False, 1, False, False)


def test_streams_are_asked_for_their_usage() -> None:
    body, found = sent(OPENAI, stream=True, stream_options={"more": 1})
    assert body["stream_options"] == {"more": 1, "include_usage": True}
    assert found.stream
    assert not found.usage
    body, found = sent(VLLM, stream=True, stream_options={"include_usage": True}, return_token_ids=False)
    assert body["stream_options"] == {"continuous_usage_stats": True, "include_usage": True}
    assert body["return_token_ids"] is True
    assert (found.usage, found.ids, found.numbered) == (True, False, True)
    assert sent(VLLM, stream=True, stream_options="odd")[1].usage is False


def test_prefixes_are_shared_within_a_tenant_alone_where_the_engine_can() -> None:
    assert sent(VLLM, tenant="acme", cache_salt="s")[0]["cache_salt"] == "acme\ns"
    assert sent(VLLM, tenant="acme")[0]["cache_salt"] == "acme\n"
    assert "cache_salt" not in sent(SGLANG, tenant="acme")[0]


@pytest.mark.parametrize(
    ("fields", "choices"),
    [
        ({"n": 3}, 3),
        ({"prompt": ["a", "b"], "n": 2}, 4),
        ({"prompt": [1, 2]}, 1),
        ({"prompt": "a"}, 1),
        ({"prompt": []}, 1),
    ],
)
def test_choices(fields: dict[str, Any], choices: int) -> None:
    assert sent(OPENAI, **fields)[1].choices == choices


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_every_kind_says_of_every_feature_what_it_is(kind: Kind) -> None:
    assert kind.abilities.keys() == FEATURES.keys()
    assert all(each.why for each in kind.abilities.values() if each.standing != "exact")
    assert kind.facts()["resume"]["standing"] == "refused"


def test_the_page_has_the_tables() -> None:
    """Mend it with what `colonnade.replica.foreign.page` writes."""
    assert tables() in PAGE.read_text()


ASKS: dict[str, dict[str, Any]] = {
    "seed": {"seed": 0},
    "n": {"n": 2},
    "logprobs": {"logprobs": True},
    "tools": {"tools": [{}]},
    "json_schema": {"response_format": {"type": "json_schema"}},
    "grammar": {"regex": "a+"},
    "token_prompts": {"prompt": [[1], [2]]},
    "cache_salt": {"cache_salt": "s"},
    "token_ids": {"return_token_ids": True},
}


@pytest.mark.parametrize("feature", ASKS)
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_request_that_needs_what_is_refused_is_refused_with_the_reason(kind: Kind, feature: str) -> None:
    ability = kind.abilities[feature]
    assert [found for found, _ in needs(ASKS[feature])] == [feature]
    if ability.standing != "refused":
        sent(kind, **ASKS[feature])
        return
    with pytest.raises(InvalidRequest) as raised:
        sent(kind, **ASKS[feature])
    assert ability.why in raised.value.message
    assert raised.value.reason == "unsupported_parameter"
    assert raised.value.param in ASKS[feature]


@pytest.mark.parametrize(
    "fields",
    [
        *({name: None} for name in ("seed", "n", "logprobs", "tools", "regex", "response_format", "prompt")),
        *({"n": 1}, {"logprobs": False}, {"tools": []}, {"response_format": {"type": "text"}}, {"prompt": ["a"]}),
        *({"response_format": "odd"}, {"prompt": []}),
    ],
)
def test_what_needs_nothing(fields: dict[str, Any]) -> None:
    assert list(needs(fields)) == []


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "not JSON"),
        (b"[]", "not a JSON object"),
        (b'{"model":"other"}', "'other' is not served"),
        (b'{"model":"ours","n":0}', "n: not 1 to 128"),
        (b'{"model":"ours","n":"2"}', "n: not 1 to 128"),
        (b'{"model":"ours","n":100,"prompt":["a","b"]}', "more than 128"),
    ],
)
def test_bodies_that_cannot_be_taken(body: bytes, said: str) -> None:
    with pytest.raises(InvalidRequest, match=said):
        asked(body, OPENAI, NAMES)


def test_a_replay_is_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"llama\.cpp.*cannot do this"):
        refuse(LLAMACPP, "resume", "Colonnade-Replay")
    refuse(VLLM, "seed", "seed")
