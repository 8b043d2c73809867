"""The training loop: a budget of minutes, checkpoints to resume from, and a folder that transformers loads."""

import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from colonnade_tiny import batches
from colonnade_tiny.muon import Muon
from colonnade_tiny.tokens import train_tokenizer, wrap

WARM_UP_STEPS = 50
COOL_DOWN_FROM = 0.55
SAVE_EVERY_SECONDS = 180
REPORT_EVERY_STEPS = 25


@dataclass(frozen=True)
class Plan:
    """What was asked for on the command line."""

    out: Path
    minutes: float
    seed: int
    start: Path | None = None
    """A folder whose weights and tokenizer to go on from, instead of from nothing."""
    matrix_rate: float = 0.003
    vector_rate: float = 0.0018


@dataclass
class Progress:
    """How far a run has come; kept in the checkpoint."""

    pool: int = 0
    step: int = 0
    tokens: int = 0
    seconds: float = 0.0


class Design(Protocol):
    """What a model brings to its training: a module of functions, such as `network`."""

    STAGES: batches.Stages

    def build(self, tokenizer: PreTrainedTokenizerFast, seed: int) -> Any:
        """The untrained `torch.nn.Module`."""

    def load(self, model: Any, folder: Path) -> None:
        """Take over the weights of a model folder."""

    def loss(self, model: Any, ids: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What to descend, and what to report."""

    def settle(self, model: Any) -> None:
        """What is left to do after a step."""

    def save(self, model: Any, folder: Path) -> None:
        """Write weights and configuration as transformers loads them."""


class Run:
    """One training run, new or taken up from its checkpoint."""

    def __init__(self, plan: Plan, design: Design) -> None:
        self.plan, self.design, self.progress = plan, design, Progress()
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.half = self.device == "cuda" or torch.cpu._is_amx_tile_supported()
        self.tokenizer = _tokenizer(plan)
        self.model = design.build(self.tokenizer, plan.seed)
        if plan.start:
            design.load(self.model, plan.start)
            self.progress.pool = design.STAGES[-1][0]
        self.model.to(self.device)
        matrices, vectors = _sorted_parameters(self.model)
        self.optimizers = [
            Muon(matrices, lr=plan.matrix_rate),
            torch.optim.AdamW(vectors, lr=plan.vector_rate, betas=(0.9, 0.98), weight_decay=0.0),
        ]
        self.peaks = [plan.matrix_rate, plan.vector_rate]
        self._resume()

    def train(self) -> None:
        """Step until the minutes are spent, saving on the way."""
        budget, spent, recent = self.plan.minutes * 60, self.progress.seconds, []
        start, saved = self._clock(), time.monotonic()
        drawn = batches.stream(self.tokenizer, self.plan.seed, self.progress.pool, self.design.STAGES)
        for pool, (ids, labels) in drawn:
            self._set_rates(self.progress.seconds / budget)
            recent.append(self._step(ids, labels))
            self.progress.pool, self.progress.seconds = pool, spent + self._clock() - start
            if self.progress.step % REPORT_EVERY_STEPS == 0:
                self._report(recent)
                recent.clear()
            if self.progress.seconds >= budget:
                break
            if time.monotonic() - saved > SAVE_EVERY_SECONDS:
                self.save()
                saved = time.monotonic()
        self.save()

    def save(self) -> None:
        """Write the model folder, and beside it what resuming needs; a reader never sees half a file."""
        folder = self.plan.out
        folder.mkdir(parents=True, exist_ok=True)
        self._save_folder(folder)
        state = {
            "model": self.model.state_dict(),
            "optimizers": [each.state_dict() for each in self.optimizers],
            "progress": asdict(self.progress),
        }
        part = _checkpoint(folder).with_suffix(".part")
        torch.save(state, part)
        os.replace(part, _checkpoint(folder))

    def _clock(self) -> float:
        """On a CPU the time that its threads got, so that a busy machine ends with the same model, only later."""
        return time.process_time() / torch.get_num_threads() if self.device == "cpu" else time.monotonic()

    def _resume(self) -> None:
        if not _checkpoint(self.plan.out).exists():
            return
        state = torch.load(_checkpoint(self.plan.out), map_location=self.device)
        self.model.load_state_dict(state["model"])
        for optimizer, kept in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(kept)
        # The pool under way is left behind: no example comes twice.
        self.progress = Progress(**state["progress"] | {"pool": state["progress"]["pool"] + 1})

    def _step(self, ids: torch.Tensor, labels: torch.Tensor) -> float:
        # Without matrix units for it, bfloat16 took 14 times as long as float32.
        with torch.autocast(self.device, dtype=torch.bfloat16, enabled=self.half):
            total, loss = self.design.loss(self.model, ids.to(self.device), labels.to(self.device))
        total.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        self.design.settle(self.model)
        self.progress.step += 1
        self.progress.tokens += ids.numel()
        return loss.item()

    def _set_rates(self, share: float) -> None:
        """Warm up by steps, hold, then fall linearly with the clock, so that a slow machine cools down as well."""
        warm = min(1.0, (self.progress.step + 1) / WARM_UP_STEPS)
        cool = min(1.0, max(0.01, (1 - share) / (1 - COOL_DOWN_FROM)))
        for optimizer, peak in zip(self.optimizers, self.peaks, strict=True):
            optimizer.param_groups[0]["lr"] = peak * warm * cool

    def _save_folder(self, folder: Path) -> None:
        """The Hugging Face folder: written beside and moved in file by file, weights last."""
        beside = folder.with_name(folder.name + ".part")
        self.design.save(self.model, beside)
        self.tokenizer.save_pretrained(beside)
        _name_the_class(beside / "tokenizer_config.json")
        for file in sorted(beside.iterdir(), key=lambda file: file.suffix == ".safetensors"):
            os.replace(file, folder / file.name)
        beside.rmdir()

    def _report(self, recent: list[float]) -> None:
        print(json.dumps(asdict(self.progress) | {"loss": round(sum(recent) / len(recent), 4)}), flush=True)


def _name_the_class(path: Path) -> None:
    """The class name that transformers 4 and 5 both know; 5 alone knows the one it writes."""
    settings = json.loads(path.read_text()) | {"tokenizer_class": "PreTrainedTokenizerFast"}
    path.write_text(json.dumps(settings, indent=2) + "\n")


def _tokenizer(plan: Plan) -> PreTrainedTokenizerFast:
    """A run taken up again keeps its tokenizer, even where the templates have changed since."""
    kept = [folder / "tokenizer.json" for folder in (plan.out, plan.start) if folder]
    found = next((file for file in kept if file.exists()), None)
    return wrap(Tokenizer.from_file(str(found))) if found else train_tokenizer(plan.seed)


def _sorted_parameters(model: torch.nn.Module) -> tuple[list[torch.nn.Parameter], list[torch.nn.Parameter]]:
    """The matrices inside the layers, which Muon updates, and the rest: embeddings, norms and routers."""
    named = list(model.named_parameters())
    inner = {name for name, p in named if p.ndim >= 2 and "layers" in name and not name.endswith("gate.weight")}
    return [p for name, p in named if name in inner], [p for name, p in named if name not in inner]


def _checkpoint(folder: Path) -> Path:
    return folder.with_name(folder.name + ".checkpoint.pt")
