"""`colonnade bench peers`: our engine beside other engines."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from colonnade.cli.command import Command
from colonnade.cli.session import Session

if TYPE_CHECKING:
    from colonnade.bench.peers.report import Report
    from colonnade.bench.peers.run import Plan

NAMES = ("transformers", "llama.cpp", "openvino")
PRECISIONS = ("fp32", "int8")


def _count(name: str, default: int, text: str, least: int = 1) -> Any:
    return click.option(name, type=click.IntRange(least), default=default, show_default=True, metavar="N", help=text)


@click.command(
    cls=Command,
    examples=(
        "colonnade bench peers --engine  # the shipped model, every peer, both precisions",
        "colonnade bench peers --engine --model qwen3-0.6b --json peers.json  # random weights of that shape",
        "colonnade bench peers --engine --peer llama.cpp --precision int8 --rounds 3",
    ),
)
@click.option("--engine", is_flag=True, help="Compare engines, each in its process: tokens in, tokens out.")
@click.option(
    "--model",
    metavar="PATH_OR_NAME",
    default="colonnade-tiny",
    show_default=True,
    help="A Llama or Qwen3 of float32, or qwen3-0.6b: random weights.",
)
@_count("--layers", 28, "Of qwen3-0.6b.")
@click.option(
    "--peer", "peers", multiple=True, type=click.Choice(NAMES), help="Only this one beside ours; again for more."
)
@click.option("--precision", "precisions", multiple=True, type=click.Choice(PRECISIONS), help="Only this one.")
@_count("--rounds", 5, "How often each has its turn.")
@click.option("--threads", type=click.IntRange(1), metavar="N", help="Of every engine [the cores].")
@_count("--groups", 8, "serve: groups that share a prefix.")
@_count("--prompts", 16, "serve: prompts of a group.")
@_count("--prefix", 512, "serve: tokens of a prefix.")
@_count("--fresh", 64, "serve: tokens of a prompt behind it.")
@_count("--output", 64, "serve: tokens out of each prompt.")
@_count("--together", 16, "serve: prompts at a time.")
@_count("--decode", 64, "decode: tokens out, at batch 1 and 4.", least=2)
@_count("--prefill", 1024, "prefill: tokens in.")
@_count("--seed", 0, "Of the prompts.", least=0)
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    default=1800.0,
    show_default=True,
    metavar="S",
    help="Of one workload, and of an installation.",
)
@click.option("--probe/--no-probe", default=True, help="Measure the machine before and after.")
@click.option(
    "--json",
    "written",
    metavar="OUT",
    type=click.Path(path_type=Path, allow_dash=True),
    help="Write the report; - is stdout.",
)
@click.pass_obj
def peers(session: Session, **options: Any) -> None:
    """Measure our engine beside other engines, in turns.

    Each peer gets an environment of its own under HOME/cache/peers, the same weights and the same prompts, and a new
    process each turn. One that cannot be installed or fails keeps its row, with the reason.
    """
    from colonnade.bench.peers import table
    from colonnade.cli.reporting import show
    from colonnade.wire.errors import BadSetting

    if not options["engine"]:
        raise BadSetting("nothing says what to compare", hint="`colonnade bench peers --engine` compares engines")
    report = _measure(session, _plan(session, options), options["probe"])
    show(session, report, table.render(report), options["written"])


def _plan(session: Session, options: dict[str, Any]) -> Plan:
    from colonnade.bench.peers.roster import entries
    from colonnade.bench.peers.run import Plan
    from colonnade.bench.peers.workloads import Sizes

    sizes = Sizes(**{name: options[name] for name in Sizes.__struct_fields__})
    chosen = entries(options["peers"], options["precisions"])
    threads = options["threads"] or os.cpu_count() or 1
    scratch = session.home / "cache/peers"
    what = (options["model"], options["layers"], tuple(chosen), sizes)
    return Plan(*what, options["rounds"], threads, options["seed"], scratch.absolute(), options["timeout"])


def _measure(session: Session, plan: Plan, probe: bool) -> Report:
    from datetime import UTC, datetime

    from colonnade import __version__
    from colonnade.bench.peers.report import Report, rows
    from colonnade.bench.peers.run import Comparison
    from colonnade.bench.probe import Machine, measure
    from colonnade.cli.phases import Phases

    def machine() -> Machine:
        return measure((plan.threads,)) if probe else Machine(note="the machine was not probed (--no-probe)")

    phases, comparison = Phases(session.quiet), Comparison(plan, session.progress)
    with phases("environments and weights"):
        comparison.prepare()
    before, started = machine(), datetime.now(UTC).isoformat(timespec="seconds")
    with phases("turns"):
        comparison.measure()
    found = rows(plan.entries, comparison.found)
    facts = (plan.model, plan.threads, plan.rounds, plan.seed, plan.sizes, started, __version__)
    return Report(*facts, before, machine(), found)
