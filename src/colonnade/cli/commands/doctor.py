"""`colonnade doctor`: what this machine has and lacks, and how to mend it."""

from __future__ import annotations

import click

from colonnade.cli.command import Command
from colonnade.cli.session import Session

MARKS = {"ok": "ok  ", "warn": "warn", "fail": "FAIL"}


@click.command(
    cls=Command,
    examples=("colonnade doctor", "colonnade doctor --json | jq '.[] | select(.status == \"fail\")'"),
)
@click.pass_context
def doctor(context: click.Context) -> None:
    """Check this machine, and say how to mend what is wrong.

    Exits with 1 when a check failed; warnings alone do not count. With --json a list of objects with check, status
    (ok, warn, fail), found and fix.
    """
    from colonnade.cli.checks import examine

    session: Session = context.obj
    findings = examine(session)
    if session.as_json:
        session.json(findings)
    else:
        for finding in findings:
            session.data(f"{MARKS[finding.status]}  {finding.check:12}  {finding.found}")
            if finding.fix:
                session.data(f"{'':20}fix: {finding.fix}")
    if any(finding.status == "fail" for finding in findings):
        context.exit(1)
