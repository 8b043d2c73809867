"""Exit codes: stable, for scripts.

0    done
1    failed
2    usage: an option, an argument or a setting is wrong
3    not running: there is nothing to talk to
4    busy: nothing is broken, nothing is free; the same again may work later
130  interrupted with Ctrl-C
"""

from __future__ import annotations

from colonnade.wire.errors import ColonnadeError

OK, FAILED, USAGE, NOT_RUNNING, BUSY, INTERRUPTED = 0, 1, 2, 3, 4, 130

_USAGE_REASONS = {"bad_setting", "usage"}


def code_for(error: ColonnadeError) -> int:
    if error.reason == "not_running":
        return NOT_RUNNING
    if error.reason in _USAGE_REASONS:
        return USAGE
    return BUSY if error.retryable else FAILED
