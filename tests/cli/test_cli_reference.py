"""The page of the command line is the commands' own."""

from __future__ import annotations

from pathlib import Path

from colonnade.cli.reference import page


def test_the_page_is_made_from_the_commands() -> None:
    """Mend it with `python -m colonnade.cli.reference > docs/cli.md`."""
    assert Path(__file__).parents[2].joinpath("docs", "cli.md").read_text(encoding="utf-8") == page()
