"""`colonnade config`: settings and where they come from."""

from __future__ import annotations

import click

from colonnade.cli.command import Command, Group
from colonnade.cli.session import Session


@click.group(
    cls=Group,
    examples=(
        "colonnade config show --origin  # every setting, its value, and where the value comes from",
        "colonnade config get gateway.port",
    ),
)
def config() -> None:
    """Show settings, and where each value comes from.

    A flag wins over the environment (COLONNADE_GATEWAY_PORT), that over ./colonnade.toml, that over config.toml in the
    state folder, that over the default.
    """


@config.command(
    cls=Command,
    examples=("colonnade config show --origin", "colonnade config show engine  # one section"),
)
@click.argument("section", required=False, default="")
@click.option("--origin", is_flag=True, help="Also where each value comes from.")
@click.pass_obj
def show(session: Session, section: str, origin: bool) -> None:
    """Show all settings, or those of one section."""
    known = {key.rpartition(".")[0] for key, _, _ in session.settings().rows()}
    if section and section not in known:
        raise click.BadParameter(f"no section {section!r}; there are {', '.join(sorted(known - {''}))}")
    rows = [
        {"key": key, "value": value, **({"origin": str(where)} if origin or session.as_json else {})}
        for key, value, where in session.settings().rows()
        if not section or key.startswith(f"{section}.")
    ]
    session.listing(("key", "value", "origin") if origin else ("key", "value"), rows)


@config.command(cls=Command, examples=("colonnade config get gateway.port",))
@click.argument("key")
@click.pass_obj
def get(session: Session, key: str) -> None:
    """Print the value of one setting; where it comes from is said on stderr."""
    from colonnade.wire.resolve import named

    name = named(key).key
    value, origin = next((value, origin) for key, value, origin in session.settings().rows() if key == name)
    if session.as_json:
        session.json({"key": name, "value": value, "origin": str(origin)})
    else:
        session.talk(f"{name} from {origin}")
        session.data(value)
