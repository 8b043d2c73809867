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

FOREIGN = tuple(f"replica.engine_{name}" for name in ("url", "kind", "command", "events", "key_file"))


@click.command(
    cls=Command,
    examples=(
        "colonnade serve colonnade-tiny  # the model that ships",
        "colonnade serve /models/my-llama --port 8081 --threads 4",
        "colonnade serve org/name@v1.2  # from a hub: HF_ENDPOINT, HF_TOKEN, HF_HOME",
        "colonnade serve my-model/  # a package: config.yaml and model/model.py, or one Python file",
        "colonnade serve --engine-url http://127.0.0.1:30000 --engine-kind sglang  # another engine's server",
        "colonnade serve colonnade-tiny --port 0 --no-auth --json  # for scripts: a free port, one line of JSON",
    ),
)
@click.argument("model", metavar="PATH_OR_NAME", required=False, default="")
@setting_options("gateway.host", "gateway.port", "gateway.auth", "replica.served_name", *FOREIGN, "engine.")
@click.option("--stop-on-eof", is_flag=True, hidden=True, help="Stop when standard input ends.")
@click.option("--announce-fd", type=int, hidden=True, help="Where a run for another command tells its URL and key.")
@click.pass_obj
def serve(session: Session, model: str, stop_on_eof: bool, announce_fd: int | None, **options: Any) -> None:
    """Serve one model with one replica, without a control plane.

    PATH_OR_NAME is a folder in the Hugging Face layout, the name of a model that ships, a repository on a hub (org/name
    or org/name@revision), or a package: a folder with a config.yaml and a model/model.py, or one Python file with a
    class Model. A package with an LLM section (trt_llm) is served by our engine, or with --engine-kind vllm, sglang or
    trtllm by that engine's server, which is started; what maps and what is refused is said. With --engine-url it is the
    model's name at another engine's server, and may be left out where that has one alone. A key is made for this run
    and printed once the model answers. Ctrl-C lets requests in flight end, then stops.
    """
    import asyncio
    import contextlib

    from colonnade.cli.announcing import Announcing
    from colonnade.cli.llm_packages import as_model
    from colonnade.cli.serving import Serving
    from colonnade.cli.signals import Stopped

    with contextlib.ExitStack() as stack:
        tell = partial(greet, session)
        if announce_fd is not None:
            tell = stack.enter_context(Announcing(announce_fd)).greeting
        model, flags = as_model(session, model, given(options))
        settings = session.settings(flags)
        if not model and not settings.replica.engine_url:
            raise click.MissingParameter(param_type="argument", param_hint="'PATH_OR_NAME'")
        serving = Serving(session, settings, model, tell, stop_on_eof)
        try:
            asyncio.run(serving.run())
        except Stopped as stopped:
            session.talk(f"stopped by {stopped}")


def greet(session: Session, greeting: Greeting) -> None:
    session.json(greeting.fields()) if session.as_json else session.data(greeting.text())
    session.talk("Ctrl-C stops it")
