"""Asking a replica how it is: /ready while it starts, /health when it is ready."""

from __future__ import annotations

import aiohttp
import msgspec

from colonnade.fleet.orders import Probe, Probed

READY_TIMEOUT_S = 2.0
HEALTH_TIMEOUT_S = 5.0
"""A machine under full load answers late; that alone is no reason to end a replica."""
STALLED = "stalled"


async def ask(session: aiohttp.ClientSession, probe: Probe) -> Probed:
    """Every answer, and every failure to give one, is a Probed with its reason."""
    seconds = READY_TIMEOUT_S if probe.kind == "ready" else HEALTH_TIMEOUT_S
    timeout = aiohttp.ClientTimeout(total=seconds)
    try:
        async with session.get(f"{probe.url}/{probe.kind}", timeout=timeout) as response:
            if response.status < 300:
                return Probed(probe.id, probe.epoch, well=True)
            code, message, doing = _read(response.status, await response.content.read(16 << 10))
    except TimeoutError:
        return Probed(probe.id, probe.epoch, well=False, reason=f"no answer in {seconds:g} s")
    except (aiohttp.ClientError, OSError) as error:
        return Probed(probe.id, probe.epoch, well=False, reason=str(error) or type(error).__name__)
    return Probed(probe.id, probe.epoch, well=False, stalled=code == STALLED, reason=message, doing=doing)


class _Answer(msgspec.Struct):
    """The parts of a replica's answer that tell why it is not well."""

    status: str = ""
    phase: str = ""
    reason: str = ""
    seconds_without_step: float = 0.0


def _read(status: int, body: bytes) -> tuple[str, str, str]:
    """A code and words for an answer that is not good, and what a replica that starts is doing."""
    try:
        answer = msgspec.json.decode(body, type=_Answer)
    except msgspec.DecodeError:
        return "", f"status {status}", ""
    if answer.status == STALLED:
        return STALLED, answer.reason or f"no step for {answer.seconds_without_step:g} s with work in flight", ""
    doing = answer.reason if answer.phase == "starting" else ""
    return answer.status, answer.reason or answer.status or f"status {status}", doing
