"""Whatever a body holds, the answer is one, or a typed refusal; the replica and what it works on beside it go on."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import aiohttp
from replica_process import Client, Start
from strange_bodies import bodies

SEED, COUNT = 5, 400


async def test_no_body_is_answered_with_500(start_replica: Start, parrot_folder: Callable[..., Path]):
    replica = start_replica(parrot_folder(), "--engine-module", "parrot", "--grammar-timeout=200ms")
    async with aiohttp.ClientSession() as session:
        client = Client(session, replica.url)
        await client.ready()
        said = "word " * 300
        ask = {"model": "parrot", "messages": [{"role": "user", "content": said}]}
        beside = asyncio.create_task(client.post("/v1/chat/completions", ask))
        statuses: Counter[int] = Counter()
        for path, body in bodies(SEED, COUNT):
            async with client.open(path, body) as answer:
                data = await answer.read()
                statuses[answer.status] += 1
                assert answer.status in (200, 400, 413), (path, body[:500], data[:500])
                if answer.status != 200:
                    error = json.loads(data)["error"]
                    assert error["code"]
                    assert error["message"]
        assert statuses[400] > COUNT / 3
        assert statuses[200] > COUNT / 20
        _, whole = await beside
        assert whole["choices"][0]["message"]["content"].startswith("word word")
        assert (await client.get("/health"))[1]["status"] == "ready"
