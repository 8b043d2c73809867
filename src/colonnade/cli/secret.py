"""A secret of the control plane, a key or a token: told once when it is made, and told of when it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from colonnade.cli.session import Session

if TYPE_CHECKING:
    from colonnade.cli.control import Control


def keeper(session: Session) -> Control:
    """Who keeps them: the control plane of the `up` that runs. Raises SetupError."""
    from colonnade.cli.control import open_control
    from colonnade.cli.home import Home

    return open_control(Home(session.home))


def show_once(session: Session, kind: str, made: dict[str, Any]) -> None:
    """`kind`: the field of what was made that holds the secret. It goes to stdout alone, what it is to stderr."""
    if session.as_json:
        session.json(made)
    else:
        session.talk(f"{kind} {made['name']}; it is shown this once")
        session.data(made[kind])


def say_revoked(session: Session, name: str) -> None:
    if session.as_json:
        session.json({"name": name, "revoked": True})
    else:
        session.talk(f"revoked {name}")
