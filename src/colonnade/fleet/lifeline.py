"""When a process of the fleet is to end: SIGTERM, SIGINT, or the end of its standard input, if that is a pipe.

The pipe is the parent's: it is never written to, and its end means that the parent is gone. Beside it SIGINT is left
to the parent: a Ctrl-C reaches the whole group of a terminal, and the order of stopping is the parent's.
"""

from __future__ import annotations

import asyncio
import os
import signal
import stat


class LifeLine:
    """`ended` gives the reason, once. Made inside the loop; `close` lets the loop forget it."""

    def __init__(self, fd: int = 0) -> None:
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[str] = self._loop.create_future()
        self._fd = fd if _is_pipe(fd) else -1
        self._loop.add_signal_handler(signal.SIGTERM, self._end, "SIGTERM")
        if self._fd >= 0:
            self._loop.add_reader(self._fd, self._read)
            self._loop.add_signal_handler(signal.SIGINT, lambda: None)
        else:
            self._loop.add_signal_handler(signal.SIGINT, self._end, "SIGINT")

    def close(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.remove_signal_handler(number)
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)

    def _read(self) -> None:
        if not os.read(self._fd, 4096):
            self._loop.remove_reader(self._fd)
            self._end("the parent process is gone")

    def _end(self, reason: str) -> None:
        if not self.ended.done():
            self.ended.set_result(reason)


def _is_pipe(fd: int) -> bool:
    try:
        mode = os.fstat(fd).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
