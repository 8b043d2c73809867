"""A trace on disk becomes the requests of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from colonnade.bench import servegen, trace
from colonnade.bench.arrivals import schedule
from colonnade.bench.trace import Format, Request
from colonnade.wire.errors import InvalidRequest

SAMPLES = Path(__file__).with_name("samples")
SHIPPED = {
    "azure": SAMPLES / "azure_conv.csv",
    "mooncake": SAMPLES / "mooncake_synthetic.jsonl",
    "servegen": SAMPLES / "servegen_m-small_rates.csv",
}
"""Samples that come with the package, by the names that --trace takes."""


@dataclass(frozen=True, slots=True)
class Workload:
    """Requests in order, with the moments to send them at."""

    source: str
    format: Format
    requests: list[Request]


def load(source: str, count: int, rate: float | None, seed: int, lengths: Path | None = None) -> Workload:
    """`source`: a file, or the name of a shipped sample. Raises InvalidRequest for what cannot be read."""
    path = Path(source)
    if not path.is_file():
        path = SHIPPED.get(source, path)
    text = _read(path, "--trace")
    random = np.random.default_rng(seed)
    form = trace.detect(text)
    if form == "servegen":
        found = servegen.parse_lengths(_read(lengths or beside(path), "--lengths"))
        requests = servegen.generate(servegen.parse_rates(text), found, count, random)
    else:
        requests = trace.parse(text)
    if not requests:
        raise InvalidRequest(f"{path} holds no request", param="--trace")
    return Workload(source, form, schedule(requests, count, rate, random))


def beside(rates: Path) -> Path:
    """ServeGen's two tables of one trace differ in the last word of their names."""
    lengths = rates.with_name(rates.name.replace("rates", "lengths"))
    if lengths == rates or not lengths.is_file():
        raise InvalidRequest(f"{rates} says when to send, not how much", hint="name its table with --lengths FILE")
    return lengths


def _read(path: Path, param: str) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as cause:
        names = ", ".join(SHIPPED)
        raise InvalidRequest(
            f"cannot read {path}: {cause}", hint=f"{param} takes a file; --trace also one of {names}", param=param
        ) from cause
