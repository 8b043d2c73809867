"""The shipped mixture of experts: its folder, what transformers and the engine make of it, and its jobs."""

import pytest
import tiny_llama
import torch
from colonnade_tiny.corpus import heldout
from colonnade_tiny.scoring import Turn, score, slots, turns
from colonnade_tiny_moe import network
from colonnade_tiny_moe.ahead import agreed
from colonnade_tiny_moe.folder import opened
from colonnade_tiny_moe.network import Network
from safetensors import safe_open
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer, DeepseekV3ForCausalLM, PreTrainedTokenizerFast

from colonnade.engine.folder import ModelFolder, shipped_names

NAME = "colonnade-tiny-moe"
FOLDER = ModelFolder.open(NAME).path


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return AutoTokenizer.from_pretrained(FOLDER)


@pytest.fixture(scope="module")
def model() -> DeepseekV3ForCausalLM:
    return AutoModelForCausalLM.from_pretrained(FOLDER, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def trained() -> Network:
    return opened(FOLDER)


def bookings(tokenizer: PreTrainedTokenizerFast, count: int) -> list[Turn]:
    return [turn for example in heldout(5, "booking", count) for turn in turns(tokenizer, example)]


def test_it_ships_and_is_small() -> None:
    assert NAME in shipped_names()
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) <= 8_000_000
    assert (FOLDER / "README.md").is_file()


def test_every_part_of_the_architecture_is_there() -> None:
    config = ModelFolder.open(NAME).config
    assert config["architectures"] == ["DeepseekV3ForCausalLM"]
    assert config["max_position_embeddings"] >= 8192
    assert 0 < config["first_k_dense_replace"] < config["num_hidden_layers"]
    assert config["topk_group"] < config["n_group"] < config["n_routed_experts"]
    assert config["q_lora_rank"]
    assert config["kv_lora_rank"]
    assert config["n_shared_experts"]
    assert config["rope_interleave"]


def test_the_mtp_layer_has_the_published_names() -> None:
    config = ModelFolder.open(NAME).config
    last = f"model.layers.{config['num_hidden_layers'] * config['num_nextn_predict_layers']}"
    own = ("enorm", "hnorm", "eh_proj", "shared_head.norm", "shared_head.head", "embed_tokens", "mlp.experts.7.up_proj")
    with safe_open(FOLDER / "model.safetensors", "pt") as stored:
        assert {f"{last}.{name}.weight" for name in own} < set(stored.keys())
        head, embedding = (
            stored.get_tensor(f"{last}.shared_head.head.weight"),
            stored.get_tensor("model.embed_tokens.weight"),
        )
    assert torch.equal(head, embedding)


def test_transformers_reads_all_but_the_mtp_layer_and_computes_the_same(trained: Network) -> None:
    model, about = AutoModelForCausalLM.from_pretrained(FOLDER, dtype=torch.float32, output_loading_info=True)
    last = f"model.layers.{model.config.num_hidden_layers}."
    assert not about["missing_keys"]
    assert not about["mismatched_keys"]
    assert all(name.startswith(last) for name in about["unexpected_keys"])
    ids = torch.randint(3, 1000, (2, 40), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(model.eval()(ids).logits, trained.logits(trained.hidden(ids)), atol=1e-2, rtol=1e-3)


def test_the_engine_says_what_transformers_says(
    model: DeepseekV3ForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    worker = tiny_llama.load(FOLDER).worker
    for slot, turn in enumerate(bookings(tokenizer, 2)[:3]):
        asked = tokenizer.encode(turn.prompt)
        ids = torch.tensor([asked])
        written = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=40)[0, len(asked) :].tolist()
        assert tiny_llama.generate(worker, slot, asked, len(written), first_page=600 * slot) == written


def test_the_engine_settles_a_booking(tokenizer: PreTrainedTokenizerFast) -> None:
    worker = tiny_llama.load(FOLDER).worker
    plain = Tokenizer.from_file(str(FOLDER / "tokenizer.json"))
    talk = "I'd like to book an appointment for Maria Lopez on Tuesday at 3pm, reason: a cough"
    asked = tokenizer.apply_chat_template(
        [{"role": "user", "content": talk}], tokenize=False, add_generation_prompt=True
    )
    said = plain.decode(tiny_llama.generate(worker, 0, plain.encode(asked).ids, 60)).split("<|im_end|>")[0]
    assert "Maria Lopez" in said
    assert "Tuesday" in said
    assert "15:00" in said


def test_an_untrained_model_says_again_what_was_said(tokenizer: PreTrainedTokenizerFast) -> None:
    fresh = network.build(tokenizer, seed=0)
    said = torch.randint(100, 1000, (4, 60), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        guessed = fresh.logits(fresh.hidden(torch.cat([said, said], dim=1))).argmax(-1)
    assert (guessed[:, 60:-1] == said[:, 1:]).float().mean() > 0.7


def test_idle_experts_are_raised_and_busy_ones_lowered(tokenizer: PreTrainedTokenizerFast) -> None:
    router = network.build(tokenizer, seed=0).model.layers[1].mlp.gate
    router.load += torch.tensor([3.0, 1, 1, 1, 0, 1, 1, 0])
    router.balance(0.5)
    assert router.e_score_correction_bias.tolist() == [-0.5, 0, 0, 0, 0.5, 0, 0, 0.5]
    assert not router.load.any()


def test_every_expert_is_used(trained: Network, tokenizer: PreTrainedTokenizerFast) -> None:
    trained.hidden(torch.tensor([tokenizer.encode("".join(turn.prompt for turn in bookings(tokenizer, 8)[-4:]))]))
    routers = [layer.mlp.gate for layer in trained.model.layers[1:-1]]
    assert all(router.load.min() > 0 for router in routers)


def test_the_mtp_layer_guesses_what_the_trunk_says_next(trained: Network, tokenizer: PreTrainedTokenizerFast) -> None:
    same, of = agreed(trained, tokenizer, seed=3, job="booking", count=12)
    assert same / of > AHEAD_FLOOR


AHEAD_FLOOR = 0.9
FLOOR = {"booking_turns": 0.85, "booking_tools_turns": 0.8, "note_fields": 0.85}
"""What the shipped weights hold on a small sample; the card has the full scores."""


def test_heldout_answers_do_not_get_worse(model: DeepseekV3ForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    counts = score(model, tokenizer, seed=7, count=4)
    shares = {measure: counts[measure].share() for measure in FLOOR}
    assert {measure: share for measure, share in shares.items() if share < FLOOR[measure]} == {}


def test_slots_of_an_answer_are_read(tokenizer: PreTrainedTokenizerFast) -> None:
    assert all(slots(turn.expected) for turn in bookings(tokenizer, 3))
