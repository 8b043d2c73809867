"""`python -m colonnade.fleet control|agent --home DIR`: the processes of the fleet.

Each prints one line of JSON on stdout when it works, and ends at SIGTERM, at SIGINT, or at the end of its standard
input if that is a pipe. An agent that ends so ends its replicas first; one that is killed leaves them, and the next one
takes them over.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from pathlib import Path

from colonnade.fleet.clusters import read_cluster
from colonnade.fleet.home import Home
from colonnade.fleet.run import run_agent, run_control
from colonnade.fleet.tls import door_of
from colonnade.wire.errors import ColonnadeError, SetupError
from colonnade.wire.settings import Resolved, add_flags, given, load


def main(argv: list[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    try:
        resolved = load(given(options))
        logging.basicConfig(level=resolved.log.level.upper(), stream=sys.stderr, format="%(levelname)s %(message)s")
        asyncio.run(_run(options, resolved))
    except ColonnadeError as error:
        sys.stderr.write(f"{error.message}; {error.hint}\n" if error.hint else f"{error.message}\n")
        return 2 if isinstance(error, SetupError) else 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m colonnade.fleet", description=__doc__)
    roles = parser.add_subparsers(dest="role", required=True)
    control = roles.add_parser("control", help="what is wanted, who may ask, what every cluster reports")
    control.add_argument("--port", type=int, default=0, help="on loopback; 0: the one it had before, or a free one")
    control.add_argument("--listen", metavar="HOST:PORT", default="", help="also here, with TLS: for agents elsewhere")
    control.add_argument("--tls-cert", type=Path, metavar="FILE", help="its certificate chain, in PEM")
    control.add_argument("--tls-key", type=Path, metavar="FILE", help="its key")
    control.add_argument("--no-auth", action="store_true", help="gateways ask for no API keys")
    agent = roles.add_parser("agent", help="keeps one cluster's replicas as wanted")
    agent.add_argument("--cluster", default="local", help="the cluster's name")
    agent.add_argument("--cluster-file", type=Path, metavar="FILE", help="what it is and has; its name goes before")
    agent.add_argument("--control", metavar="URL", default="", help="the control plane; default: the home's own")
    agent.add_argument("--token-file", type=Path, metavar="FILE", help="its admin token, for --control")
    for each in (control, agent):
        add_flags(each, "", "fleet", "log")
    return parser


async def _run(options: argparse.Namespace, resolved: Resolved) -> None:
    home = Home(resolved.home)
    if options.role == "control":
        door = door_of(options.listen, options.tls_cert, options.tls_key)
        await run_control(home, resolved.fleet, options.port, not options.no_auth, door)
    else:
        spec = None if options.cluster_file is None else read_cluster(options.cluster_file)
        cluster = options.cluster if spec is None else spec.name
        await run_agent(home, resolved.fleet, cluster, options.control, options.token_file, spec)


if __name__ == "__main__":
    sys.exit(main())
