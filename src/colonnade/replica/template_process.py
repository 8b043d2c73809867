"""`python -m colonnade.replica.template_process`: renders chats by a model's template, and may be killed for it.

A template is a program, and messages are what it runs on: together they may take forever, or all memory. Here they may
do so: the parent bounds the time and kills; this process bounds its own memory.

Frames as `replica.killable` has them. Asked are, in JSON, the arguments of `ChatTemplate.render`, and counts of
messages; answered is, in MessagePack, a `Rendered`, and then how far the prompt agrees with the rendering of so many
messages alone, by count: a frame of its own, so that what goes wrong with it does not touch the prompt.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from colonnade.engine.folder import ModelFolder
from colonnade.replica.template import ChatTemplate
from colonnade.wire.errors import InvalidRequest

TEMPLATES = "colonnade.replica.template_process"
_LENGTH = struct.Struct(">I")


class Rendered(msgspec.Struct, frozen=True):
    """`refusal` is the template's own reason, "" for none."""

    text: str = ""
    refusal: str = ""


def answers(template: ChatTemplate, asked: bytes) -> Iterator[Rendered | dict[int, int]]:
    """`asked` is JSON, which holds what MessagePack does not: numbers of any length, halves of characters."""
    try:
        arguments, counts = json.loads(asked)
    except (ValueError, RecursionError) as error:
        yield from (_odd(error), {})
        return
    rendered = _rendered(template, arguments)
    yield rendered
    yield {} if rendered.refusal else _ends(template, rendered.text, arguments, counts)


def _rendered(template: ChatTemplate, arguments: list[Any]) -> Rendered:
    try:
        text = template.render(*arguments)
        text.encode()
    except InvalidRequest as error:
        return Rendered(refusal=error.message.encode("utf-8", "replace").decode())
    except (ValueError, RecursionError) as error:
        return _odd(error)
    return Rendered(text)


def _odd(error: Exception) -> Rendered:
    return Rendered(refusal=f"messages: they cannot be rendered as text: {type(error).__name__}")


def _ends(template: ChatTemplate, text: str, arguments: list[Any], counts: list[int]) -> dict[int, int]:
    """A template may want what is not there yet: then there is none."""
    messages, *others = arguments
    found: dict[int, int] = {}
    for count in counts:
        with contextlib.suppress(InvalidRequest, ValueError, RecursionError):
            found[count] = common(text, template.render(messages[:count], *others, answer=False))
    return found


def common(left: str, right: str) -> int:
    """How many leading characters two texts share."""
    low, high = 0, min(len(left), len(right))
    while low < high:  # compares whole slices: they run in C
        middle = (low + high + 1) // 2
        low, high = (middle, high) if left[low:middle] == right[low:middle] else (low, middle - 1)
    return low


def serve(template: ChatTemplate, source: BinaryIO, sink: BinaryIO) -> None:
    """Until `source` ends."""
    _send(sink, Rendered())
    while len(head := source.read(_LENGTH.size)) == _LENGTH.size:
        for each in answers(template, source.read(_LENGTH.unpack(head)[0])):
            _send(sink, each)


def _send(sink: BinaryIO, said: Rendered | dict[int, int]) -> None:
    frame = msgspec.msgpack.encode(said)
    sink.write(_LENGTH.pack(len(frame)) + frame)
    sink.flush()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m colonnade.replica.template_process", description=__doc__)
    parser.add_argument("--model", required=True, type=Path)
    parser.add_argument("--memory", required=True, type=int, help="bytes of address space")
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (options.memory, options.memory))
    serve(_open(options.model), sys.stdin.buffer, sys.stdout.buffer)
    return 0


def go_on(template: ChatTemplate, memory: int) -> int:
    """In a process that was forked: `memory` comes on top of what it has mapped already."""
    limit = memory + _mapped()
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    serve(template, sys.stdin.buffer, sys.stdout.buffer)
    return 0


def _mapped() -> int:
    """Bytes of address space that this process has."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()


def _open(model: Path) -> ChatTemplate:
    folder = ModelFolder.open(model)
    assert folder.chat_template is not None
    return ChatTemplate(folder.chat_template, {"bos_token": folder.bos_token, "eos_token": folder.eos_token})


if __name__ == "__main__":
    sys.exit(main())
