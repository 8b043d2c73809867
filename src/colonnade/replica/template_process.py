"""`python -m colonnade.replica.template_process`: renders chats by a model's template, and may be killed for it.

A template is a program, and messages are what it runs on: together they may take forever, or all memory. Here they may
do so: the parent bounds the time and kills; this process bounds its own memory.

Frames as `replica.killable` has them: the arguments of `ChatTemplate.render` in JSON, and a `Rendered` in MessagePack.
"""

from __future__ import annotations

import argparse
import json
import resource
import struct
import sys
from pathlib import Path
from typing import BinaryIO

import msgspec

from colonnade.engine.folder import ModelFolder
from colonnade.replica.template import ChatTemplate
from colonnade.wire.errors import InvalidRequest

_LENGTH = struct.Struct(">I")


class Rendered(msgspec.Struct, frozen=True):
    """`refusal` is the template's own reason, "" for none."""

    text: str = ""
    refusal: str = ""


def answer(template: ChatTemplate, asked: bytes) -> Rendered:
    """`asked` is JSON, which holds what MessagePack does not: numbers of any length, halves of characters."""
    try:
        text = template.render(*json.loads(asked))
        text.encode()
    except InvalidRequest as error:
        return Rendered(refusal=error.message.encode("utf-8", "replace").decode())
    except (ValueError, RecursionError) as error:
        return Rendered(refusal=f"messages: they cannot be rendered as text: {type(error).__name__}")
    return Rendered(text)


def serve(template: ChatTemplate, source: BinaryIO, sink: BinaryIO) -> None:
    """Until `source` ends."""
    _send(sink, Rendered())
    while len(head := source.read(_LENGTH.size)) == _LENGTH.size:
        _send(sink, answer(template, source.read(_LENGTH.unpack(head)[0])))


def _send(sink: BinaryIO, rendered: Rendered) -> None:
    frame = msgspec.msgpack.encode(rendered)
    sink.write(_LENGTH.pack(len(frame)) + frame)
    sink.flush()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m colonnade.replica.template_process", description=__doc__)
    parser.add_argument("--model", required=True, type=Path)
    parser.add_argument("--memory", required=True, type=int, help="bytes of address space")
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (options.memory, options.memory))
    folder = ModelFolder.open(options.model)
    assert folder.chat_template is not None
    template = ChatTemplate(folder.chat_template, {"bos_token": folder.bos_token, "eos_token": folder.eos_token})
    serve(template, sys.stdin.buffer, sys.stdout.buffer)
    return 0


if __name__ == "__main__":
    sys.exit(main())
