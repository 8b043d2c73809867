"""Every family against every feature, on small random models: docs/features.md says in each cell what was tried.

python tests/engine/feature_matrix.py > docs/features.md      after a family or a feature came
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import tiny_families
import tiny_llama
from msgspec.structs import replace as replace_struct
from tiny_families import LATENT
from tokenizers import Tokenizer

from colonnade.engine.drafter import Drafter
from colonnade.engine.folder import SHIPPED
from colonnade.engine.limits import Limits
from colonnade.engine.models.registry import ARCHITECTURES
from colonnade.engine.ngram import NgramDrafter
from colonnade.engine.scheduler import Scheduler
from colonnade.engine.worker import LoadedWorker
from colonnade.wire.errors import SetupError
from colonnade.wire.messages import Delta, Grammar, Sampling, Scoring, Submit

TOKENIZER = SHIPPED / "colonnade-tiny" / "tokenizer.json"
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "LlamaForCausalLM": ("Llama", {}),
    "MistralForCausalLM": ("Mistral", {"sliding_window": 20}),
    "Qwen2ForCausalLM": ("Qwen2", {}),
    "Qwen3ForCausalLM": ("Qwen3", {}),
    "MixtralForCausalLM": ("Mixtral", {"num_local_experts": 5}),
    "Qwen3MoeForCausalLM": ("Qwen3Moe", {"num_experts": 9, "num_experts_per_tok": 3, "moe_intermediate_size": 20}),
    "DeepseekV2ForCausalLM": ("DeepseekV2", LATENT),
    "DeepseekV3ForCausalLM": ("DeepseekV3", LATENT),
}
Answers = dict[str, list[Delta]]


class House:
    """One family's model, and what it answers undisturbed: each request alone, nothing cached, prompts in one piece."""

    def __init__(self, architecture: str, folder: Path) -> None:
        family, config = FAMILIES[architecture]
        shape = {"vocab_size": 1024, "num_hidden_layers": 2, "eos_token_id": 2}
        self.tiny = tiny_families.make(folder / "model", family, **shape, **config)
        self.folder = folder
        shutil.copy(TOKENIZER, self.tiny.folder / "tokenizer.json")

    def load(self, folder: Path | None = None, **settings: Any) -> LoadedWorker:
        return tiny_llama.load(folder or self.tiny.folder, kv_tokens=512, max_running=8, **settings)

    @cached_property
    def loaded(self) -> LoadedWorker:
        return self.load()

    @cached_property
    def calm(self) -> dict[str, list[int]]:
        return tokens(self.alone(self.loaded))

    def alone(self, loaded: LoadedWorker) -> Answers:
        return {key: run(loaded, [submit], prefix_cache=False)[key] for key, submit in requests().items()}


def run(
    loaded: LoadedWorker, submits: list[Submit], pages: int = 512, drafter: Drafter | None = None, **limits: Any
) -> Answers:
    """All at once."""
    usual: dict[str, Any] = {"pages": pages, "max_context": 200, "max_running": 8}
    scheduler = Scheduler(Limits(**(usual | limits)), drafter)
    answers: Answers = {submit.key: [] for submit in submits}
    for submit in submits:
        assert scheduler.submit(submit) is None
    while (step := scheduler.plan()) is not None:
        for delta in scheduler.commit(loaded.worker.run(step)):
            answers[delta.key].append(delta)
    scheduler.validate()
    answers["retractions"] = [Delta("", scheduler.retractions, [])]
    return answers


