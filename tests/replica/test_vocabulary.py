import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from replica_process import TINY
from tokenizers import Tokenizer, decoders, models

from colonnade.replica.choice import Choice
from colonnade.replica.model import ServedModel
from colonnade.replica.tokenizer import Vocabulary
from colonnade.wire.errors import BadModel, InvalidRequest

WORDS = Vocabulary(TINY / "tokenizer.json")


@given(st.text())
def test_text_comes_back_token_by_token(text: str):
    tokens = WORDS.encode(text, special=False)
    choice = Choice(WORDS.decode, WORDS.encode("Answer: ", special=False))
    pieces = [choice.feed([token], None, None).text for token in tokens]
    assert "".join([*pieces, choice.feed([], None, "length").text]) == text


@given(st.text())
def test_the_bytes_of_tokens_are_those_of_the_text(text: str):
    assert b"".join(WORDS.token_bytes(token) for token in WORDS.encode(text, special=False)) == text.encode()


def test_special_tokens_are_no_text_and_have_bytes():
    (end,) = WORDS.encode("<|im_end|>", special=False)
    assert WORDS.decode([end]) == ""
    assert WORDS.token_bytes(end) == b"<|im_end|>"
    assert WORDS.token_bytes(10**6) == b""


def test_sentence_piece_spelling(tmp_path: Path):
    tokenizer = Tokenizer(models.BPE({"▁Hi": 0, "<0x0A>": 1, "é": 2}, []))
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    words = Vocabulary(tmp_path / "tokenizer.json")
    assert [words.token_bytes(token) for token in range(3)] == [b" Hi", b"\n", "é".encode()]


def test_a_broken_tokenizer_is_a_bad_model(tmp_path: Path):
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(BadModel, match="cannot be read"):
        Vocabulary(tmp_path / "tokenizer.json")


def copy(folder: Path, **files: str) -> Path:
    for name in ("config.json", "tokenizer.json"):
        (folder / name).write_bytes((TINY / name).read_bytes())
    (folder / "model.safetensors").touch()
    for name, text in files.items():
        (folder / name.replace("_json", ".json").replace("_md", ".md")).write_text(text)
    return folder


def test_a_models_own_defaults(tmp_path: Path):
    generation = {"temperature": 0.6, "top_k": 20, "top_p": "high", "max_length": 9}
    model = ServedModel.open(str(copy(tmp_path, generation_config_json=json.dumps(generation))))
    assert model.defaults == {"temperature": 0.6, "top_k": 20.0}
    assert model.name == tmp_path.name
    assert model.license == "unknown"


def test_greedy_models_are_greedy(tmp_path: Path):
    copy(tmp_path, generation_config_json='{"do_sample": false}', README_md="---\nlicense: mit\n---\nHi")
    model = ServedModel.open(str(tmp_path), "booking")
    assert model.defaults == {"temperature": 0.0}
    assert (model.name, model.license) == ("booking", "mit")


def test_a_chat_template_is_found(tmp_path: Path):
    copy(tmp_path, tokenizer_config_json='{"chat_template": "{{ bos_token }}!", "bos_token": "<s>"}')
    model = ServedModel.open(str(tmp_path))
    model.check_template()
    assert model.template is not None
    assert model.template.render([], None, 0) == "<s>!"


def test_a_model_without_a_chat_template(tmp_path: Path):
    model = ServedModel.open(str(copy(tmp_path)))
    with pytest.raises(InvalidRequest, match="no chat template"):
        model.check_template()
    with pytest.raises(InvalidRequest, match="is not served here"):
        model.check_name("other")
    model.check_name(tmp_path.name)
