"""Randomness as a function: one uniform number for each (seed, choice, position), in each of a few streams.

A counter-based generator (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) has no state: whoever
asks for the same counter gets the same number, in any order, batch or process. The mixing function is the finaliser of
SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014), applied once for each
word of the counter; each application is a bijection of 64 bits, so that no two positions of a choice share a state.
"""

from __future__ import annotations

_MASK = (1 << 64) - 1
_GAMMA = 0x9E3779B97F4A7C15


ACCEPT, DRAFT = 1, 2
"""Streams of their own: for accepting a draft by its probability, and for drafters that draw."""


def uniform(seed: int, choice: int, position: int, stream: int = 0) -> float:
    """A number in [0, 1), a multiple of 2**-53. The arguments count modulo 2**64; the token is drawn by stream 0."""
    state = _mix(seed + _GAMMA)
    state = _mix(state + _GAMMA + choice)
    state = _mix(state + _GAMMA + position)
    if stream:
        state = _mix(state + _GAMMA + stream)
    return (_mix(state + _GAMMA) >> 11) * 2.0**-53


def _mix(word: int) -> int:
    word &= _MASK
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & _MASK
    return word ^ (word >> 31)
