"""How a budget is said to `colonnade keys`."""

from __future__ import annotations

import pytest
from command_line import Run

SAID = ["keys", "limit", "crm", "--budget"]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["2m/month"], "go together"),
        (["none", "--budget-fails", "open"], "go together"),
        (["2M/year", "--budget-fails", "open"], "2m/month or 50k/day"),
        (["much/day", "--budget-fails", "open"], "2m/month or 50k/day"),
    ],
)
def test_what_is_no_budget(run: Run, words: list[str], why: str) -> None:
    done = run(*SAID, *words)
    assert done.exit_code == 2
    assert why in " ".join(done.stderr.split())
