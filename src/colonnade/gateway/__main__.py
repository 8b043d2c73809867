"""`python -m colonnade.gateway --host H --port P (--control URL --token-file F | --routes FILE)`."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

import uvloop

from colonnade.gateway.server import Source, run
from colonnade.gateway.tls import Certificate
from colonnade.wire.errors import BadSetting, SetupError
from colonnade.wire.settings import add_flags, given, load


def main(argv: list[str] | None = None) -> int:
    """The exit status: 2 for a setting that is wrong."""
    parser = argparse.ArgumentParser(prog="colonnade.gateway", description="The data plane that clients talk to.")
    parser.add_argument("--control", metavar="URL", default="", help="the control plane, asked for routes and keys")
    parser.add_argument("--token-file", metavar="FILE", type=Path, help="its token, or its run/control.json")
    parser.add_argument("--routes", metavar="FILE", type=Path, help="routes and keys, read again on SIGHUP")
    parser.add_argument("--spool", metavar="DIR", type=Path, help="keeps used tokens until the control plane has them")
    parser.add_argument("--tls-cert", metavar="FILE", type=Path, help="speak TLS with this certificate chain, in PEM")
    parser.add_argument("--tls-key", metavar="FILE", type=Path, help="its key; both are read again on SIGHUP")
    parser.add_argument("--access-log", action="store_true", help="one JSON line a request on stderr")
    add_flags(parser, "gateway", "http", "log")
    arguments = parser.parse_args(argv)
    try:
        resolved = load(given(arguments))
        source = _source(arguments)
        logging.basicConfig(level=resolved.log.level.upper(), format="%(levelname)s %(message)s", stream=sys.stderr)
        certificate = _certificate(arguments)
        served = run(source, resolved.http, resolved.gateway, access_log=arguments.access_log, certificate=certificate)
        uvloop.run(served)
    except SetupError as error:
        sys.stderr.write(f"{error.message}; {error.hint}\n" if error.hint else f"{error.message}\n")
        return 2
    return 0


def _source(arguments: argparse.Namespace) -> Source:
    if bool(arguments.control) == bool(arguments.routes):
        raise BadSetting("routes come from one place", hint="give --control URL with --token-file, or --routes FILE")
    if arguments.control and arguments.token_file is None:
        raise BadSetting("the control plane asks for a token", hint="--token-file names the file that holds it")
    return Source(arguments.control, arguments.token_file, arguments.routes, arguments.spool)


def _certificate(arguments: argparse.Namespace) -> Certificate | None:
    if bool(arguments.tls_cert) != bool(arguments.tls_key):
        raise BadSetting("TLS needs a certificate and its key", hint="give both --tls-cert and --tls-key")
    return Certificate(arguments.tls_cert, arguments.tls_key) if arguments.tls_cert else None


if __name__ == "__main__":
    sys.exit(main())
