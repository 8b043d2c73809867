"""`colonnade serve`: one replica and a gateway in front of it, without a control plane."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from colonnade.cli.command import Command
from colonnade.cli.session import Session
from colonnade.cli.settings_options import given, setting_options

if TYPE_CHECKING:
    from colonnade.cli.greeting import Greeting


@click.command(
    cls=Command,
    examples=(
        "colonnade serve colonnade-tiny  # the model that ships",
        "colonnade serve /models/my-llama --port 8081 --threads 4",
        "colonnade serve org/name@v1.2  # from a hub: HF_ENDPOINT, HF_TOKEN, HF_HOME",
        "colonnade serve my-model/  # a package: config.yaml and model/model.py, or one Python file",
        "colonnade serve colonnade-tiny --port 0 --no-auth --json  # for scripts: a free port, one line of JSON",
    ),
)
@click.argument("model", metavar="PATH_OR_NAME")
@setting_options("gateway.host", "gateway.port", "gateway.auth", "replica.served_name", "engine.")
@click.option("--stop-on-eof", is_flag=True, hidden=True, help="Stop when standard input ends.")
@click.option("--announce-fd", type=int, hidden=True, help="Where a run for another command tells its URL and key.")
@click.pass_obj
def serve(session: Session, model: str, stop_on_eof: bool, announce_fd: int | None, **options: Any) -> None:
    """Serve one model with one replica, without a control plane.

    PATH_OR_NAME is a folder in the Hugging Face layout, the name of a model that ships, a repository on a hub (org/name
    or org/name@revision), or a package: a folder with a config.yaml and a model/model.py, or one Python file with a
    class Model. A key is made for this run and printed once the model answers. Ctrl-C lets requests in flight end,
    then stops.
    """
    import asyncio
    import contextlib

    from colonnade.cli.announcing import Announcing
    from colonnade.cli.serving import Serving
    from colonnade.cli.signals import Stopped

    with contextlib.ExitStack() as stack:
        tell = partial(greet, session)
        if announce_fd is not None:
            tell = stack.enter_context(Announcing(announce_fd)).greeting
        serving = Serving(session, session.settings(given(options)), model, tell, stop_on_eof)
        try:
            asyncio.run(serving.run())
        except Stopped as stopped:
            session.talk(f"stopped by {stopped}")


def greet(session: Session, greeting: Greeting) -> None:
    session.json(greeting.fields()) if session.as_json else session.data(greeting.text())
    session.talk("Ctrl-C stops it")
