"""`colonnade doctor`: what this machine has and lacks, and how to mend it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from colonnade.cli.command import Command
from colonnade.cli.session import Session
from colonnade.cli.settings_options import given, setting_options

if TYPE_CHECKING:
    from colonnade.cli.checks import Finding

MARKS = {"ok": "ok  ", "warn": "warn", "fail": "FAIL"}


@click.command(
    cls=Command,
    examples=(
        "colonnade doctor",
        "colonnade doctor --json | jq '.[] | select(.status == \"fail\")'",
        "colonnade doctor colonnade-tiny  # would it fit, on which device, with how much context",
        "colonnade doctor org/name --kv-tokens 32K  # on a hub: looked at without fetching its weights",
    ),
)
@click.argument("model", metavar="[PATH_OR_NAME]", required=False)
@setting_options(
    *("engine.device", "engine.kernels", "engine.quantize", "engine.kv_dtype"),
    *("engine.kv_memory", "engine.kv_tokens", "engine.max_context"),
)
@click.pass_context
def doctor(context: click.Context, model: str | None, **options: Any) -> None:
    """Check this machine, or whether a model can be served on it, and say how to mend what is wrong.

    With PATH_OR_NAME (as `serve` takes it) nothing of this machine is checked but its memory: the model's files, and
    whether its weights, keys and values and context fit the memory of the CPU and of each GPU, and what would. Exits
    with 1 when a check failed; warnings alone do not count. With --json a list of objects with check, status (ok,
    warn, fail), found, fix and figures (bytes and tokens).
    """
    session: Session = context.obj
    findings = _findings(session, model, options)
    if session.as_json:
        session.json(findings)
    else:
        for finding in findings:
            session.data(f"{MARKS[finding.status]}  {finding.check:12}  {finding.found}")
            if finding.fix:
                session.data(f"{'':20}fix: {finding.fix}")
    if any(finding.status == "fail" for finding in findings):
        context.exit(1)


def _findings(session: Session, model: str | None, options: dict[str, Any]) -> list[Finding]:
    if model is None:
        from colonnade.cli.checks import examine

        return examine(session)
    from colonnade.cli.weighing import weigh

    return weigh(model, session.settings(given(options)))
