"""The memory of a replica's processes, watched: what nobody else shares, and of what is shared each one's part.

The kernel's proportional set size (proc(5), smaps_rollup) is what is summed: of weights that a hundred forks of one
warm process share, each counts for a hundredth.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from colonnade.drivers.process import members

LOOK_S = 1.0
MB = 1_000_000


def held(leader: int) -> int:
    """Bytes that the group of this leader has in memory."""
    return sum(_part(pid) for pid in members(leader))


def _part(pid: int) -> int:
    """One that is gone has none; nor one that is not ours to look into."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return 0
    parts = (line.split() for line in rollup.splitlines() if line.startswith("Pss:"))
    return sum(int(kilobytes) << 10 for _, kilobytes, _ in parts)


async def too_much(leader: int, limit: int, look: Callable[[int], int] = held) -> str:
    """Returns, with the reason, when the group has more than `limit` bytes. A thread looks: /proc takes its time."""
    while True:
        used = await asyncio.to_thread(look, leader)
        if used > limit:
            return f"killed: more than {limit / MB:.0f} MB ({used / MB:.0f})"
        await asyncio.sleep(LOOK_S)
