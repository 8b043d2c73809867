"""OpenAI's own client, as strict as it can be, for a replica that is ready."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import openai
from replica_process import Client


@asynccontextmanager
async def official(url: str) -> AsyncIterator[openai.AsyncOpenAI]:
    async with aiohttp.ClientSession() as session:
        await Client(session, url).ready()
    async with openai.AsyncOpenAI(
        base_url=url + "/v1", api_key="none", max_retries=0, _strict_response_validation=True
    ) as made:
        yield made