def requests(**sampling: Any) -> dict[str, Submit]:
    """Two greedy and two warm ones; the second of each begins as the first."""
    made: dict[str, Submit] = {}
    for number in range(4):
        prompt = tiny_llama.prompt(30, seed=number // 2, vocab=1000)[: 30 - 3 * (number % 2)]
        how = Sampling(**({"seed": number, "temperature": 0.9 * (number > 1), "max_tokens": 8} | sampling))
        made[f"{number}"] = Submit(f"{number}", prompt, how)
    return made


def tokens(answers: Answers) -> dict[str, list[int]]:
    return {key: [token for delta in deltas for token in delta.tokens] for key, deltas in answers.items()}


def same(house: House, answers: Answers) -> bool:
    found = tokens(answers)
    return all(found[key] == calm for key, calm in house.calm.items())


# The features. Each asserts what it promises.


def any_company(house: House) -> None:
    assert same(house, run(house.loaded, list(requests().values()), prefix_cache=False))


def chunked_prefill(house: House) -> None:
    assert same(house, run(house.loaded, list(requests().values()), prefill_chunk=7, step_tokens=9))


def prefix_cache(house: House) -> None:
    answers = run(house.loaded, list(requests().values()), max_running=1)
    assert same(house, answers)
    assert answers["1"][0].cached > 20


def retraction(house: House) -> None:
    answers = run(house.loaded, list(requests().values()), pages=70, extent=1, prefix_cache=False)
    assert answers["retractions"][0].position > 0
    assert same(house, answers)


def replay(house: House) -> None:
    submits = {key: Submit(key, it.prompt, it.sampling, 0, house.calm[key][:4]) for key, it in requests().items()}
    found = tokens(run(house.loaded, list(submits.values())))
    assert all(found[key] == calm[4:] for key, calm in house.calm.items())


def threads(house: House) -> None:
    assert same(house, house.alone(house.load(threads=2)))


def speculation(house: House) -> None:
    assert same(house, run(house.loaded, list(requests().values()), drafter=NgramDrafter(1)))


def logprobs(house: House) -> None:
    answers = run(house.loaded, list(requests(logprobs=5).values()))
    assert same(house, answers)
    told = [each for key in house.calm for delta in answers[key] for each in delta.logprobs or []]
    assert len(told) == sum(map(len, house.calm.values()))
    assert all(each.logprob <= 0 and len(each.top) == 5 for each in told)


def scores(house: House) -> None:
    """Of the same prompt, in one piece with transformers' numbers, in small pieces, and over a cache."""
    asked = next(iter(requests().values()))
    theirs_TV = house.tiny.logprobs(asked.prompt)
    wanted = [replace_struct(asked, key=key, scoring=Scoring()) for key in "ab"]
    for chunk in (256, 7):
        answers = run(house.loaded, wanted, prefill_chunk=chunk)
        for key in "ab":
            told = [each.logprob for delta in answers[key] for each in delta.scores or []]
            expected = theirs_TV[range(len(asked.prompt) - 1), asked.prompt[1:]]
            assert abs(told - expected).max() < 1e-3


def penalties(house: House) -> None:
    how = {"repetition_penalty": 1.3, "presence_penalty": 0.5, "frequency_penalty": 0.5, "logit_bias": {7: 100.0}}
    both = [tokens(run(house.loaded, list(requests(**how).values()), max_running=most)) for most in (8, 1)]
    assert both[0] == both[1]
    assert all(7 in both[0][key] for key in house.calm)


def grammar(house: House) -> None:
    form = Grammar("regex", "(yes|no) [0-9]{3}")
    found = tokens(run(house.loaded, list(requests(grammar=form, stop_token_ids=(2,), max_tokens=40).values())))
    words = Tokenizer.from_file(str(TOKENIZER))
    assert all(re.fullmatch(form.text, words.decode(found[key])) for key in house.calm)


def fp8_checkpoint(house: House) -> None:
    quantised = tiny_families.quantise(house.tiny, house.folder / "fp8")
    shutil.copy(TOKENIZER, quantised.folder / "tokenizer.json")
    loaded, plain = house.load(quantised.folder), house.load(quantised.folder, kernels="torch")
    assert loaded.facts["quantisation"] == "fp8-weights"
    assert close(house, loaded, plain)


def integers(house: House) -> None:
    loaded = house.load(quantize="int8")
    assert loaded.facts["quantisation"] == "int8-g128"
    assert alike(house, loaded)


def half_cache(house: House) -> None:
    loaded = house.load(kv_dtype="float16")
    assert loaded.facts["kv_dtype"] == "float16"
    assert alike(house, loaded)


def alike(house: House, loaded: LoadedWorker) -> bool:
    """Whether rounding leaves answers what they are alone, in company, in small chunks and with drafts."""
    alone = tokens(house.alone(loaded))
    wanted = list(requests().values())
    found = tokens(run(loaded, wanted, prefill_chunk=7, drafter=NgramDrafter(1)))
    return all(found[key] == alone[key] for key in requests())


def vectors(house: House) -> None:
    """Of a prompt, alone in one piece, and among others in small ones."""
    how = Sampling(max_tokens=1, temperature=0.0)
    for pooling in ("last", "mean"):
        wanted = [replace_struct(it, sampling=how, scoring=Scoring(pooling=pooling)) for it in requests().values()]
        together = run(house.loaded, wanted, prefill_chunk=7, prefix_cache=False)
        for each in wanted:
            (alone,) = run(house.loaded, [each], prefix_cache=False)[each.key]
            assert len(alone.vector) == 4 * house.tiny.model.config.hidden_size
            assert [delta.vector for delta in together[each.key] if delta.vector] == [alone.vector]


def jump_forward(house: House) -> None:
    form = Grammar("regex", "(yes|no), that is what I think of [0-9]{3}")
    wanted = list(requests(grammar=form, stop_token_ids=(2,), max_tokens=60).values())
    on, off = (run(house.load(jump_forward=each), wanted) for each in (True, False))
    assert tokens(on) == tokens(off)
    assert all(len(on[key]) < len(off[key]) for key in requests())  # a delta for each pass


def overlap(house: House) -> None:
    """Each step is planned while the one before it is still to be committed."""
    scheduler = Scheduler(Limits(pages=512, max_context=200, max_running=8))
    answers: Answers = {key: [] for key in requests()}
    for submit in requests().values():
        assert scheduler.submit(submit) is None
    ahead = scheduler.plan()
    while (step := ahead) is not None:
        ahead = scheduler.plan()
        for delta in scheduler.commit(house.loaded.worker.run(step)):
            answers[delta.key].append(delta)
        ahead = ahead or scheduler.plan()
    assert same(house, answers)


def torch_kernels(house: House) -> None:
    assert close(house, house.loaded, house.load(kernels="torch"))


def close(house: House, left: LoadedWorker, right: LoadedWorker) -> bool:
    """Whether log-probabilities behind a prompt are within 1e-4."""
    prompt, how = requests()["0"].prompt, Sampling(temperature=0.0, logprobs=20)
    one, two = (dict(tiny_llama.extend(it.worker, 0, prompt, how).logprob.top) for it in (left, right))
    shared = one.keys() & two.keys()
    return len(shared) > 15 and all(abs(one[token] - two[token]) < 1e-4 for token in shared)


def weight_update(house: House) -> None:
    other = House(house.tiny.model.config.architectures[0], house.folder / "other")
    tensors = tiny_families.load_file(other.tiny.folder / "model.safetensors")
    halved = {name: values * 0.5 for name, values in tensors.items()}
    tiny_families.save_file(halved, other.tiny.folder / "model.safetensors", {"format": "pt"})
    loaded = house.load()
    loaded.resident.update(str(other.tiny.folder))
    assert tokens(house.alone(loaded)) == other.calm
    loaded.resident.update(str(house.tiny.folder))
    assert same(house, house.alone(loaded))


def sleep(house: House) -> None:
    loaded = house.load()
    for level in (1, 2):
        loaded.resident.sleep(level)
        loaded.resident.wake()
        assert same(house, house.alone(loaded))


def half_precision(house: House) -> None:
    house.load(dtype="bfloat16")


def native_on_cuda(house: House) -> None:
    house.load(kernels="native", device="cuda")


FEATURES: dict[str, Callable[[House], None]] = {
    "equal answers in any company": any_company,
    "chunked prefill": chunked_prefill,
    "prefix cache": prefix_cache,
    "retraction under memory pressure": retraction,
    "going on by replay": replay,
    "equal answers on any number of threads": threads,
    "n-gram speculation": speculation,
    "log-probabilities": logprobs,
    "log-probabilities of prompts": scores,
    "penalties, logit bias": penalties,
    "grammars": grammar,
    "jump-forward": jump_forward,
    "steps planned ahead": overlap,
    "vectors of prompts": vectors,
    "weights in int8": integers,
    "keys and values in float16": half_cache,
    "8-bit checkpoint by block": fp8_checkpoint,
    "torch kernels": torch_kernels,
    "weights exchanged in place": weight_update,
    "sleep and waking": sleep,
    "arithmetic in bfloat16": half_precision,
    "native kernels on a GPU": native_on_cuda,
}


@cache
def house(architecture: str) -> House:
    return House(architecture, Path(tempfile.mkdtemp(prefix="features-")))


def outcome(architecture: str, feature: str) -> str:
    """What the cell says: yes, or no where it is refused; what fails raises."""
    try:
        FEATURES[feature](house(architecture))
    except SetupError as error:
        return "refused" if error.hint else "refused, and nothing says what would be accepted"
    return "yes"


def page() -> str:
    return (Path(__file__).parents[2] / "docs" / "features.md").read_text(encoding="utf-8")


def cells() -> dict[tuple[str, str], str]:
    """(architecture, feature) to what the page says of it."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page().splitlines() if line[:1] == "|"]
    names = [cell.strip("`") for cell in rows[0][1:]]
    return {(name, row[0]): cell for row in rows[2:] for name, cell in zip(names, row[1:], strict=True)}


def table() -> str:
    lines = ["| | " + " | ".join(f"`{name}`" for name in FAMILIES) + " |", "|---" * (len(FAMILIES) + 1) + "|"]
    for feature in FEATURES:
        lines.append(f"| {feature} | " + " | ".join(outcome(name, feature) for name in FAMILIES) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    assert sorted(FAMILIES) == sorted(ARCHITECTURES)
    sys.stdout.write(page().partition("\n|")[0].rstrip() + "\n\n" + table() + "\n")
