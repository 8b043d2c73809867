"""The real lm-eval asks a replica for log-likelihoods: `python proofs/log_likelihoods.py LM_EVAL [COUNT]`.

LM_EVAL is the program `lm_eval`, in an environment of its own: `pip install 'lm_eval[api]' transformers`. It runs two
tasks over COUNT held-out notes against `/v1/completions` (`--model local-completions`), with the model's tokenizer from
its folder and no network: one chooses among four answers (a log-likelihood each, and whether it is the greedy answer),
one takes whole texts (rolling). First with token ids, eight a request and four requests at once; then with text, one by
one. What it wrote down is compared with transformers here, in float32; exits with 1 where a sum differs by more than
1e-3, or an answer that is not greedy is taken for one, or the other way round.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from colonnade.engine.folder import SHIPPED

sys.path.insert(0, str(Path(__file__).parents[1] / "models" / "colonnade-tiny"))

LIMIT = 1e-3
CHOOSE = """
task: choose
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{query}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: gold
metric_list: [{{metric: acc}}]
"""
WHOLE = """
task: whole
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{{{query}}}}"
metric_list: [{{metric: word_perplexity}}]
"""
WAYS = {
    "token ids, eight a request, four at once": ("num_concurrent=4", "8"),
    "text, one by one": ("tokenized_requests=False", "1"),
}


@contextlib.contextmanager
def replica(folder: Path) -> Iterator[str]:
    """Its URL; its scores are computed in pieces of 13 tokens."""
    process = subprocess.Popen(
        [sys.executable, "-m", "colonnade.replica", "--model", str(folder), "--prefill-chunk=13", "--threads=1"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield json.loads(process.stdout.readline())["url"]
    finally:
        process.stdin.close()
        process.wait(30)


def write_tasks(home: Path, tokenizer: Any, count: int) -> None:
    """Each question is a held-out note; its answers are its own and those of the three notes behind it."""
    from colonnade_tiny.corpus import heldout
    from colonnade_tiny.scoring import turns

    asked = [turn for example in heldout(3, "notes", count) for turn in turns(tokenizer, example)]
    answers = [turn.expected for turn in asked]
    rows = [{"query": turn.prompt, "choices": (answers[at:] + answers)[:4], "gold": 0} for at, turn in enumerate(asked)]
    (home / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name, task in (("choose", CHOOSE), ("whole", WHOLE)):
        (home / f"{name}.yaml").write_text(task.format(file=home / "rows.jsonl"))


def run(program: str, home: Path, folder: Path, url: str, way: tuple[str, str]) -> list[dict[str, Any]]:
    """What lm-eval logged of each question."""
    model = (
        f"model={folder.name},base_url={url}/v1/completions,tokenizer_backend=huggingface,tokenizer={folder},{way[0]}"
    )
    out = Path(tempfile.mkdtemp(dir=home))
    flags = ["--batch_size", way[1], "--include_path", str(home), "--output_path", str(out), "--log_samples"]
    quiet = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(home / "hf")}
    subprocess.run(
        [program, "run", "--model", "local-completions", "--model_args", model, "--tasks", "choose,whole", *flags],
        check=True,
        env=os.environ | quiet,
        stdout=sys.stderr,
    )
    return [json.loads(line) for file in sorted(out.rglob("samples_*.jsonl")) for line in file.open()]


@dataclass
class Reference:
    """Log-likelihoods by transformers."""

    model: Any
    tokenizer: Any

    def ids(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False).input_ids

    def says(self, tokens: list[int], start: int) -> tuple[float, bool]:
        """The sum over the tokens from `start` on, and whether each is the likeliest."""
        with torch.inference_mode():
            logits = self.model(torch.tensor([tokens])).logits[0, start - 1 : -1]
        wanted = torch.tensor(tokens[start:])
        sums = torch.log_softmax(logits.double(), -1).gather(-1, wanted[:, None]).sum()
        return float(sums), bool((logits.argmax(-1) == wanted).all())

    def choice(self, context: str, answer: str) -> tuple[float, bool]:
        """As lm-eval cuts it: blanks at the end of the context belong to the answer."""
        start = len(self.ids(context.rstrip()))
        return self.says(self.ids(context + answer), start)

    def whole(self, text: str) -> tuple[float, bool]:
        first = self.tokenizer.bos_token_id or self.tokenizer.eos_token_id
        return self.says([first, *self.ids(text)], 1)


def compare(samples: list[dict[str, Any]], reference: Reference) -> tuple[int, float, int]:
    """How many log-likelihoods there are, the largest difference, and how many greedy answers are taken for another."""
    number, worst, mistaken = 0, 0.0, 0
    for sample in samples:
        for asked, (said,) in zip(sample["arguments"].values(), sample["resps"], strict=True):
            said = said if isinstance(said, list) else [said, None]
            told = list(asked.values())
            total, greedy = reference.choice(*told) if len(told) == 2 else reference.whole(*told)
            number += 1
            worst = max(worst, abs(float(said[0]) - total))
            mistaken += said[1] is not None and (str(said[1]) == "True") != greedy
    return number, worst, mistaken


def main(program: str, count: int) -> int:
    sound = True
    print(
        "| model | asked with | log-likelihoods | largest difference | greedy answers mistaken |\n|---|---|---|---|---|"
    )
    for folder in (SHIPPED / "colonnade-tiny", SHIPPED / "colonnade-tiny-moe"):
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        with tempfile.TemporaryDirectory() as home, replica(folder) as url:
            write_tasks(Path(home), tokenizer, count)
            for name, way in WAYS.items():
                samples = run(program, Path(home), folder, url, way)
                number, worst, mistaken = compare(samples, Reference(model, tokenizer))
                print(f"| {folder.name} | {name} | {number} | {worst:.1e} | {mistaken} |", flush=True)
                sound &= number == 5 * count and worst <= LIMIT and mistaken == 0
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 20))
