"""How each family of models writes its calls and its reasoning. Pure descriptions, and the readers of one call's text.

hermes    Qwen, Hermes    <tool_call>{"name": …, "arguments": {…}}</tool_call>
llama3    Llama 3         {"name": …, "parameters": {…}}, after <|python_tag|> or alone; [book(day="Monday")]
mistral   Mistral         [TOOL_CALLS][{"name": …, "arguments": {…}}], or [TOOL_CALLS]book[ARGS]{…}
deepseek  DeepSeek V3, R1 <｜tool▁call▁begin｜>function<｜tool▁sep｜>book, and the arguments fenced
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

Found = list[tuple[str, str]]
"""Names with their arguments, a JSON object as text."""
Read = Callable[[str], Found | None]
"""None for what is no call: broken JSON, no name, arguments that are not an object."""


@dataclass(frozen=True, slots=True)
class Form:
    """One way to write calls. It begins with the marker `opens`, or at the beginning of an answer with the bracket
    `begins`; it ends with the marker `closes`, or, where there is none, where the bracketed value does. Characters of
    `between` may stand before another one."""

    read: Read
    opens: str = ""
    begins: str = ""
    closes: str = ""
    between: str = ""


@dataclass(frozen=True, slots=True)
class Family:
    """`dropped`: markers around calls that say nothing more."""

    forms: tuple[Form, ...]
    dropped: tuple[str, ...] = ()
    reasoning: tuple[str, str] = ("<think>", "</think>")

    @property
    def markers(self) -> tuple[str, ...]:
        """What must stay in the text even where the tokenizer calls it special."""
        calls = (marker for form in self.forms for marker in (form.opens, form.closes))
        return tuple(dict.fromkeys(filter(None, (*calls, *self.dropped, *self.reasoning))))


class _Spoken(msgspec.Struct):
    name: str
    arguments: msgspec.Raw = msgspec.Raw()
    parameters: msgspec.Raw = msgspec.Raw()


def _call(spoken: _Spoken, *, whole: bool = False) -> tuple[str, str]:
    """Raises DecodeError where the arguments are not an object; with `whole`, where there are none."""
    arguments = spoken.arguments or spoken.parameters or msgspec.Raw(b"" if whole else b"{}")
    msgspec.json.decode(arguments, type=dict)
    if not spoken.name:
        raise msgspec.DecodeError("no name")
    return spoken.name, bytes(arguments).decode().strip()


def read_json(text: str, *, whole: bool = False) -> Found | None:
    """One call as an object, or several in an array."""
    try:
        one = not text.lstrip().startswith("[")
        listed = [msgspec.json.decode(text, type=_Spoken)] if one else msgspec.json.decode(text, type=list[_Spoken])
        return [_call(each, whole=whole) for each in listed] or None
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


_NAMED = re.compile(r"\s*([A-Za-z0-9_.-]{1,128})\s*(?:\[CALL_ID\][A-Za-z0-9]*)?(?:\[ARGS\])?\s*(\{.*\})\s*", re.DOTALL)


def read_named(text: str) -> Found | None:
    """`book[ARGS]{"day": "Monday"}`."""
    match = _NAMED.fullmatch(text)
    return None if match is None else _checked(match[1], match[2])


def _checked(name: str, arguments: str) -> Found | None:
    try:
        msgspec.json.decode(arguments, type=dict)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    return [(name, arguments)]


def read_mistral(text: str) -> Found | None:
    return read_json(text) or read_named(text)


_FENCED = re.compile(
    r"\s*(?:function<｜tool▁sep｜>)?([A-Za-z0-9_.-]{1,128})\s*(?:<｜tool▁sep｜>|```json)\s*(\{.*\})\s*(?:```)?\s*",
    re.DOTALL,
)


def read_deepseek(text: str) -> Found | None:
    """`function<｜tool▁sep｜>book` and fenced arguments; from V3.1 on `book<｜tool▁sep｜>` and bare ones."""
    match = _FENCED.fullmatch(text)
    return None if match is None else _checked(match[1], match[2])


PYTHON_LIMIT = 1 << 16
"""Characters of a list of calls in Python's notation; a longer one is text."""


def read_python(text: str) -> Found | None:
    """`[book(day="Monday"), look()]`: calls with literal keyword arguments, nothing else; parsed, never run."""
    if len(text) > PYTHON_LIMIT:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of an escape that Python does not know
            listed = ast.parse(text.strip(), mode="eval").body
        calls = listed.elts if isinstance(listed, ast.List) else []
        return [_python_call(each) for each in calls] or None
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return None


def _python_call(node: ast.expr) -> tuple[str, str]:
    """Raises ValueError for what is no call, TypeError for what is no JSON."""
    if not isinstance(node, ast.Call) or node.args or any(each.arg is None for each in node.keywords):
        raise ValueError("not a call with named arguments")
    arguments = {each.arg: ast.literal_eval(each.value) for each in node.keywords}
    return ast.unparse(node.func), json.dumps(arguments, ensure_ascii=False, allow_nan=False)


def read_bare(text: str) -> Found | None:
    """No marker says that it is a call: it must name its arguments."""
    return read_json(text, whole=True) or read_python(text)


HERMES = Family((Form(read_json, opens="<tool_call>", closes="</tool_call>"),))
LLAMA3 = Family(
    (
        Form(read_json, opens="<|python_tag|>", between=";"),
        Form(read_bare, begins="{", between=";"),
        Form(read_bare, begins="["),
    )
)
MISTRAL = Family((Form(read_mistral, opens="[TOOL_CALLS]"),))
DEEPSEEK = Family(
    (Form(read_deepseek, opens="<｜tool▁call▁begin｜>", closes="<｜tool▁call▁end｜>"),),
    dropped=("<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"),
)

FAMILIES = {"hermes": HERMES, "llama3": LLAMA3, "mistral": MISTRAL, "deepseek": DEEPSEEK}

_TELLING = (
    ("<tool_call>", "hermes"),
    ("[TOOL_CALLS]", "mistral"),
    ("<｜tool▁call", "deepseek"),
    ("<|python_tag|>", "llama3"),
    ("<|start_header_id|>", "llama3"),
)
_ARCHITECTURES = (("Deepseek", "deepseek"), ("Mistral", "mistral"), ("Mixtral", "mistral"))


def recognise(template: str, architecture: str) -> str:
    """The family's name, by what the chat template writes; by the architecture where that tells nothing."""
    for marker, name in _TELLING:
        if marker in template:
            return name
    return next((name for start, name in _ARCHITECTURES if architecture.startswith(start)), "hermes")


def reasons(template: str) -> bool:
    """Whether the chat template knows of reasoning."""
    return "</think>" in template
