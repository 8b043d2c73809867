"""The job that structured output is for: the shipped model reads notes under their schema as well as without one."""

from __future__ import annotations

import json

from colonnade_tiny import notes
from colonnade_tiny.corpus import heldout
from test_jump_forward import NOTES
from tokenizers import Tokenizer

from colonnade.engine.config import EngineConfig
from colonnade.engine.folder import ModelFolder
from colonnade.engine.scheduler import Scheduler
from colonnade.engine.worker import load_worker
from colonnade.wire.messages import Grammar, Sampling, Submit

COUNT = 8


def test_notes_are_read_under_their_schema_as_well_as_without() -> None:
    folder, config = ModelFolder.open("colonnade-tiny"), EngineConfig(kv_tokens=8192, threads=1, max_running=2 * COUNT)
    loaded, tokenizer = load_worker(folder, config), Tokenizer.from_file(str(folder.tokenizer_path))
    scheduler = Scheduler(config.limits(pages=loaded.pages, max_context=loaded.max_context, vocab_size=1024))
    wanted = []
    for number, example in enumerate(heldout(7, "notes", COUNT)):
        *asked, answer = example.messages
        wanted.append(json.loads(str(answer["content"])))
        text = "".join(f"<|im_start|>{each['role']}\n{each['content']}<|im_end|>\n" for each in asked)
        prompt = tokenizer.encode(text + "<|im_start|>assistant\n").ids
        for held, grammar in (("free", None), ("held", Grammar("json_schema", json.dumps(NOTES)))):
            how = Sampling(temperature=0.0, max_tokens=112, stop_token_ids=(2,), grammar=grammar)
            assert scheduler.submit(Submit(f"{held} {number}", prompt, how)) is None
    found: dict[str, list[int]] = {}
    while (step := scheduler.plan()) is not None:
        for delta in scheduler.commit(loaded.worker.run(step)):
            found.setdefault(delta.key, []).extend(delta.tokens)

    def right(held: str) -> int:
        texts = [tokenizer.decode(found[f"{held} {number}"]) for number in range(COUNT)]
        said = [json.loads(text) if held == "held" or text.startswith("{") else {} for text in texts]
        assert held == "free" or all(each.keys() == set(notes.FIELDS) for each in said)
        pairs = [(one.get(name, ...), other[name]) for one, other in zip(said, wanted, strict=True) for name in other]
        return sum(one == other for one, other in pairs)

    assert right("held") >= right("free")
    assert right("held") >= 0.9 * COUNT * len(notes.FIELDS)
