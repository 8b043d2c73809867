"""The medical documents: split, merge and score by themselves, and the whole chain with the shipped model."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from medical.documents import NAMES, Fields, Merged, Note, merge, score, split
from medical.samples import document
from phone.house import started

from colonnade import chains
from colonnade.packages.importing import import_module

CHAIN = Path(__file__).parents[2] / "examples" / "medical_documents" / "documents.py"


def test_a_document_is_its_notes() -> None:
    assert split("# Title\n\n## Note 1\nA.\n\n## Note 12\nB.\nC.\n") == [Note(1, "A."), Note(12, "B.\nC.")]
    assert split("nothing") == []


@given(st.integers(0, 1000), st.integers(1, 8))
def test_every_sample_has_the_notes_it_says(seed: int, count: int) -> None:
    text, truth = document(seed, count)
    assert [note.number for note in split(text)] == list(range(1, count + 1))
    for note, fields in zip(split(text), truth, strict=True):
        assert str(fields.name) in note.text
        assert str(fields.age) in note.text
    assert score(truth, truth).share == 1.0


def test_visits_are_merged_by_patient() -> None:
    first, second, other = (
        Fields("Ada", medication="a", follow_up_days=14),
        Fields("Ada", medication="a", follow_up_days=7),
        Fields("Bob"),
    )
    assert merge([first, other, second]) == [Merged("Ada", [first, second], ["a"], 7), Merged("Bob", [other], [], None)]
    assert merge([Fields()])[0].name == ""


def test_a_score_counts_fields() -> None:
    found = score([Fields("Ada", 3), Fields("Bob")], [Fields("Ada", 4), Fields("Bo")])
    assert (found.right, found.fields) == (10, 12)
    assert (found.by_field["name"], found.by_field["age"]) == ((1, 2), (1, 2))
    assert score([], []).share == 1.0


async def test_the_chain_reads_documents(tmp_path: Path) -> None:
    """Every field is right but a few: docs/chains.md has the share."""
    text, truth = document(1, 12)
    home = str(tmp_path / "home")
    with started("serve", "colonnade-tiny", COLONNADE_HOME=home) as model:
        told = {"MEDICAL_URL": model["url"], "MEDICAL_KEY": model["key"], "COLONNADE_HOME": home}
        with started("chain", "run", str(CHAIN), **told) as running:
            async with chains.connect(running["url"], import_module(CHAIN).Documents) as client:
                answer = await client.call(text, truth, trace=True)
    found = answer.value
    assert found.score.fields == 12 * len(NAMES)
    assert found.score.share >= 0.9
    assert sum(len(patient.visits) for patient in found.patients) == 12
    assert answer.trace is not None
    inner = sorted(answer.trace.inner, key=lambda span: span.start)
    steps = [span.step for span in inner]
    assert (steps.count("Extract"), steps[0], steps[-1]) == (12, "Split", "Grade")
    assert inner[2].start < inner[1].start + inner[1].seconds  # in parallel
