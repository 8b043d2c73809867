"""Other weights in place, sleep and waking, in a real replica of a real model."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
from replica_process import TINY, Client, Replica, Start
from safetensors.numpy import save_file

UPDATE = "/update_weights_from_disk"
COMPLETION = "/v1/completions"
SIZES = {"hidden_size": 512, "intermediate_size": 1024, "num_hidden_layers": 4, "num_attention_heads": 8}
CONTEXT = 2048


def weights(config: dict[str, Any], seed: int) -> dict[str, np.ndarray]:
    """Of a Llama with as many key-value heads as heads, some 8 million numbers."""
    draw = np.random.default_rng(seed)
    width, inner, vocabulary = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    shapes = {"model.embed_tokens.weight": (vocabulary, width), "lm_head.weight": (vocabulary, width)}
    for layer in range(config["num_hidden_layers"]):
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            shapes[f"model.layers.{layer}.self_attn.{name}.weight"] = (width, width)
        for name, shape in (("gate_proj", (inner, width)), ("up_proj", (inner, width)), ("down_proj", (width, inner))):
            shapes[f"model.layers.{layer}.mlp.{name}.weight"] = shape
    made = {name: draw.standard_normal(shape, np.float32) * 0.05 for name, shape in shapes.items()}
    names = [f"model.layers.{layer}.{which}" for layer in range(4) for which in ("input", "post_attention")]
    ones = {f"{name}_layernorm.weight": np.ones(width, np.float32) for name in names}
    return made | ones | {"model.norm.weight": np.ones(width, np.float32)}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two sets of weights of one model, with the shipped model's tokenizer."""
    made = tmp_path_factory.mktemp("weights")
    config = json.loads((TINY / "config.json").read_text()) | SIZES
    config |= {"num_key_value_heads": 8, "head_dim": 64, "tie_word_embeddings": False}
    config |= {"max_position_embeddings": CONTEXT}
    for seed, name in enumerate(("old", "new")):
        shutil.copytree(TINY, made / name, ignore=shutil.ignore_patterns("*.safetensors"))
        (made / name / "config.json").write_text(json.dumps(config))
        save_file(weights(config, seed), made / name / "model.safetensors")
    return made / "old", made / "new"


@pytest.fixture(scope="module")
def replica(start_replica: Start, folders: tuple[Path, Path]) -> Replica:
    return start_replica(folders[0], "--served-name", "m", "--kv-tokens", "16384", "--threads", "1")


@pytest.fixture
async def client(replica: Replica, folders: tuple[Path, Path]) -> AsyncIterator[Client]:
    """Of a replica that is awake with the old weights."""
    async with aiohttp.ClientSession() as session:
        made = Client(session, replica.url)
        await made.ready()
        before = await fingerprint(made)
        yield made
        await made.post("/wake_up", b"")
        if await fingerprint(made) != before:
            assert (await made.post(UPDATE, {"model_path": str(folders[0])}))[0] == 200


async def fingerprint(client: Client) -> str:
    return (await client.get("/v1/models"))[1]["data"][0]["fingerprint"]


async def ask(client: Client, **fields: Any) -> tuple[Any, Any]:
    body = {"model": "m", "prompt": "Once upon a time", "max_tokens": 8, "temperature": 0, "ignore_eos": True}
    async with client.open(COMPLETION, body | fields) as answer:
        return answer.headers, await answer.json()


def memory(replica: Replica) -> int:
    """Resident bytes of the engine's process."""
    lines = Path(f"/proc/{replica.engine()}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmRSS"))


async def test_an_update_changes_answers_fingerprint_version_and_cache(client: Client, folders: tuple[Path, Path]):
    await ask(client)
    before, old = await ask(client)
    assert old["usage"]["prompt_tokens_details"]["cached_tokens"] > 0
    status, said = await client.post(UPDATE, {"model_path": str(folders[1]), "weight_version": "step-200"})
    assert (status, said["success"]) == (200, True)
    after, new = await ask(client)
    assert new["choices"][0]["text"] != old["choices"][0]["text"]
    assert new["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
    assert after["Colonnade-Weight-Version"] == "step-200"
    assert before["Colonnade-Weight-Version"] == before["Colonnade-Fingerprint"][:12]
    assert after["Colonnade-Fingerprint"] == new["system_fingerprint"] == said["fingerprint"]
    assert before["Colonnade-Fingerprint"] == old["system_fingerprint"] != new["system_fingerprint"]
    card = (await client.get("/v1/models"))[1]["data"][0]
    assert (card["weight_version"], card["fingerprint"]) == ("step-200", said["fingerprint"])
    await client.post(UPDATE, {"model_path": str(folders[0])})
    again, same = await ask(client)
    assert same["choices"] == old["choices"]
    assert again["Colonnade-Weight-Version"] == before["Colonnade-Weight-Version"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", "invalid_value"),
        ({"model_path": "/nowhere"}, "weights_refused"),
        ({"model_path": str(TINY)}, "weights_refused"),
        ({"model_path": str(TINY), "flush_cache": False}, "invalid_value"),
        ({"model_path": str(TINY), "weight_version": "a\n"}, "invalid_value"),
        ({"model_path": str(TINY), "load_format": "flash"}, "invalid_value"),
    ],
)
async def test_what_cannot_be_taken_is_a_400_and_changes_nothing(client: Client, body: Any, code: str):
    before = (await ask(client))[1]
    status, said = await client.post(UPDATE, body)
    assert (status, said["error"]["code"]) == (400, code)
    after = (await ask(client))[1]
    assert (after["choices"], after["system_fingerprint"]) == (before["choices"], before["system_fingerprint"])


