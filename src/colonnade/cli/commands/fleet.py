"""`colonnade fleet`: what a fleet does and did, and what it would do."""

from __future__ import annotations

from pathlib import Path

import click

from colonnade.cli.command import Command, Group
from colonnade.cli.session import Session
from colonnade.wire import units
from colonnade.wire.errors import BadSetting


@click.group(
    cls=Group,
    lazy={
        "plan": ("colonnade.cli.commands.plan:plan", "Say what a change would do, before it is made."),
        "clusters": ("colonnade.cli.commands.clusters:clusters", "List the clusters, and whether they are heard."),
        "tokens": (
            "colonnade.cli.commands.tokens:tokens",
            "Create, list, rotate and revoke tokens of the control plane.",
        ),
        "cost": ("colonnade.cli.commands.cost:cost", "Show what was used, and what it cost."),
        "events": ("colonnade.cli.commands.events:events", "List what the fleet decided and what happened, and why."),
    },
    examples=(
        "colonnade fleet events --since 1h  # what happened, and why",
        "colonnade fleet simulate trace.jsonl --rule cost --rule round_robin  # the gateway on a virtual clock",
    ),
)
def fleet() -> None:
    """See what the fleet does and why; try one on a virtual clock."""


@fleet.command(
    cls=Command,
    examples=(
        "colonnade fleet simulate trace.jsonl --replicas 8 --cache-tokens 1M",
        "colonnade fleet simulate trace.jsonl --rule cost --rule sglang --rule dynamo --json",
    ),
)
@click.argument("trace", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--rule", "rules", multiple=True, metavar="RULE", help="Rule to route by; may be repeated [all].")
@click.option("--replicas", type=click.IntRange(1), default=8, show_default=True, metavar="N", help="Replicas.")
@click.option(
    "--cache-tokens", "sizes", multiple=True, metavar="N", default=("1M",), show_default=True, help="Each one's cache."
)
@click.option(
    "--prefill", type=click.FloatRange(1), default=8000.0, show_default=True, metavar="X", help="Tokens a second."
)
@click.option("--pace", type=click.FloatRange(0, min_open=True), default=1.0, metavar="F", help="Times the trace's.")
@click.option("--seed", type=click.IntRange(0), default=0, metavar="N", help="Of what rules leave to chance.")
@click.pass_obj
def simulate(
    session: Session,
    trace: Path,
    rules: tuple[str, ...],
    replicas: int,
    sizes: tuple[str, ...],
    prefill: float,
    pace: float,
    seed: int,
) -> None:
    """Replay a trace through the gateway's routing on a virtual clock, with models of replicas.

    RULE is a value of gateway.policy, or sglang, sglang_first, dynamo: the rules of other routers, to compare with. The
    figures are those of a model: prompts one after the other at --prefill, and a cache of whole blocks.
    """
    import msgspec

    from colonnade.bench.trace import parse
    from colonnade.simulate.arrival import Arrival
    from colonnade.simulate.fleet import RULES, Fleet
    from colonnade.simulate.replica import Speed
    from colonnade.simulate.report import Result, result

    arrivals = [
        Arrival(each.at / pace, each.prompt, each.output, each.blocks)
        for each in parse(trace.read_text(encoding="utf-8"))
    ]
    if not arrivals:
        raise BadSetting(f"{trace} has no requests", hint="name another trace")
    found: list[Result] = []
    for size in sizes:
        tokens = units.COUNT.parse(size)
        for rule in rules or RULES:
            session.talk(f"{rule}, {size} tokens of cache")
            served = Fleet(rule, replicas, tokens, Speed(prefill=prefill), seed).run(arrivals)
            found.append(result(rule, replicas, tokens, served))
    session.listing(Result.__struct_fields__, [msgspec.to_builtins(each) for each in found])
