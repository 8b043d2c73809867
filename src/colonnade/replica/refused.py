"""Fields that are refused rather than ignored, with the values that ask for nothing and so are let through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from colonnade.wire.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class Refusal:
    why: str
    neutral: tuple[Any, ...] = ()
    hint: str = ""

    def check(self, name: str, value: Any) -> None:
        """Raises InvalidRequest unless `value` asks for nothing."""
        if value is None or any(type(value) is type(each) and value == each for each in self.neutral):
            return
        raise InvalidRequest(f"{name}: {self.why}", param=name, code="unsupported_parameter", hint=self.hint)


_OTHER_NAME = Refusal(
    "another server's name for a form of output", hint="use response_format, or one of regex, ebnf and json_schema"
)
NOT_HERE = Refusal("this replica serves text alone")

REFUSED: dict[str, Refusal] = {
    "audio": NOT_HERE,
    "modalities": Refusal("this replica serves text alone", (["text"],)),
    "web_search_options": Refusal("this replica reaches nothing outside"),
    "prediction": Refusal("predicted output is not taken"),
    "moderation": Refusal("nothing is moderated here"),
    "function_call": Refusal("the old form of calling", (), "use tools and tool_choice"),
    "functions": Refusal("the old form of calling", (), "use tools"),
    "reasoning_effort": Refusal("the model has no such knob", ("none",)),
    "verbosity": Refusal("the model has no such knob", ("medium",)),
    "service_tier": Refusal("there is one tier", ("auto", "default")),
    "store": Refusal("nothing is stored", (False,)),
    "prompt_cache_options": Refusal("the prefix cache works by itself"),
    "prompt_cache_retention": Refusal("the prefix cache holds what fits in memory", ("in_memory",)),
    "best_of": Refusal("only n answers are drawn", (1,), "use n"),
    "echo": Refusal("the prompt is not repeated", (False,)),
    "suffix": Refusal("text is only written forward", ("",)),
    # Fields of other servers that would change the answer.
    "guided_json": _OTHER_NAME,
    "guided_regex": _OTHER_NAME,
    "guided_choice": _OTHER_NAME,
    "guided_grammar": _OTHER_NAME,
    "structured_outputs": _OTHER_NAME,
    "min_tokens": Refusal("not honoured", (0,)),
    "bad_words": Refusal("not honoured", ([],), "use logit_bias"),
    "allowed_token_ids": Refusal("not honoured", (), "use logit_bias"),
    "use_beam_search": Refusal("not honoured", (False,)),
    "length_penalty": Refusal("not honoured", (1, 1.0)),
    "prompt_logprobs": Refusal("not honoured"),
    "truncate_prompt_tokens": Refusal("prompts are never cut", (), "cut the prompt before sending it"),
    "include_stop_str_in_output": Refusal("a stop string is never part of the answer", (False,)),
    "skip_special_tokens": Refusal("special tokens are never part of the text", (True,)),
}
