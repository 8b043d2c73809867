"""`colonnade bench`: load from a trace, its report, and the comparison of two."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from colonnade.cli.command import Command, Group
from colonnade.cli.session import Session

if TYPE_CHECKING:
    from colonnade.bench.report import Report
    from colonnade.cli.target import Server


@click.group(
    cls=Group,
    invoke_without_command=True,
    lazy={"peers": ("colonnade.cli.commands.peers:peers", "Measure our engine beside other engines, in turns.")},
    examples=(
        "colonnade bench --requests 50  # the shipped sample of a chat service's hour, at its own pace",
        "colonnade bench --trace trace.jsonl --requests 300 --rate 4 --json report.json",
        "colonnade bench --serve colonnade-tiny --requests 50  # no server yet: start one for the run",
        "colonnade bench compare before.json after.json",
        "colonnade bench peers --engine  # transformers, llama.cpp and OpenVINO beside ours",
    ),
)
@click.option(
    "--trace", metavar="FILE", default="azure", show_default=True, help="Trace, or azure, mooncake, servegen."
)
@click.option("--lengths", metavar="FILE", type=click.Path(path_type=Path), help="Lengths of a ServeGen trace.")
@click.option(
    "--requests", type=click.IntRange(1), default=100, show_default=True, metavar="N", help="Requests to send."
)
@click.option("--rate", type=click.FloatRange(0, min_open=True), metavar="X", help="Poisson arrivals, X a second.")
@click.option(
    "--scale-tokens", type=click.FloatRange(0, min_open=True), default=1.0, metavar="F", help="Times all lengths."
)
@click.option("--seed", type=click.IntRange(0), default=0, metavar="N", help="Of arrivals and tokens.")
@click.option("--timeout", type=click.FloatRange(0, min_open=True), default=600.0, metavar="S", help="Of one request.")
@click.option("--slo-ttft", type=click.FloatRange(0), metavar="S", help="Goodput: first token within S seconds.")
@click.option("--slo-itl", type=click.FloatRange(0), metavar="S", help="Goodput: S seconds a token in the mean.")
@click.option("--url", metavar="URL", help="Server to load [the `up` that runs].")
@click.option("--key", metavar="KEY", help="API key [the local one].")
@click.option("--model", metavar="NAME", help="Model to load [the first that is served].")
@click.option("--serve", metavar="PATH_OR_NAME", help="Start this model for the run, with `colonnade serve`.")
@click.option("--probe/--no-probe", default=True, help="Measure the machine first.")
@click.option(
    "--json",
    "output",
    metavar="OUT",
    type=click.Path(path_type=Path, allow_dash=True),
    help="Write the report; - is stdout.",
)
@click.pass_context
def bench(context: click.Context, **options: Any) -> None:
    """Measure a server under the load of a trace.

    Requests leave at the trace's own moments, or at --rate, whether or not earlier ones were answered. Prompts are
    random tokens of the trace's lengths and shared prefixes. Exits with 1 when a request failed.
    """
    if context.invoked_subcommand is None:
        session: Session = context.obj
        with contextlib.ExitStack() as stack:
            report = _measure(session, stack, options)
        _show(session, report, options["output"])
        if report.requests.failed:
            context.exit(1)


@bench.command(cls=Command, examples=("colonnade bench compare before.json after.json",))
@click.argument("a", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("b", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.pass_obj
def compare(session: Session, a: Path, b: Path) -> None:
    """Print the ratios of two reports, and what makes them hard to compare."""
    from colonnade.bench import compare as comparison

    found = comparison.compare(*(comparison.decode(path.read_bytes(), str(path)) for path in (a, b)))
    for warning in found.warnings:
        session.talk(f"warning: {warning}")
    session.json(found) if session.as_json else session.data(comparison.render(found))


def _measure(session: Session, stack: contextlib.ExitStack, options: dict[str, Any]) -> Report:
    import asyncio

    from colonnade.bench import workload
    from colonnade.bench.probe import Machine, measure
    from colonnade.cli.phases import Phases

    phases = Phases(session.quiet)
    with phases("trace read"):
        wanted = (options["requests"], options["rate"], options["seed"], options["lengths"])
        work = workload.load(options["trace"], *wanted)
    machine = Machine(note="the machine was not probed (--no-probe)")
    if options["probe"]:
        with phases("machine probed"):
            machine = measure()
    server = _server(session, stack, options)
    return asyncio.run(_load(session, phases, work, server, machine, options))


def _server(session: Session, stack: contextlib.ExitStack, options: dict[str, Any]) -> Server:
    from colonnade.cli.target import find
    from colonnade.wire.errors import BadSetting

    if not options["serve"]:
        return find(session, options["url"], options["key"])
    if options["url"]:
        raise BadSetting("--url and --serve both name a server", hint="leave out one of them")
    return stack.enter_context(_served(session, options["serve"]))


@contextlib.contextmanager
def _served(session: Session, model: str) -> Iterator[Server]:
    """`colonnade serve` for as long as the load runs. It leaves with us, however we leave."""
    import os
    import subprocess
    import sys

    from colonnade.cli.announcing import Ready, decode
    from colonnade.cli.target import Server
    from colonnade.wire.errors import SetupError

    reading, writing = os.pipe()
    argv = [sys.executable, "-m", "colonnade.cli", "serve", model, "--port", "0", "--home", str(session.home)]
    argv += ["--announce-fd", str(writing), "--stop-on-eof", *(["--quiet"] if session.quiet else [])]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, pass_fds=(writing,), process_group=0):
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            line = pipe.readline()
        if not line:
            raise SetupError(f"`colonnade serve {model}` did not start", hint="it said why, above", code="start_failed")
        told = decode(line)
        assert isinstance(told, Ready)
        yield Server(told.greeting.url, told.greeting.key)


async def _load(
    session: Session, phases: Any, work: Any, server: Server, machine: Any, options: dict[str, Any]
) -> Report:
    from datetime import UTC, datetime

    from colonnade import __version__
    from colonnade.bench import load, report
    from colonnade.bench.prompts import Prompts, Scale, Vocabulary

    target = load.Target(server.url, server.key, options["timeout"])
    facts = load.choose(await load.models(target), options["model"])
    scale = Scale(options["scale_tokens"], facts.get("max_model_len"))
    prompts = Prompts(Vocabulary.of(facts.get("vocab_size") or load.VOCABULARY), scale, options["seed"])
    with phases("prompts made"):
        planned = load.plan(work.requests, prompts, facts["id"])
    started = datetime.now(UTC).isoformat(timespec="seconds")
    with _progress(session, len(planned)) as progress, phases("load"):
        measured = await load.run(target, planned, progress)
    run = report.Run(
        trace=work.source,
        format=work.format,
        requests=options["requests"],
        rate=options["rate"],
        scale_tokens=options["scale_tokens"],
        seed=options["seed"],
        timeout_s=options["timeout"],
        url=server.url,
        model=facts["id"],
    )
    levels = report.Levels(options["slo_ttft"], options["slo_itl"])
    return report.build(run, measured, levels, machine, facts, colonnade=__version__, started=started)


@contextlib.contextmanager
def _progress(session: Session, total: int) -> Iterator[Any]:
    """Tells how many answers are in: a bar on a terminal, else a line each tenth."""
    import sys

    if session.quiet:
        yield lambda _measured: None
    elif sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import Progress

        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("answered", total=total)
            yield lambda _measured: bar.advance(task)
    else:
        step = max(1, total // 10)
        count = iter(range(1, total + 1))

        def tell(_measured: Any) -> None:
            done = next(count)
            if done % step == 0:
                session.talk(f"           {done} of {total} answered")

        yield tell


def _show(session: Session, report: Report, output: Path | None) -> None:
    from colonnade.bench import table
    from colonnade.cli.reporting import show

    show(session, report, table.render(report), output)
    for warning in table.warnings(report):
        session.talk(f"warning: {warning}")
