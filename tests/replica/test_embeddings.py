"""/v1/embeddings with the official client, over the shipped model."""

import base64
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import openai
import pytest
import torch
from replica_process import TINY, Client, Replica, Start
from tokenizers import Tokenizer
from transformers import AutoModel

from colonnade.replica.embeddings import unit

TEXTS = ["Book Ada on Monday", "Łukasz 🎉", "a"]


@pytest.fixture(scope="module")
def replica(start_replica: Start) -> Replica:
    return start_replica(TINY, "--prefill-chunk=5", "--threads=1")


@pytest.fixture
async def official(client: Client) -> AsyncIterator[openai.AsyncOpenAI]:
    url = client.url + "/v1"
    async with openai.AsyncOpenAI(base_url=url, api_key="none", _strict_response_validation=True) as made:
        yield made


def expected(text: str, pooling: str, dimensions: int | None = None) -> np.ndarray:
    tokens = Tokenizer.from_file(str(TINY / "tokenizer.json")).encode(text).ids
    with torch.inference_mode():
        model = AutoModel.from_pretrained(TINY, dtype=torch.float32).eval()
        hidden = model(torch.tensor([tokens])).last_hidden_state[0].numpy()
    vector = (hidden[-1] if pooling == "last" else hidden.mean(0))[:dimensions]
    return vector / np.linalg.norm(vector)


@pytest.mark.parametrize("pooling", ["last", "mean"])
async def test_vectors_are_those_of_transformers(official: openai.AsyncOpenAI, pooling: str):
    extra = {"pooling": pooling}
    ask: dict[str, Any] = {"model": "colonnade-tiny", "encoding_format": "float", "extra_body": extra}
    said = await official.embeddings.create(**ask, input=TEXTS)
    assert [each.index for each in said.data] == [0, 1, 2]
    for each, text in zip(said.data, TEXTS, strict=True):
        assert each.embedding == pytest.approx(expected(text, pooling).tolist(), abs=1e-4)
        assert np.linalg.norm(each.embedding) == pytest.approx(1, abs=1e-6)
    words = Tokenizer.from_file(str(TINY / "tokenizer.json"))
    tokens = [words.encode(text).ids for text in TEXTS]
    assert said.usage.prompt_tokens == said.usage.total_tokens == sum(map(len, tokens))
    again = await official.embeddings.create(**ask, input=tokens)
    assert [each.embedding for each in again.data] == [each.embedding for each in said.data]


async def test_forms_and_dimensions(client: Client, official: openai.AsyncOpenAI):
    ask: dict[str, Any] = {"model": "colonnade-tiny", "input": "Book Ada on Monday", "dimensions": 16}
    floats = await official.embeddings.create(**ask, encoding_format="float")
    assert floats.data[0].embedding == pytest.approx(expected(ask["input"], "last", 16).tolist(), abs=1e-4)
    _, packed = await client.post("/v1/embeddings", ask | {"encoding_format": "base64"})
    numbers = np.frombuffer(base64.b64decode(packed["data"][0]["embedding"]), "<f4")
    assert numbers.tolist() == floats.data[0].embedding
    # Asked for nothing, the client asks for base64 and decodes it, but for its strict validation, which wants a list.
    async with openai.AsyncOpenAI(base_url=client.url + "/v1", api_key="none") as loose:
        unpacked = await loose.embeddings.create(**ask)
    assert unpacked.data[0].embedding == floats.data[0].embedding
    _, one = await client.post("/v1/embeddings", ask | {"input": [5, 6, 7], "user": "u", "priority": 3})
    assert (len(one["data"]), one["usage"]) == (1, {"prompt_tokens": 3, "total_tokens": 3})
    _, many = await client.post("/v1/embeddings", ask | {"input": [[5, 6, 7]] * 256})
    assert [each["embedding"] for each in many["data"]] == [one["data"][0]["embedding"]] * 256


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"dimensions": 100_000}, "dimensions"),
        ({"dimensions": 0}, "dimensions"),
        ({"encoding_format": "int8"}, "encoding_format"),
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": ["a"] * 257}, "input"),
        ({"input": [[1], [99_999]]}, "input[1]"),
        ({"input": [[1] * 100_000]}, "input"),
        ({"model": "other"}, "model"),
        ({"pooling": "max"}, "pooling"),
    ],
)
async def test_what_is_refused(client: Client, more: dict[str, Any], param: str):
    status, said = await client.post("/v1/embeddings", {"model": "colonnade-tiny", "input": "a"} | more)
    assert (status, said["error"]["param"]) == (400, param)


def test_zeros_stay_zeros():
    assert unit(np.zeros(4, "<f4").tobytes()).tolist() == [0.0] * 4
    assert unit(np.array([3, 4, 12], "<f4").tobytes(), 2).tolist() == pytest.approx([0.6, 0.8])
