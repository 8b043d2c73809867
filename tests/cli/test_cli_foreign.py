"""`colonnade serve` with another engine's server: what it says about a command line that cannot be."""

from __future__ import annotations

import pytest
from command_line import Run


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 2, "Missing argument 'PATH_OR_NAME'"),
        (("--engine-url", "nonsense"), 1, "engine_url 'nonsense' is not the URL of a server"),
        (("model", "--engine-command", "serve it"), 1, "engine_command is set, and engine_url is not"),
        (("--engine-url", "http://127.0.0.1:9", "--engine-kind", "other"), 1, "engine_kind"),
        (("--engine-url", "http://127.0.0.1:9", "--engine-events", "odd"), 1, "engine_events 'odd' is no endpoint"),
    ],
)
def test_what_cannot_be(run: Run, words: tuple[str, ...], code: int, said: str) -> None:
    result = run("serve", "--port", "0", *words)
    assert said in result.output
    assert result.exit_code in (code, 2)
