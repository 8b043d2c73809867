"""Peers beside ours, for real: processes, small models, and peers that cannot run."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from colonnade.bench.peers import environment, weights
from colonnade.bench.peers.environment import Unavailable, last_line
from colonnade.bench.peers.figures import agreement, fault
from colonnade.bench.peers.process import running
from colonnade.bench.peers.report import rows
from colonnade.bench.peers.roster import PEERS, Entry, Peer
from colonnade.bench.peers.run import Comparison, Plan
from colonnade.bench.peers.workloads import NAMES, Sizes, warm_up, workloads
from colonnade.engine.folder import ModelFolder

SMALL = Sizes(groups=2, prompts=2, prefix=16, fresh=4, output=3, together=3, decode=4, prefill=24)
OURS = PEERS[0]
HERE = Peer("transformers", "peer_transformers.py", (), {"fp32": ""})
"""The library is in the environment of the tests."""
THIN = {"hidden_size": 64, "intermediate_size": 96, "head_dim": 16, "num_attention_heads": 4, "num_key_value_heads": 2}


def plan(model: str, scratch: Path, *peers: Peer, timeout: float = 300.0) -> Plan:
    return Plan(model, 2, tuple(Entry(peer, "fp32") for peer in peers), SMALL, 1, 1, 0, scratch, timeout)


def asked(folder: Path, scratch: Path, gguf: str = "") -> dict[str, object]:
    return {
        "folder": str(folder),
        "gguf": {"F32": gguf},
        "precision": "fp32",
        "threads": 1,
        "together": 4,
        "cache_tokens": SMALL.cache_tokens,
        "scratch": str(scratch),
    }


def test_ours_and_transformers_answer_alike_with_random_weights(tmp_path: Path) -> None:
    folder = tmp_path / "thin"
    folder.mkdir()
    weights.write_random(folder, {**weights.SHAPE, **THIN, "num_hidden_layers": 2, "vocab_size": 1024})
    said: list[str] = []
    comparison = Comparison(plan(str(folder), tmp_path / "scratch", OURS, HERE), said.append)
    comparison.prepare()
    comparison.measure()
    ours, theirs = rows([Entry(OURS, "fp32"), Entry(HERE, "fp32")], comparison.found)
    assert (ours.failed, theirs.failed) == ("", "")
    assert set(ours.speeds) == set(theirs.ours_over) == set(NAMES)
    assert len(theirs.speeds["serve"].values) == 1
    assert theirs.agrees == 1.0
    assert said == ["round 1 of 1: colonnade fp32", "round 1 of 1: transformers fp32"]


def test_llama_cpp_answers_like_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "gateway"))
    write_gguf = importlib.import_module("llamacpp_server").write_gguf
    folder, log, work = ModelFolder.open("colonnade-tiny").path, tmp_path / "log", warm_up(0)
    write_gguf(folder, tmp_path / "tiny.gguf")
    what = asked(folder, tmp_path, str(tmp_path / "tiny.gguf"))
    with running(Path(sys.executable), OURS.script, what, log, 300) as peer:
        ours = peer.work(work)
    with running(Path(sys.executable), "peer_llamacpp.py", what, log, 300) as peer:
        theirs = peer.work(work)
        assert fault(work, theirs) == ""
        for each in workloads(SMALL, 0, 0):
            assert fault(each, peer.work(each)) == ""
    assert agreement(ours, theirs) >= 0.5  # other sums: where two tokens are nearly as likely, it may take the other


def test_what_cannot_be_installed_or_run_keeps_its_row(tmp_path: Path) -> None:
    crash, mute = tmp_path / "crash.py", tmp_path / "mute.py"
    crash.write_text("raise SystemExit('no such instruction')")
    mute.write_text("import sys; sys.stdin.read()")
    peers = (
        Peer("absent", "none.py", (str(tmp_path / "nowhere"),), {"fp32": ""}),
        Peer("crash", str(crash), (), {"fp32": ""}),
    )
    comparison = Comparison(plan("colonnade-tiny", tmp_path, *peers), lambda text: None)
    comparison.prepare()
    comparison.measure()
    assert "cannot be installed" in comparison.found["absent fp32"].failed
    assert comparison.found["crash fp32"].failed == "it ended (1): no such instruction"
    silent = Peer("mute", str(mute), (), {"fp32": ""})
    comparison = Comparison(plan("colonnade-tiny", tmp_path, silent, timeout=0.5), lambda text: None)
    comparison.prepare()
    comparison.measure()
    assert comparison.found["mute fp32"].failed == "no answer within 0.5 s"


def test_an_environment_is_made_once(tmp_path: Path) -> None:
    python = tmp_path / "env/bin/python"
    (tmp_path / "env").mkdir()
    (tmp_path / "env/packages.txt").write_text("one==1\n")
    assert environment.python(tmp_path / "env", ("one==1",), 1.0) == python
    with pytest.raises(Unavailable, match="longer than"):
        environment.python(tmp_path / "env", ("two==2",), 1e-6)
    assert last_line("a\n b \n\n") == "b"
    assert last_line("") == "it said nothing"


def test_weights_that_nobody_can_write(tmp_path: Path) -> None:
    shipped = ModelFolder.open("colonnade-tiny").path
    with pytest.raises(Unavailable, match="cannot be written"):
        weights.gguf(Path(sys.executable), shipped, "F32", tmp_path, 300)
    with pytest.raises(Unavailable, match="to write"):
        weights.gguf(Path(sys.executable), shipped, "F32", tmp_path, 1e-6)


def test_random_weights_are_written_once_and_fit_float16(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from safetensors.numpy import load_file

    for name, value in {**THIN, "vocab_size": 1024}.items():
        monkeypatch.setitem(weights.SHAPE, name, value)
    folder = weights.folder(weights.RANDOM, 1, tmp_path)
    assert weights.folder(weights.RANDOM, 1, tmp_path) == folder
    for array in load_file(folder / "model.safetensors").values():
        assert (array.astype("float16").astype("float32") == array).all()
