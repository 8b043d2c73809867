"""Commands as people run them, in this process."""

from __future__ import annotations

from click.testing import CliRunner, Result

from colonnade.cli import cli


class Run:
    """Runs a command line to its exit code; anything else that comes out is a defect."""

    def __call__(self, *words: str, input: str | None = None) -> Result:
        result = CliRunner().invoke(cli, words, input=input)
        assert isinstance(result.exception, SystemExit | None), result.exc_info
        return result
