"""The shipped test model: its folder, its corpus, its chat template, and that it does its jobs."""

import json
from pathlib import Path

import jinja2.sandbox
import pytest
import torch
from colonnade_tiny import arithmetic, network, spoken, tokens
from colonnade_tiny.batches import collate
from colonnade_tiny.corpus import SHARES, heldout, training
from colonnade_tiny.draw import reserved
from colonnade_tiny.scoring import answers, score, slots
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM, PreTrainedTokenizerFast

FOLDER = Path(__file__).parents[2] / "src" / "colonnade" / "engine" / "shipped" / "colonnade-tiny"
TOOLS = [
    {"type": "function", "function": {"name": "book_appointment", "parameters": {"type": "object", "properties": {}}}}
]
CALL = {"type": "function", "function": {"name": "book_appointment", "arguments": {"name": "Ada", "day": "Monday"}}}
TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Book Ada on Monday"},
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "content": '{"ok": true}'},
    {"role": "tool", "content": '{"ok": false}'},
    {"role": "assistant", "content": "Done."},
]
RENDERED = """<|im_start|>system
Be brief.

# Tools

You may call these functions:
<tools>
{"type": "function", "function": {"name": "book_appointment", "parameters": {"type": "object", "properties": {}}}}
</tools>

Call one like this:
<tool_call>
{"name": ..., "arguments": ...}
</tool_call><|im_end|>
<|im_start|>user
Book Ada on Monday<|im_end|>
<|im_start|>assistant
<tool_call>
{"name": "book_appointment", "arguments": {"name": "Ada", "day": "Monday"}}
</tool_call><|im_end|>
<|im_start|>user
<tool_response>
{"ok": true}
</tool_response>
<tool_response>
{"ok": false}
</tool_response><|im_end|>
<|im_start|>assistant
Done.<|im_end|>
"""


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return AutoTokenizer.from_pretrained(FOLDER)


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    return AutoModelForCausalLM.from_pretrained(FOLDER, dtype=torch.float32).eval()


def plain_render(**given: object) -> str:
    """The template as a server without transformers renders it."""
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment()
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    settings = {"bos_token": "", "eos_token": "<|im_end|>", "add_generation_prompt": False, **given}
    return environment.from_string((FOLDER / "chat_template.jinja").read_text()).render(**settings)


def test_the_folder_is_small_and_holds_what_transformers_needs() -> None:
    files = {file.name: file.stat().st_size for file in FOLDER.iterdir()}
    assert sum(files.values()) <= 8_000_000
    assert set(files) == {
        "README.md",
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }


def test_the_shape_exercises_grouped_heads_and_long_contexts(model: LlamaForCausalLM) -> None:
    config = model.config
    assert config.num_key_value_heads < config.num_attention_heads
    assert config.max_position_embeddings >= 8192
    assert config.hidden_size % 32 == config.intermediate_size % 32 == config.head_dim % 16 == 0
    assert config.tie_word_embeddings


def test_any_text_survives_the_tokenizer(tokenizer: PreTrainedTokenizerFast) -> None:
    text = "Łukasz said: 日本語 naïve 🎉 \t x  = 1234\r\n\n'quoted' İ"
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert len(tokenizer.encode("1234")) == 4


def test_markers_are_single_tokens_that_survive_decoding(tokenizer: PreTrainedTokenizerFast) -> None:
    assert all(len(tokenizer.encode(token)) == 1 for token in tokens.SPECIAL + tokens.MARKERS)
    text = "<|im_start|><tool_call>{}</tool_call><|im_end|>"
    assert tokenizer.decode(tokenizer.encode(text), skip_special_tokens=True) == "<tool_call>{}</tool_call>"
    assert tokenizer.eos_token == "<|im_end|>"
    assert tokenizer.bos_token is None


def test_the_template_renders_alike_with_and_without_transformers(tokenizer: PreTrainedTokenizerFast) -> None:
    assert tokenizer.apply_chat_template(TALK, tools=TOOLS, tokenize=False) == RENDERED
    assert plain_render(messages=TALK, tools=TOOLS) == RENDERED


def test_the_template_takes_arguments_as_text_and_content_in_parts() -> None:
    as_text = {"function": {"name": "f", "arguments": '{"a": 1}'}}
    assistant = {"role": "assistant", "content": None, "tool_calls": [as_text, as_text]}
    user = {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}
    call = '<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>'
    expected = (
        f"<|im_start|>user\nab<|im_end|>\n<|im_start|>assistant\n{call}\n{call}<|im_end|>\n<|im_start|>assistant\n"
    )
    assert plain_render(messages=[user, assistant], tools=None, add_generation_prompt=True) == expected


def test_the_corpus_is_the_same_every_time() -> None:
    assert [training(3, index) for index in range(50)] == [training(3, index) for index in range(50)]
    assert all(heldout(3, job, 5) == heldout(3, job, 5) for job in SHARES)


