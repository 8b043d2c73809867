"""`colonnade fleet cost`: what was used, and what it cost."""

from __future__ import annotations

import csv
import io
from typing import Any

import click

from colonnade.cli.command import Command
from colonnade.cli.session import Session

FIGURES = ("replica_seconds", "unit_seconds", "cost", "prompt_tokens", "completion_tokens", "budget")


@click.command(
    cls=Command,
    examples=(
        "colonnade fleet cost --by deployment,cluster --since 30d",
        "colonnade fleet cost --by key --since 1d --csv > tokens.csv",
    ),
)
@click.option(
    "--by",
    default="deployment",
    show_default=True,
    metavar="WHAT,…",
    help="What to tell apart: deployment, cluster, key, resource, owner, price, version.",
)
@click.option("--since", metavar="AGO", help="Only what was used since: 12h, 30d [all].")
@click.option("--csv", "as_csv", is_flag=True, help="As comma-separated values.")
@click.pass_obj
def cost(session: Session, by: str, since: str | None, as_csv: bool) -> None:
    """Show what was used, and what it cost.

    Replicas' time has no key, and tokens no cluster: those cells are empty. UNIT SECONDS are seconds times what a
    replica takes; COST is these times the price that its cluster had then, by the hour. By
    key alone, or by deployment alone, BUDGET says how far the budget is used in its own day or month.
    """
    from colonnade.cli.commands.events import ago
    from colonnade.cli.control import open_control
    from colonnade.cli.home import Home

    told = open_control(Home(session.home)).cost(by, ago(since))
    columns = (*(each for each in by.split(",") if each), *FIGURES)
    rows = [{**each.pop("group"), **each} for each in told]
    if as_csv and not session.as_json:
        session.data(_csv(columns, rows))
    elif session.as_json:
        session.json(rows)
    else:
        session.listing(columns, [_rounded(each) for each in rows])


def _csv(columns: tuple[str, ...], rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().rstrip("\n")


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    return {name: f"{value:.2f}" if isinstance(value, float) else value for name, value in row.items()}
