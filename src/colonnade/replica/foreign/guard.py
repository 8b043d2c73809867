"""`python -m colonnade.replica.foreign.guard COMMAND…`: the leader of an engine's process group.

Servers of other engines do not know our life line: a standard input that we hold, and that closes when we are gone,
however that came about. This process reads it in their stead, and ends the group then. It ends as the command ends:
with its status, or by its signal.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

TERM_GRACE = 10.0
"""Seconds from SIGTERM to SIGKILL."""


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: None)  # the group gets it: we stay until the command has ended
    try:
        process = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
    except OSError as error:
        sys.stderr.write(f"cannot start {sys.argv[1]!r}: {error.strerror}\n")
        return 127
    threading.Thread(target=_follow, daemon=True).start()
    code = process.wait()
    if code < 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


def _follow() -> None:
    """Until nobody holds our standard input."""
    while os.read(0, 4096):
        continue
    os.killpg(0, signal.SIGTERM)
    time.sleep(TERM_GRACE)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