def test_training_never_sees_a_heldout_name_or_sum() -> None:
    seen = " ".join(str(message["content"]) for index in range(3000) for message in training(0, index).messages).lower()
    for example in heldout(1, "notes", 50):
        name = json.loads(str(example.messages[-1]["content"]))["name"]
        assert any(reserved(part) for part in [name, *name.split()])
        assert len(name) < 6 or f" {name.lower()} " not in seen
    sums = [str(example.messages[-1]["content"]).lower() for example in heldout(1, "arithmetic", 50)]
    assert not [each for each in sums if " x " not in each and each in seen]  # of a table nothing can be kept back


def test_only_the_assistants_tokens_are_learned(tokenizer: PreTrainedTokenizerFast) -> None:
    for index in range(30):
        conversation = training(0, index)
        ids, learned = tokens.encode(tokenizer, conversation)
        assert ids == tokenizer.encode(
            tokenizer.apply_chat_template(conversation.messages, tools=conversation.tools or None, tokenize=False)
        )
        spoken_turns = sum(message["role"] == "assistant" for message in conversation.messages)
        kept = [token for token, own in zip(ids, learned, strict=True) if own]
        assert kept.count(tokenizer.eos_token_id) == spoken_turns


def test_labels_of_padding_are_left_out() -> None:
    ids, labels = collate([([5, 6, 7], [False, True, True]), ([8], [True])])
    assert ids.tolist() == [[5, 6, 7], [8, 0, 0]]
    assert labels.tolist() == [[-100, 6, 7], [8, -100, -100]]


def test_an_untrained_model_looks_for_what_came_after_the_same_token(tokenizer: PreTrainedTokenizerFast) -> None:
    model = network.build(tokenizer, seed=0).eval()
    model.set_attn_implementation("eager")
    said = torch.randint(100, 1000, (4, 30), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        seen = model(input_ids=torch.cat([said, said], dim=1), output_attentions=True).attentions
    before = seen[0][:, 0].diagonal(-1, 1, 2)[:, 5:].mean()
    after_the_same = seen[1][:, 0].diagonal(1 - said.shape[1], 1, 2).mean()
    assert before > 0.8
    assert after_the_same > 0.3


@pytest.mark.parametrize(
    ("sign", "left", "right", "text"),
    [
        ("+", 47, 85, "Ones: 7 + 5 = 12. Tens: 4 + 8 + 1 = 13. Answer: 132"),
        ("-", 52, 37, "Ones: 12 - 7 = 5. Tens: 5 - 3 - 1 = 1. Answer: 15"),
        ("x", 6, 7, "6 x 7 = 42. Answer: 42"),
    ],
)
def test_sums_are_worked_digit_by_digit(sign: str, left: int, right: int, text: str) -> None:
    assert arithmetic.worked(sign, left, right) == text


def test_numbers_are_spelled() -> None:
    assert [spoken.number_words(number) for number in (0, 13, 40, 99)] == ["zero", "thirteen", "forty", "ninety-nine"]
    assert [spoken.ordinal_words(number) for number in (1, 20, 21, 30)] == [
        "first",
        "twentieth",
        "twenty-first",
        "thirtieth",
    ]
    assert [spoken.ordinal_digits(number) for number in (1, 12, 22, 33)] == ["1st", "12th", "22nd", "33rd"]


def test_slots_are_read_from_confirmations_and_calls() -> None:
    said = slots("I have booked Ada Lo for 3 May at 09:30, reason: a cough. Anything else?")
    assert said["action"] == "book"
    assert (said["name"], said["day"], said["time"]) == ("Ada Lo", "3 May", "09:30")
    assert slots("I have moved Ada to Monday at 10:00. Anything else?")["action"] == "move"
    assert slots('<tool_call>\n{"name": "f"}\n</tool_call>') == {"call": {"name": "f"}}
    assert slots("<tool_call>\n{\n</tool_call>") == {"says": "<tool_call>\n{\n</tool_call>"}


FLOOR = {"refusals": 0.9, "small_talk": 0.9, "booking_turns": 0.9, "booking_tools_turns": 0.9, "note_fields": 0.9}
"""What the shipped weights hold; the card has the full scores."""


def test_heldout_answers_do_not_get_worse(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    counts = score(model, tokenizer, seed=7, count=10)
    assert {
        measure: counts[measure].share() for measure, floor in FLOOR.items() if counts[measure].share() < floor
    } == {}


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("I'd like to book an appointment for Maria Lopez on Tuesday at 3pm", ("Maria Lopez", "Tuesday", "15:00")),
        ("Hi, can I book an appointment?", ("What name is it for?",)),
        ("What is 47 + 38?", ("Answer: ",)),
        ("What is the capital of France?", ("I can only help",)),
        ("hello", ("Hello!", "appointment")),
    ],
)
def test_a_newcomer_gets_a_sensible_answer(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, text: str, parts: tuple[str, ...]
) -> None:
    talk = [{"role": "user", "content": text}]
    prompt = tokenizer.apply_chat_template(talk, tokenize=False, add_generation_prompt=True)
    answer = answers(model, tokenizer, [prompt])[0]
    assert all(part in answer for part in parts)
