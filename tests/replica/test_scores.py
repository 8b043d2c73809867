"""Log-probabilities of prompts over HTTP, as lm-eval and SGLang ask for them, and /score; against transformers."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
import torch
from replica_process import TINY, Client, Replica, Start
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

MOE = TINY.parent / "colonnade-tiny-moe"
TEXT = "<|im_start|>user\nBook Ada on Monday, 10:30, please — Łukasz too 🎉<|im_end|>\n<|im_start|>assistant\n"


FLAGS = ("--served-name=tiny", "--prefill-chunk=13", "--threads=1")


@pytest.fixture(scope="module")
def replica(start_replica: Start) -> Replica:
    return start_replica(TINY, *FLAGS)


@cache
def model(name: str) -> Any:
    return AutoModelForCausalLM.from_pretrained(TINY.parent / name, dtype=torch.float32).eval()


async def reference(client: Client, tokens: list[int]) -> np.ndarray:
    """[T, V], by transformers, of the model that is served."""
    status, card = await client.get("/get_model_info")
    assert status == 200
    with torch.inference_mode():
        logits = model(card["model_path"].rpartition("/")[2])(torch.tensor([tokens])).logits[0]
    return torch.log_softmax(logits.double(), -1).numpy()


async def tokenizer(client: Client) -> Tokenizer:
    return Tokenizer.from_file((await client.get("/get_model_info"))[1]["tokenizer_path"] + "/tokenizer.json")


def lm_eval(prompts: list[list[int]]) -> dict[str, Any]:
    """What `lm_eval --model local-completions` sends for log-likelihoods."""
    asked = {"model": "tiny", "prompt": prompts, "temperature": 0, "max_tokens": 1}
    return asked | {"logprobs": 1, "seed": 1234, "echo": True}


def lm_eval_reads(said: dict[str, Any], contexts: list[int]) -> list[tuple[float, bool]]:
    """What it makes of the answer: the sum behind the context, without the token drawn, and whether it is greedy."""
    read: list[tuple[float, bool]] = []
    for choice, context in zip(sorted(said["choices"], key=lambda each: each["index"]), contexts, strict=True):
        told = choice["logprobs"]["token_logprobs"][context:-1]
        tops = choice["logprobs"]["top_logprobs"][context:-1]
        read.append((sum(told), all(each == max(top.values()) for each, top in zip(told, tops, strict=True))))
    return read


@pytest.mark.parametrize("folder", [TINY, MOE], ids=lambda folder: folder.name)
async def test_log_likelihoods_as_lm_eval_asks_for_them(start_replica: Start, client: Client, folder: Path):
    if folder == MOE:
        client = Client(client.session, start_replica(MOE, *FLAGS).url)
        await client.ready()
    words = await tokenizer(client)
    context = words.encode(TEXT).ids
    _, greedy = await client.post("/generate", {"input_ids": context, "sampling_params": {"temperature": 0}})
    prompts = [context + greedy["output_ids"][:12], context + words.encode("yes, 🎉 é").ids, context[:40], context]
    contexts = [len(context), len(context), 7, 1]
    status, said = await client.post("/v1/completions", lm_eval(prompts))
    assert status == 200
    found = lm_eval_reads(said, contexts)
    for prompt, start, (total, is_greedy) in zip(prompts, contexts, found, strict=True):
        theirs = await reference(client, prompt)
        steps = np.arange(start - 1, len(prompt) - 1)
        assert total == pytest.approx(theirs[steps, prompt[start:]].sum(), abs=1e-3)
        assert is_greedy == (theirs[steps].argmax(-1) == prompt[start:]).all()
    assert [is_greedy for _, is_greedy in found] == [True, False, False, False]
    assert said["usage"]["completion_tokens"] == 4


async def test_the_end_of_a_turn_counts_as_the_token_that_was_drawn(client: Client):
    """Else the last token of the prompt would be taken for it, and left out of the sum."""
    words = await tokenizer(client)
    context = words.encode(TEXT).ids
    _, said = await client.post("/generate", {"input_ids": context, "sampling_params": {"temperature": 0}})
    end = words.token_to_id("<|im_end|>")
    assert said["output_ids"][-1] == end
    prompt = context + said["output_ids"][:-1]
    _, told = await client.post("/v1/completions", lm_eval([prompt]))
    (choice,) = told["choices"]
    assert len(choice["logprobs"]["token_logprobs"]) == len(prompt) + 1
    assert choice["finish_reason"] == "stop"


async def test_a_text_is_repeated_with_its_tokens_and_nothing_is_drawn(client: Client):
    words = await tokenizer(client)
    encoding = words.encode(TEXT)
    body = {"model": "tiny", "prompt": TEXT, "max_tokens": 0, "echo": True, "logprobs": 3}
    _, said = await client.post("/v1/completions", body)
    (choice,) = said["choices"]
    assert (choice["text"], choice["finish_reason"]) == (TEXT, "length")
    told = choice["logprobs"]
    theirs = await reference(client, encoding.ids)
    steps = np.arange(len(encoding.ids) - 1)
    assert told["token_logprobs"][0] is told["top_logprobs"][0] is None
    assert told["token_logprobs"][1:] == pytest.approx(theirs[steps, encoding.ids[1:]].tolist(), abs=1e-3)
    assert told["text_offset"] == [start for start, _ in encoding.offsets]
    assert {len(told[name]) for name in told} == {len(encoding.ids)}
    assert all(3 <= len(top) <= 4 or len(top) < 3 for top in told["top_logprobs"][1:])
    assert said["usage"] == {
        "prompt_tokens": len(encoding.ids),
        "completion_tokens": 0,
        "total_tokens": len(encoding.ids),
        "prompt_tokens_details": {"cached_tokens": 0},
    }


async def test_choices_and_a_stream_tell_the_same_prompt(client: Client):
    prompt = (await tokenizer(client)).encode(TEXT).ids
    body = {"model": "tiny", "prompt": [prompt, prompt[:9]], "max_tokens": 3, "echo": True, "logprobs": 1, "n": 2}
    body |= {"seed": 5, "ignore_eos": True}
    _, whole = await client.post("/v1/completions", body)
    heads = [choice["logprobs"]["token_logprobs"][: len(prompt)] for choice in whole["choices"]]
    assert heads[0] == heads[1]
    assert whole["choices"][0]["text"].startswith("user\nBook Ada on Monday, 10:30, please — Łu")
    parts: dict[int, list[dict[str, Any]]] = {}
    for event in await client.stream("/v1/completions", body):
        if event.data != "[DONE]":
            (choice,) = json.loads(event.data)["choices"]
            parts.setdefault(choice["index"], []).append(choice)
    for choice in whole["choices"]:
        streamed = parts[choice["index"]]
        assert "".join(part["text"] for part in streamed) == choice["text"]
        for name in ("tokens", "token_logprobs", "top_logprobs", "text_offset"):
            assert [each for part in streamed for each in part["logprobs"][name]] == choice["logprobs"][name]


async def test_the_official_client_reads_an_echo(client: Client):
    async with openai.AsyncOpenAI(base_url=client.url + "/v1", api_key="none") as official:
        said = await official.completions.create(model="tiny", prompt="One, two", echo=True, logprobs=0, max_tokens=0)
    assert said.choices[0].text == "One, two"
    assert said.choices[0].logprobs is not None
    assert said.choices[0].logprobs.top_logprobs is None


async def test_sglangs_lists(client: Client):
    prompt = (await tokenizer(client)).encode(TEXT).ids
    params = {"max_new_tokens": 2, "temperature": 0, "ignore_eos": True}
    body: dict[str, Any] = {"input_ids": prompt, "sampling_params": params, "return_logprob": True}
    body |= {"logprob_start_len": 5, "top_logprobs_num": 2, "token_ids_logprob": [7, 300]}
    await client.post("/generate", body)  # so that there is a prefix to find
    _, said = await client.post("/generate", body)
    meta = said["meta_info"]
    assert meta["cached_tokens"] == 5
    theirs = await reference(client, [*prompt, *said["output_ids"]])
    steps, behind = np.arange(5, len(prompt) - 1), len(prompt) - 1
    first, *told = meta["input_token_logprobs"]
    assert first == [None, prompt[5], None]
    assert [token for _, token, _ in told] == prompt[6:]
    assert [logprob for logprob, *_ in told] == pytest.approx(theirs[steps, prompt[6:]].tolist(), abs=1e-3)
    assert meta["input_top_logprobs"][0] is meta["input_token_ids_logprobs"][0] is None
    for row, top, named in zip(
        theirs[5:],
        [*meta["input_top_logprobs"][1:], *meta["output_top_logprobs"]],
        [*meta["input_token_ids_logprobs"][1:], *meta["output_token_ids_logprobs"]],
        strict=False,
    ):
        assert [logprob for logprob, *_ in top] == pytest.approx(np.sort(row)[:-3:-1].tolist(), abs=1e-3)
        assert [token for _, token, _ in named] == [7, 300]
        assert [logprob for logprob, *_ in named] == pytest.approx(row[[7, 300]].tolist(), abs=1e-3)
    out = [logprob for logprob, *_ in meta["output_token_logprobs"]]
    assert out == pytest.approx(theirs[[behind, behind + 1], said["output_ids"]].tolist(), abs=1e-3)


async def test_a_prompt_alone_in_sglangs_form(client: Client):
    body = {"input_ids": [5, 6, 7], "sampling_params": {"max_new_tokens": 0}, "return_logprob": True}
    _, said = await client.post("/generate", body | {"logprob_start_len": 0, "return_text_in_logprobs": True})
    meta = said["meta_info"]
    assert (said["output_ids"], meta["completion_tokens"]) == ([], 0)
    assert [token for _, token, _ in meta["input_token_logprobs"]] == [5, 6, 7]
    assert all(isinstance(text, str) for *_, text in meta["input_token_logprobs"])
    _, said = await client.post("/generate", body | {"logprob_start_len": -1})
    assert "input_token_logprobs" not in said["meta_info"]


@pytest.mark.parametrize("softmax", [False, True])
async def test_scores_of_answers_with_one_prefix_computation(client: Client, softmax: bool):
    words = await tokenizer(client)
    query, items = f"{softmax} " + TEXT * 3, ["yes", "no, thank you", " maybe", "yes"]
    labels = [words.encode(word).ids[0] for word in ("a", "I", "1")]
    computed = (await client.load())["steps"]
    body = {"query": query, "items": items, "label_token_ids": labels, "apply_softmax": softmax, "model": "tiny"}
    status, said = await client.post("/v1/score" if softmax else "/score", body)
    assert status == 200, said
    assert (said["object"], said["model"]) == ("scoring", "tiny")
    for item, scores in zip(items, said["scores"], strict=True):
        tokens = words.encode(query + item).ids
        expected = np.exp((await reference(client, tokens))[-1][labels])
        assert scores == pytest.approx(expected / expected.sum() if softmax else expected, rel=2e-3, abs=1e-6)
    usage = said["usage"]
    shared = len(words.encode(query).ids) - 1
    assert usage["prompt_tokens_details"]["cached_tokens"] >= 3 * shared
    assert usage["completion_tokens"] == 0
    assert (await client.load())["steps"] - computed < 4 * (shared // 13)


async def test_scores_of_tokens_and_of_items_that_come_first(client: Client):
    ask: dict[str, Any] = {"query": [5, 6, 7], "items": [[8, 9], [10]], "label_token_ids": [1, 2]}
    _, said = await client.post("/score", ask)
    _, turned = await client.post("/score", ask | {"item_first": True})
    _, text = await client.post("/score", {"query": "a", "items": "b", "label_token_ids": [1]})
    prompts = [[5, 6, 7, 8, 9], [5, 6, 7, 10], [8, 9, 5, 6, 7], [10, 5, 6, 7]]
    for scores, prompt in zip(said["scores"] + turned["scores"], prompts, strict=True):
        expected = np.exp((await reference(client, prompt))[-1][[1, 2]])
        assert scores == pytest.approx(expected.tolist(), rel=2e-3, abs=1e-6)
    assert len(text["scores"]) == 1


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/score", {"query": "a", "items": [[1]], "label_token_ids": [1]}, "items[0]"),
        ("/score", {"query": [1], "items": ["a"], "label_token_ids": [1]}, "items[0]"),
        ("/score", {"query": [1], "items": [[1], [9999999]], "label_token_ids": [1]}, "items[1]"),
        ("/score", {"query": [1], "items": [[1]], "label_token_ids": [9999999]}, "label_token_ids"),
        ("/score", {"query": [1], "items": [[1]], "label_token_ids": []}, "label_token_ids"),
        ("/score", {"query": "a", "items": [], "label_token_ids": [1]}, "items"),
        ("/score", {"query": "", "items": [""], "label_token_ids": [1]}, "prompt"),
        ("/generate", {"input_ids": [5, 6], "return_logprob": True, "logprob_start_len": 2}, "logprob_start_len"),
        ("/generate", {"input_ids": [5, 6], "token_ids_logprob": [9999999]}, "token_ids_logprob"),
        ("/v1/completions", {"model": "tiny", "prompt": [[5] * 7000] * 40, "echo": True, "logprobs": 1}, "prompt"),
        ("/v1/chat/completions", {"model": "tiny", "messages": [], "echo": True}, "echo"),
    ],
)  # fmt: skip
async def test_what_cannot_be_scored_is_refused(client: Client, path: str, body: dict[str, Any], param: str):
    status, said = await client.post(path, body)
    assert (status, said["error"]["param"]) == (400, param)