async def test_an_answer_under_way_ends_on_its_weights_and_others_wait(client: Client, folders: tuple[Path, Path]):
    stream = {"model": "m", "prompt": "x", "max_tokens": 400, "ignore_eos": True, "stream": True}
    async with client.open(COMPLETION, stream) as answer:
        await answer.content.readline()
        update = asyncio.create_task(client.post(UPDATE, {"model_path": str(folders[1])}))
        while (await client.get("/ready"))[1]["phase"] != "updating":
            await asyncio.sleep(0)
        status, refused = await client.post(COMPLETION, stream)
        assert (status, refused["error"]["code"], refused["error"]["retryable"]) == (503, "not_ready", True)
        assert (await client.post(UPDATE, {"model_path": str(folders[1])}))[0] == 409
        text = (await answer.read()).decode()
    status, said = await update
    assert status == 200
    assert text.endswith("data: [DONE]\n\n")
    prints = {json.loads(line[6:])["system_fingerprint"] for line in text.splitlines() if line.startswith("data: {")}
    assert prints == {answer.headers["Colonnade-Fingerprint"]}
    assert prints != {said["fingerprint"]}


@pytest.mark.parametrize("how", [{"abort_all_requests": True}, {"timeout": 0}])
async def test_an_answer_that_may_not_end_is_cut_off(client: Client, folders: tuple[Path, Path], how: dict[str, Any]):
    stream = {"model": "m", "prompt": "x", "max_tokens": 2000, "ignore_eos": True, "stream": True}
    async with client.open(COMPLETION, stream) as answer:
        await answer.content.readline()
        assert (await client.post(UPDATE, {"model_path": str(folders[1]), **how}))[0] == 200
        last = (await answer.read()).decode().splitlines()[-2]
    error = json.loads(last.removeprefix("data: "))["error"]
    assert (error["code"], error["retryable"]) == ("draining", True)


async def test_sleep_gives_memory_back_and_waking_restores_every_answer(client: Client, replica: Replica):
    status, filled = await client.post(COMPLETION, {"model": "m", "prompt": [5] * 1500, "max_tokens": 1})
    assert status == 200, filled
    before, awake = await ask(client), memory(replica)
    cache = 1500 * 4 * 8 * 64 * 2 * 4
    weight = 4 * 4 * (4 * 512**2 + 3 * 512 * 1024) // 2
    left: list[int] = []
    for level in (1, 2):
        assert (await client.post(f"/sleep?level={level}", b""))[0] == 200
        assert (await client.get("/is_sleeping"))[1] == {"is_sleeping": True}
        left.append(memory(replica))
    assert awake - left[0] > cache // 2
    assert left[0] - left[1] > weight
    status, page = await client.get("/ready")
    assert (status, page["phase"]) == (503, "asleep")
    assert (await client.get("/health"))[0] == 200
    async with client.open(COMPLETION, {"model": "m", "prompt": "x"}) as answer:
        error = (await answer.json())["error"]
        assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
    assert (error["code"], error["retryable"]) == ("asleep", True)
    assert (await client.post(UPDATE, {"model_path": str(TINY)}))[0] == 409
    assert (await client.post("/wake_up", b""))[0] == 200
    assert (await client.get("/is_sleeping"))[1] == {"is_sleeping": False}
    after = await ask(client)
    assert after[1]["choices"] == before[1]["choices"]
    assert after[0]["Colonnade-Fingerprint"] == before[0]["Colonnade-Fingerprint"]


@pytest.mark.parametrize("query", ["level=3", "level=1&tags=weights", "timeout=soon"])
async def test_sleep_refuses_what_it_does_not_know(client: Client, query: str):
    assert (await client.post(f"/sleep?{query}", b""))[0] == 400
    assert (await client.get("/is_sleeping"))[1] == {"is_sleeping": False}
