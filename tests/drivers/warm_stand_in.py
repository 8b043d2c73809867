"""A warm process of stand-ins: `stand_in.py` imported, and forked on request.

--threads N     runs N threads more than it may
--stale-on F    says that what it holds is old, from when the file F exists until its end
--broken        says why, and exits with 4
--broken-on F   the same, when the file F exists
"""

from __future__ import annotations

import argparse
import socket
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import stand_in

from colonnade.replica.guise import Guise
from colonnade.replica.zygote import serve


def run(argv: Sequence[str]) -> int:
    sys.argv = list(argv[2:])  # without `python -S`
    stand_in.main()
    return 0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--control", type=int, required=True)
    parser.add_argument("--mark", required=True)
    parser.add_argument("--room")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--stale-on", type=Path)
    parser.add_argument("--broken", action="store_true")
    parser.add_argument("--broken-on", type=Path)
    options = parser.parse_args()
    if options.broken or (options.broken_on is not None and options.broken_on.exists()):
        sys.stderr.write("told to break\n")
        raise SystemExit(4)
    for _ in range(options.threads):
        threading.Thread(target=threading.Event().wait, daemon=True).start()
    fresh = options.stale_on is None or not options.stale_on.exists()
    with socket.socket(fileno=options.control) as control:
        serve(control, Guise(options.mark), run, lambda: fresh and options.stale_on and options.stale_on.exists())


if __name__ == "__main__":
    main()
