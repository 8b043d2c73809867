"""`python -m colonnade.engine.hub REPO REVISION STATE`: fetch a model, in a process that can be ended at any time.

Prints one `Said` a line on stdout: what is being done, and at last the folder, or an error.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import msgspec

from colonnade.engine.hub import plain_http
from colonnade.engine.hub.reference import Reference
from colonnade.engine.hub.said import Doing, Fetched, Said, Unfetched
from colonnade.wire.errors import SetupError


def main() -> int:
    repo, revision, state = sys.argv[1:]
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(message)s")
    plain_http()
    from colonnade.engine.hub.fetch import Fetch

    try:
        folder = Fetch(Reference(repo, revision), Path(state), lambda text: _say(Doing(text))).run()
    except SetupError as error:
        _say(Unfetched(error.message, error.hint, error.reason, type(error).__name__))
        return 1
    _say(Fetched(str(folder)))
    return 0


def _say(said: Said) -> None:
    sys.stdout.write(msgspec.json.encode(said).decode() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
