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
        "colonnade fleet simulate rates.csv --learn 7d --start 30s  # how many replicas, by each rule",
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
@click.option(
    "--lengths",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Lengths of a trace of rates [beside it].",
)
@click.option(
    "--start",
    "starts",
    multiple=True,
    metavar="TIME",
    default=("5s", "30s", "120s"),
    show_default=True,
    help="How long a replica starts; may be repeated.",
)
@click.option(
    "--learn", metavar="TIME", default="7d", show_default=True, help="Of a trace of rates, what is not scored."
)
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
    lengths: Path | None,
    starts: tuple[str, ...],
    learn: str,
    seed: int,
) -> None:
    """Replay a trace on a virtual clock, with models of replicas: of requests for routing, of rates for scaling.

    RULE is a value of gateway.policy, or sglang, sglang_first, dynamo: the rules of other routers, to compare with. The
    figures are those of a model: prompts one after the other at --prefill, and a cache of whole blocks.

    Of a trace of rates (ServeGen's) RULE says how many replicas there are: colonnade, forecast, knative,
    ray_serve. Each has its target chosen on the days of --learn, for 99 % of the requests within 2 s to the first token
    and 50 ms between tokens (95th percentiles), and is scored on the rest beside an oracle of full foresight.
    """
    from colonnade.bench.trace import detect

    if detect(trace.read_text(encoding="utf-8")) == "servegen":
        _scaled(session, trace, lengths, rules, starts, learn, prefill, seed)
    else:
        _routed(session, trace, rules, replicas, sizes, prefill, pace, seed)


def _scaled(
    session: Session,
    trace: Path,
    lengths: Path | None,
    rules: tuple[str, ...],
    starts: tuple[str, ...],
    learn: str,
    prefill: float,
    seed: int,
) -> None:
    import msgspec

    from colonnade.bench.servegen import parse_lengths, parse_rates
    from colonnade.bench.workload import beside
    from colonnade.simulate.demand import Slo, demand
    from colonnade.simulate.replica import Speed
    from colonnade.simulate.scalers import RULES
    from colonnade.simulate.scaling import ScalingResult, score

    if wrong := set(rules) - set(RULES):
        raise BadSetting(f"there is no rule {min(wrong)!r} to scale by", hint=f"accepted: {', '.join(RULES)}")
    rates = parse_rates(trace.read_text(encoding="utf-8"))
    known = parse_lengths((lengths or beside(trace)).read_text(encoding="utf-8"))
    asked, slo, split = demand(rates, known, Speed(prefill=prefill), Slo(), seed), Slo(), units.DURATION.parse(learn)
    if not 0 < split < asked.seconds:
        raise BadSetting(f"the trace is {asked.seconds:g} s long, and {split:g} s are to learn", hint="--learn 1d")
    found: list[ScalingResult] = []
    for start in starts:
        for rule in rules or RULES:
            session.talk(f"{rule}, {start} to start")
            found.append(score(rule, asked, split, units.DURATION.parse(start), slo))
    session.listing(ScalingResult.__struct_fields__, [msgspec.to_builtins(each) for each in found])


def _routed(
    session: Session,
    trace: Path,
    rules: tuple[str, ...],
    replicas: int,
    sizes: tuple[str, ...],
    prefill: float,
    pace: float,
    seed: int,
) -> None:
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
