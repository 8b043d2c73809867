"""Models from outside the package: the example of docs/models.md, and registrations that cannot be used."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from pathlib import Path

import pytest
import tiny_families

from colonnade.engine.folder import ModelFolder
from colonnade.engine.models.decoder import Decoder
from colonnade.engine.models.llama import Llama
from colonnade.engine.models.registry import GROUP, architectures, model_class
from colonnade.wire.errors import BadModel

SECTION = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8").split("\n## A model of")[1]


def block(language: str) -> str:
    return re.findall(rf"^```{language}\n(.*?)^```", SECTION, re.DOTALL | re.MULTILINE)[0]


def register(site: Path, package: str, **models: str) -> None:
    """As pip leaves it behind."""
    about = site / f"{package}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n", encoding="utf-8")
    lines = [f"[{GROUP}]", *(f"{name} = {value}" for name, value in models.items())]
    (about / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "alternating", raising=False)
    return folder


def test_the_documented_example(tmp_path: Path, site: Path) -> None:
    """It is what transformers calls Qwen2 with these layer types."""
    (site / "alternating.py").write_text(block("python"), encoding="utf-8")
    register(site, "alternating", **tomllib.loads(block("toml"))["project"]["entry-points"][GROUP])
    kinds = ["full_attention", "sliding_attention", "full_attention"]
    windows = {"use_sliding_window": True, "sliding_window": 20, "layer_types": kinds}
    tiny = tiny_families.make(tmp_path / "model", "Qwen2", **windows | {"head_dim": 8})
    config = json.loads((tiny.folder / "config.json").read_text(encoding="utf-8"))
    own = {"architectures": ["AlternatingForCausalLM"]}
    (tiny.folder / "config.json").write_text(json.dumps(config | own), encoding="utf-8")
    assert ModelFolder.open(tiny.folder).architecture == "AlternatingForCausalLM"
    assert tiny_families.parity(tiny, "native") < 1e-4


def test_the_documented_members_are_those_of_a_decoder() -> None:
    named = [cell for cell in re.findall(r"^\| `(\w+)", SECTION, re.MULTILINE) if cell != "member"]
    config = {"hidden_size": 8, "vocab_size": 9, "intermediate_size": 8, "num_hidden_layers": 1}
    model = Llama(config | {"num_attention_heads": 2})
    assert isinstance(model, Decoder)
    assert all(hasattr(model, name) for name in named)
    assert len(named) == 7


def test_a_built_in_model_stays_what_it_is(site: Path) -> None:
    register(site, "usurper", LlamaForCausalLM="alternating:Alternating")
    assert model_class("LlamaForCausalLM") is Llama


def test_two_models_of_one_name_are_refused(site: Path) -> None:
    register(site, "one", TwiceForCausalLM="one:Model")
    register(site, "two", TwiceForCausalLM="two:Model")
    assert architectures().count("TwiceForCausalLM") == 1
    with pytest.raises(BadModel, match="2 models are registered as TwiceForCausalLM: one:Model, two:Model"):
        model_class("TwiceForCausalLM")


@pytest.mark.parametrize("value", ["missing_module:Model", "broken:Model", "json:Model"])
def test_a_model_that_cannot_be_imported_is_named(site: Path, value: str) -> None:
    (site / "broken.py").write_text("raise RuntimeError('no licence')", encoding="utf-8")
    register(site, "bad", BadForCausalLM=value)
    with pytest.raises(BadModel, match=f"{value} for BadForCausalLM cannot be loaded") as caught:
        model_class("BadForCausalLM")
    assert GROUP in caught.value.hint
