"""Held-out scores: greedy answers to turns never seen in training, checked to the letter and slot by slot."""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from colonnade_tiny import arithmetic, notes
from colonnade_tiny.corpus import SHARES, Conversation, heldout

ROWS = 32
LONGEST_ANSWER = 112

# What a confirmation settles: the action, the name, the day, the time and the reason.
SETTLED = [
    (
        "book",
        r"I have booked (?P<name>.+) for (?P<day>.+) at (?P<time>\d\d:\d\d)"
        r"(, reason: (?P<reason>.+))?\. Anything else\?",
    ),
    ("move", r"I have moved (?P<name>.+) to (?P<day>.+) at (?P<time>\d\d:\d\d)\. Anything else\?"),
    ("cancel", r"I have cancelled the appointment for (?P<name>.+) on (?P<day>.+)\. Anything else\?"),
]
CALL = re.compile(r"<tool_call>\n(?P<call>.*)\n</tool_call>", re.DOTALL)

Slots = dict[str, object]


@dataclass(frozen=True)
class Turn:
    """One turn the model has to answer: where it counts, what it reads and what it should say."""

    job: str
    prompt: str
    expected: str


@dataclass
class Count:
    """How many were right, of how many."""

    right: int = 0
    of: int = 0

    def add(self, right: int, of: int = 1) -> None:
        """Count `of` more, `right` of them right."""
        self.right, self.of = self.right + right, self.of + of

    def share(self) -> float:
        """The share that was right."""
        return self.right / self.of if self.of else 0.0


def turns(tokenizer: PreTrainedTokenizerBase, conversation: Conversation, job: str | None = None) -> Iterator[Turn]:
    """Each scored assistant turn of a conversation, with the true messages before it."""
    start = len(conversation.messages) - conversation.scored
    for index, message in enumerate(conversation.messages):
        if index >= start and message["role"] == "assistant":
            render = _renderer(tokenizer, conversation)
            prompt, whole = render(index, True), render(index + 1, False)
            yield Turn(job or conversation.job, prompt, whole[len(prompt) :].removesuffix("<|im_end|>\n"))


def _renderer(tokenizer: PreTrainedTokenizerBase, conversation: Conversation) -> Callable[[int, bool], str]:
    def render(end: int, prompt: bool) -> str:
        text = tokenizer.apply_chat_template(
            conversation.messages[:end], tools=conversation.tools or None, tokenize=False, add_generation_prompt=prompt
        )
        return str(text)

    return render


def answers(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: list[str]) -> list[str]:
    """Greedy answers, in the order of the prompts; like lengths go together."""
    found: dict[int, str] = {}
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    for start in range(0, len(order), ROWS):
        chosen = order[start : start + ROWS]
        read = tokenizer([prompts[index] for index in chosen], return_tensors="pt", padding=True, padding_side="left")
        with torch.inference_mode():
            written = model.generate(
                input_ids=read["input_ids"],
                attention_mask=read["attention_mask"],
                max_new_tokens=LONGEST_ANSWER,
                do_sample=False,
            )
        texts = tokenizer.batch_decode(written[:, read["input_ids"].shape[1] :], skip_special_tokens=True)
        found.update(zip(chosen, texts, strict=True))
    return [found[index] for index in range(len(prompts))]


def slots(text: str) -> Slots:
    """What a booking answer commits to; an answer that settles nothing stands for itself."""
    called = CALL.fullmatch(text)
    if called:
        return _parsed(called["call"], text)
    for action, pattern in SETTLED:
        settled = re.fullmatch(pattern, text)
        if settled:
            return {"action": action, **settled.groupdict()}
    return {"says": text}


def _parsed(call: str, text: str) -> Slots:
    try:
        return {"call": json.loads(call)}
    except json.JSONDecodeError:
        return {"says": text}


def note_fields(text: str) -> Slots:
    """The fields of a note answer; none where it is not the JSON asked for."""
    try:
        fields = json.loads(text)
    except json.JSONDecodeError:
        return {}
    return fields if isinstance(fields, dict) else {}


def score(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, seed: int, count: int) -> dict[str, Count]:
    """Counts by measure, over `count` held-out conversations of each job and a quarter as many in a long context."""
    asked = [turn for job in SHARES for example in heldout(seed, job, count) for turn in turns(tokenizer, example)]
    for job in SHARES:
        for example in heldout(seed + 1, job, max(1, count // 4), earlier=True):
            asked += turns(tokenizer, example, "long_context")
    return tally(asked, answers(model, tokenizer, [turn.prompt for turn in asked]))


def tally(asked: list[Turn], given: list[str]) -> dict[str, Count]:
    """Count every answer under the measures of its job."""
    counts: dict[str, Count] = defaultdict(Count)
    for turn, answer in zip(asked, given, strict=True):
        for measure, right, of in _measures(turn, answer):
            counts[measure].add(right, of)
    return dict(counts)


def _measures(turn: Turn, answer: str) -> Iterator[tuple[str, int, int]]:
    exact = int(answer == turn.expected)
    if turn.job in ("booking", "booking_tools"):
        wanted = slots(turn.expected)
        right = int(slots(answer) == wanted)
        yield f"{turn.job}_turns", right, 1
        if "says" not in wanted:
            yield f"{turn.job}_settled", right, 1
    elif turn.job == "notes":
        wanted, got = note_fields(turn.expected), note_fields(answer)
        yield "note_fields", sum(name in got and got[name] == wanted[name] for name in notes.FIELDS), len(notes.FIELDS)
        yield "notes_whole", exact, 1
    elif turn.job == "arithmetic":
        yield "arithmetic", int(arithmetic.answer_of(answer) == arithmetic.answer_of(turn.expected)), 1
    else:
        yield turn.job, exact, 1
