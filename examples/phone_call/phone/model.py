"""The language model behind an endpoint of OpenAI's form: `PHONE_URL`, `PHONE_KEY`, `PHONE_MODEL`.

The messages only grow, so that the whole conversation before a turn is in the server's prefix cache.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncGenerator
from typing import Any

import aiohttp

from phone.desk import TOOLS

SYSTEM = {"role": "system", "content": "You answer the phone at a clinic."}
Message = dict[str, Any]


class Model:
    def __init__(self) -> None:
        """Raises KeyError where the endpoint is not told."""
        self._url = f"{os.environ['PHONE_URL']}/v1/chat/completions"
        self._headers = {"Authorization": f"Bearer {os.environ.get('PHONE_KEY', '')}"}
        self._name = os.environ.get("PHONE_MODEL", "colonnade-tiny")
        self._session = aiohttp.ClientSession(headers=self._headers)

    async def close(self) -> None:
        await self._session.close()

    async def answer(self, messages: list[Message], most: int = 120) -> Message:
        """The assistant's message. A caller that is cancelled ends the generation: the connection is closed."""
        async with self._session.post(self._url, json=self._body(messages, most)) as answer:
            answer.raise_for_status()
            return (await answer.json())["choices"][0]["message"]

    async def pieces(self, messages: list[Message], most: int = 80) -> AsyncGenerator[str]:
        """The text of the answer as it comes."""
        body = {**self._body(messages, most), "stream": True, "tool_choice": "none"}
        async with self._session.post(self._url, json=body) as answer:
            answer.raise_for_status()
            async for line in answer.content:
                if line.startswith(b"data: {"):
                    for choice in json.loads(line[6:])["choices"]:
                        if piece := choice["delta"].get("content"):
                            yield piece

    def _body(self, messages: list[Message], most: int) -> dict[str, Any]:
        return {
            "model": self._name,
            "messages": [SYSTEM, *messages],
            "tools": TOOLS,
            "temperature": 0,
            "max_tokens": most,
        }
