"""The tables of docs/foreign-engines.md from the data: `python -m colonnade.replica.foreign.page` writes them."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from colonnade.replica.foreign.kinds import FEATURES, KINDS, Kind


def tables() -> str:
    """One of all kinds side by side, and one of each kind with its reasons."""
    return "\n".join([*_overview(), *(line for kind in KINDS.values() for line in _reasons(kind))])


def _overview() -> Iterator[str]:
    yield "| | " + " | ".join(f"`{name}`" for name in KINDS) + " |"
    yield "|---" * (len(KINDS) + 1) + "|"
    for feature, words in FEATURES.items():
        standings = " | ".join(kind.abilities[feature].standing for kind in KINDS.values())
        yield f"| {words} | {standings} |"


def _reasons(kind: Kind) -> Iterator[str]:
    yield f"\n### `{kind.name}`: {kind.title}\n"
    yield "| | | |"
    yield "|---|---|---|"
    for feature in FEATURES:
        ability = kind.abilities[feature]
        yield f"| `{feature}` | {ability.standing} | {ability.why} |"


if __name__ == "__main__":
    sys.stdout.write(f"{tables()}\n")
