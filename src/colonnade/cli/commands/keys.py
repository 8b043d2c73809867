"""`colonnade keys`: API keys of the `up` that runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import click

from colonnade.cli.command import Command, Group
from colonnade.cli.secret import keeper, say_revoked, show_once
from colonnade.cli.session import Session

F = TypeVar("F", bound=Callable[..., Any])


class _Limit(click.ParamType[Any]):
    """A count a minute, or `none`."""

    name = "COUNT|none"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str) and value.isdecimal():
            return int(value)
        return value if value == "none" else self.fail(f"{value!r} is neither a count nor `none`", param, ctx)


class _Budget(click.ParamType[Any]):
    """Tokens a day or a month, or `none`."""

    name = "TOKENS/month|day"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from colonnade.wire import units
        from colonnade.wire.errors import ColonnadeError

        if value == "none" or not isinstance(value, str):
            return value
        tokens, _, per = value.partition("/")
        try:
            return {"tokens": units.COUNT.parse(tokens), "per": {"day": "day", "month": "month"}[per]}
        except (KeyError, ColonnadeError):
            return self.fail(f"{value!r} is not like 2m/month or 50k/day, nor `none`", param, ctx)


def _limits(command: F) -> F:
    """The options that say what a key may ask for."""
    for option in reversed(
        (
            click.option("--requests-per-minute", type=_Limit(), help="Requests that it may begin in a minute."),
            click.option("--tokens-per-minute", type=_Limit(), help="Tokens, of prompts and answers together."),
            click.option("--weight", type=float, metavar="NUMBER", help="Share where requests wait [1]."),
            click.option("--priority", type=int, metavar="0-100", help="The highest goes first [0]."),
            click.option(
                "--budget", type=_Budget(), help="Tokens that it may use, as 2m/month; then its requests are refused."
            ),
            click.option(
                "--budget-fails",
                type=click.Choice(("open", "closed")),
                help="Whether requests go on while nobody knows what is left; goes with --budget.",
            ),
        )
    ):
        command = option(command)
    return command


def _given(**limits: object) -> dict[str, object]:
    """Those that were said; `none` is no limit."""
    fails, budget = limits.pop("budget_fails", None), limits.get("budget")
    if (fails is not None) != isinstance(budget, dict):
        raise click.UsageError(
            "--budget and --budget-fails go together: say what holds while nobody knows what is left"
        )
    if isinstance(budget, dict):
        limits["budget"] = {**cast(dict[str, object], budget), "fails": fails}
    return {name: None if value == "none" else value for name, value in limits.items() if value is not None}


def _in_words(budget: dict[str, Any] | None) -> str | None:
    import msgspec

    from colonnade.fleet.budgets import in_words
    from colonnade.wire.routes import Budget

    return None if budget is None else in_words(msgspec.convert(budget, Budget))


@click.group(
    cls=Group,
    examples=(
        "colonnade keys create --name crm  # printed once, and never again",
        "colonnade keys limit crm --tokens-per-minute 100000",
        "colonnade keys list",
        "colonnade keys revoke crm",
    ),
)
def keys() -> None:
    """Create, list, limit and revoke API keys."""


@keys.command(
    cls=Command,
    examples=(
        "colonnade keys create --name crm",
        "colonnade keys create --name batch --tokens-per-minute 100000 --weight 0.5",
        "colonnade keys create --json | jq -r .key  # for scripts",
    ),
)
@click.option("--name", metavar="NAME", help="What it is for [key- and the time].")
@_limits
@click.pass_obj
def create(session: Session, name: str | None, **limits: object) -> None:
    """Create a key and print it. It is stored as a digest: nobody can show it again."""
    import time

    name = name or f"key-{int(time.time() * 1000)}"
    given = _given(**limits)
    show_once(session, "key", keeper(session).create_key(name, **given))


@keys.command("list", cls=Command, examples=("colonnade keys list",))
@click.pass_obj
def list_keys(session: Session) -> None:
    """List the keys by name; the keys themselves are not kept."""
    from colonnade.cli.commands.events import moment

    columns = ("name", "tenant", "requests_per_minute", "tokens_per_minute", "weight", "priority", "budget", "created")
    told = keeper(session).api_keys()
    shown = [{**each, "budget": _in_words(each["budget"]), "created": moment(each["created"])} for each in told]
    session.listing(columns, told if session.as_json else shown)


@keys.command(
    cls=Command,
    examples=(
        "colonnade keys limit crm --requests-per-minute 60 --priority 10",
        "colonnade keys limit crm --tokens-per-minute none  # no limit any more",
        "colonnade keys limit crm --budget 2m/month --budget-fails closed",
    ),
)
@click.argument("name")
@_limits
@click.pass_obj
def limit(session: Session, name: str, **limits: object) -> None:
    """Change what a key may ask for. What is left out stays; gateways keep to it within moments."""
    given = _given(**limits)
    now = keeper(session).limit_key(name, **given)
    if session.as_json:
        session.json(now)
    else:
        shown = ("requests_per_minute", "tokens_per_minute", "weight", "priority")
        words = (f"{each.replace('_', ' ')} {'none' if now[each] is None else now[each]}" for each in shown)
        session.talk(f"{name}: {', '.join(words)}, budget {_in_words(now['budget']) or 'none'}")


@keys.command(cls=Command, examples=("colonnade keys revoke crm",))
@click.argument("name")
@click.pass_obj
def revoke(session: Session, name: str) -> None:
    """Revoke a key. Gateways refuse it within moments."""
    keeper(session).revoke_key(name)
    say_revoked(session, name)
