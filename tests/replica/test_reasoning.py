"""Reasoning, apart from the answer, over the real engine process with a model that says what it is told."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from replica_process import Client, Replica, Start


@pytest.fixture(scope="module")
def replica(start_replica: Start, parrot_folder: Callable[..., Path]) -> Replica:
    """Its template opens the reasoning, and ends what the user says, which is what the parrot goes by."""
    shipped = (parrot_folder() / "chat_template.jinja").read_text()
    opened = shipped + "{#- </think> #}{{- '<think>' if enable_thinking is not false -}}"
    return start_replica(parrot_folder(**{"chat_template.jinja": opened}), "--engine-module", "parrot")


def say(text: str, **fields: Any) -> dict[str, Any]:
    return {"model": "parrot", "max_tokens": 64, "messages": [{"role": "user", "content": text}], **fields}


SAID = "Hm, let me see.\n</think>\n\nSeven."


async def test_a_chat_has_its_reasoning_apart(client: Client):
    _, answer = await client.post("/v1/chat/completions", say(SAID))
    message = answer["choices"][0]["message"]
    assert (message["reasoning_content"], message["content"]) == ("Hm, let me see.", "Seven.")
    events = await client.stream("/v1/chat/completions", say(SAID))
    deltas = [each["delta"] for event in events[:-1] for each in json.loads(event.data)["choices"]]
    assert "".join(delta.get("reasoning_content", "") for delta in deltas) == "Hm, let me see."
    assert "".join(delta.get("content", "") for delta in deltas) == "Seven."


async def test_a_message_has_it_in_a_block(client: Client):
    ask = say(SAID, thinking={"type": "enabled", "budget_tokens": 2048})
    async with client.open("/v1/messages", ask) as reply:
        answer = await reply.json()
        assert reply.headers["Colonnade-Warning"] == "thinking.budget_tokens is not held to"
    thought = {"type": "thinking", "thinking": "Hm, let me see.", "signature": ""}
    assert answer["content"] == [thought, {"type": "text", "text": "Seven."}]
    _, answer = await client.post("/v1/messages", say("Six.", thinking={"type": "disabled"}))
    assert answer["content"] == [{"type": "text", "text": "Six."}]
