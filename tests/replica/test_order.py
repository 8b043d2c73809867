from typing import Any

import pytest

from colonnade.replica.completions import MAX_PROMPTS, read_prompts
from colonnade.replica.identity import identify
from colonnade.replica.order import Bounds, Order, Telling, answer_length, sampling
from colonnade.replica.requests import CompletionRequest
from colonnade.wire.errors import ContextTooLong, InvalidRequest
from colonnade.wire.messages import Sampling
from colonnade.wire.stream import EventId

BOUNDS = Bounds(100, 50, (2,), {"temperature": 0.5, "top_k": 40})
DRAWN = bytes(range(24))


def test_what_is_left_out_is_the_models_own():
    made = sampling(CompletionRequest(model="m", prompt=""), 7, BOUNDS, 16, Telling())
    assert made == Sampling(seed=7, max_tokens=16, temperature=0.5, top_k=40, stop_token_ids=(2,))


def test_what_is_asked_for_goes_first():
    request = CompletionRequest(
        model="m",
        prompt="",
        seed=-1,
        temperature=0,
        top_p=0.9,
        top_k=-1,
        min_p=0.1,
        repetition_penalty=1.1,
        presence_penalty=0.2,
        frequency_penalty=-0.3,
        stop_token_ids=[4, 4],
        ignore_eos=True,
        logit_bias={3: -100},
    )
    assert sampling(request, 7, BOUNDS, 5, Telling(2)) == Sampling(
        seed=2**63 - 1,
        max_tokens=5,
        temperature=0.0,
        top_p=0.9,
        top_k=0,
        min_p=0.1,
        repetition_penalty=1.1,
        presence_penalty=0.2,
        frequency_penalty=-0.3,
        stop_token_ids=(4,),
        ignore_eos=True,
        logit_bias={3: -100.0},
        logprobs=2,
    )


@pytest.mark.parametrize(
    ("fields", "param"), [({"logit_bias": {50: 1.0}}, "logit_bias"), ({"stop_token_ids": [99]}, "stop_token_ids")]
)
def test_tokens_must_be_in_the_vocabulary(fields: dict[str, Any], param: str):
    with pytest.raises(InvalidRequest) as caught:
        sampling(CompletionRequest(model="m", prompt="", **fields), 7, BOUNDS, 5, Telling())
    assert caught.value.param == param


def test_the_length_of_an_answer():
    assert answer_length(60, None, None, BOUNDS, "messages") == 40
    assert answer_length(60, None, 16, BOUNDS, "prompt") == 16
    assert answer_length(90, None, 16, BOUNDS, "prompt") == 10
    assert answer_length(60, 40, None, BOUNDS, "prompt") == 40


def test_what_does_not_fit_is_told_with_the_numbers():
    with pytest.raises(ContextTooLong, match=r"100 tokens.* 100") as caught:
        answer_length(100, None, None, BOUNDS, "messages")
    assert caught.value.param == "messages"
    with pytest.raises(ContextTooLong, match=r"60 tokens.* 41, together 101; .* 100") as caught:
        answer_length(60, 41, None, BOUNDS, "messages")
    assert caught.value.param == "max_tokens"


def test_choices_are_counted_over_prompts():
    one = Sampling()
    order = Order(((1, 2), (3,)), (one, one), 3, (), False, False)
    assert (order.choices, order.prompt_tokens) == (6, 3)


def test_prompts_come_in_four_forms():
    assert read_prompts("a", BOUNDS) == ["a"]
    assert read_prompts([1, 2], BOUNDS) == [[1, 2]]
    assert read_prompts(["a", "b"], BOUNDS) == ["a", "b"]
    assert read_prompts([[1], [2, 3]], BOUNDS) == [[1], [2, 3]]


@pytest.mark.parametrize(
    ("prompt", "param"),
    [
        (None, "prompt"),
        ([], "prompt"),
        ([1, True], "prompt"),
        ([[1], "a", []], "prompt[2]"),
        ([50], "prompt"),
        ([[1], [-1]], "prompt[1]"),
        (["a"] * (MAX_PROMPTS + 1), "prompt"),
    ],
)
def test_other_prompts_are_refused(prompt: object, param: str):
    with pytest.raises(InvalidRequest) as caught:
        read_prompts(prompt, BOUNDS)
    assert caught.value.param == param


def test_identity_is_drawn_where_nobody_fixed_it():
    made = identify({}, DRAWN, 1700000000.9, 600)
    assert made.request_id == DRAWN[:16].hex()
    assert made.created == 1700000000
    assert made.seed == int.from_bytes(DRAWN[16:])
    assert (made.tenant, made.resume, made.last_event, made.goes_on) == ("", 0.0, None, False)


def test_identity_is_the_gateways_where_it_fixed_it():
    headers = {
        "colonnade-request-id": "r-1",
        "colonnade-created": "5",
        "colonnade-seed": str(2**63 - 1),
        "colonnade-tenant": "acme",
        "colonnade-priority": "7",
        "colonnade-resume": "600",
        "last-event-id": "e1/3",
    }
    made = identify(headers, DRAWN, 0.0, 60)
    assert (made.request_id, made.created, made.seed, made.tenant) == ("r-1", 5, 2**63 - 1, "acme")
    assert (made.resume, made.priority) == (60, 7)
    assert made.last_event == EventId("e1", (3,), (False,))


def test_a_strange_last_event_id_still_asks_to_go_on():
    made = identify({"last-event-id": "what?"}, DRAWN, 0.0, 60)
    assert (made.last_event, made.goes_on) == (None, True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Colonnade-Request-Id", "a b"),
        ("Colonnade-Created", "now"),
        ("Colonnade-Seed", str(2**63)),
        ("Colonnade-Resume", "601"),
        ("Colonnade-Priority", "101"),
        ("Colonnade-Tenant", "a\x00"),
    ],
)
def test_a_bad_header_is_named(name: str, value: str):
    with pytest.raises(InvalidRequest) as caught:
        identify({name.lower(): value}, DRAWN, 0.0, 60)
    assert caught.value.param == name
