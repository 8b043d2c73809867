"""Chat templates in their process: what hangs, eats memory or raises is refused, and the next chat is rendered."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from colonnade.replica.templates import Templates
from colonnade.wire.errors import Internal, InvalidRequest

TEMPLATE = """{%- set said = messages[0].content -%}
{%- if said == 'hang' -%}
  {%- for a in range(99999) -%}{%- for b in range(99999) -%}{%- endfor -%}{%- endfor -%}
{%- elif said == 'eat' -%}{{- 'a' * 10000000000 -}}
{%- elif said == 'reach' -%}{{- messages.__class__.__mro__ -}}
{%- elif said == 'raise' -%}{{- raise_exception('not that') -}}
{%- endif -%}
[{{ said }}]{{ tools | tojson if tools }}{{ enable_thinking }}"""


@pytest.fixture
def argv(parrot_folder: Callable[..., Path]) -> list[str]:
    folder = parrot_folder(**{"chat_template.jinja": TEMPLATE})
    return [sys.executable, "-m", "colonnade.replica.template_process", f"--model={folder}", f"--memory={1 << 30}"]


def said(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


async def test_what_takes_too_much_is_refused_and_the_next_is_rendered(argv: list[str]):
    templates = Templates(argv, 3.0)
    try:
        await templates.start()
        assert (await templates.render(said("Grüße"), [{"a": 1}], 0, True)).text == '[Grüße][{"a": 1}]True'
        for text, why in (
            ("hang", "longer than 3 s"),
            ("eat", "more memory"),
            ("raise", "not that"),
            ("reach", "unsafe"),
        ):
            with pytest.raises(InvalidRequest, match=why) as refused:
                await templates.render(said(text), None, 0)
            assert (refused.value.param, refused.value.reason) == ("messages", "template_error")
            assert (await templates.render(said("on"), None, 0)).text == "[on]"
        assert (await templates.render(said("on"), [{"a": 2**70}], 0)).text == f'[on][{{"a": {2**70}}}]'
        for odd in ([{"a": 10**5000}], [{"a": "\ud800"}]):
            with pytest.raises(InvalidRequest):
                await templates.render(said("on"), odd, 0)
    finally:
        await templates.stop()


async def test_a_chat_that_is_given_up_does_not_answer_the_next(argv: list[str]):
    templates = Templates(argv, 30.0)
    try:
        await templates.start()
        asked = asyncio.create_task(templates.render(said("hang"), None, 0))
        await asyncio.sleep(0)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        assert (await templates.render(said("on"), None, 0)).text == "[on]"
    finally:
        await templates.stop()


TOLD = """{{ bos_token }}{% for m in messages %}<{{ m.content }}>{% endfor %}{% if add_generation_prompt %}!{% else -%}
{%- if messages | length == 1 -%}{{ raise_exception('one') }}{%- endif -%}
{%- if messages[-1].content == 'hang' -%}
  {%- for a in range(99999) -%}{%- for b in range(99999) -%}{%- endfor -%}{%- endfor -%}
{%- elif messages[-1].content == 'eat' -%}{{- 'a' * 10000000000 -}}{%- endif -%}{% endif %}"""


async def test_prefixes_that_cannot_be_rendered_leave_the_prompt_alone(parrot_folder: Callable[..., Path]):
    folder = parrot_folder(**{"chat_template.jinja": TOLD})
    module = [sys.executable, "-m", "colonnade.replica.template_process"]
    templates = Templates([*module, f"--model={folder}", f"--memory={1 << 30}"], 3.0)
    try:
        await templates.start()
        start = (await templates.render([], None, 0)).text[:-1]
        for last, ends in (("c", {2: 6, 3: 9}), ("hang", {}), ("eat", {})):
            messages = [*said("a"), *said("b"), *said(last)]
            rendered = await templates.render(messages, None, 0, None, [1, 2, 3])
            assert rendered.text == f"{start}<a><b><{last}>!"
            assert rendered.ends == {count: len(start) + end for count, end in ends.items()}
            assert (await templates.render(said("on"), None, 0)).text == f"{start}<on>!"
    finally:
        await templates.stop()


async def test_a_process_that_does_not_start_is_our_fault():
    templates = Templates([sys.executable, "-c", "pass"], 3.0)
    with pytest.raises(Internal, match="renders chat templates"):
        await templates.render(said("on"), None, 0)
    await templates.stop()
