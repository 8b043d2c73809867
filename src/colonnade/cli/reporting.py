"""Shows a benchmark's report: the table to people, the JSON to programs."""

from __future__ import annotations

from pathlib import Path

import msgspec

from colonnade.cli.session import Session


def show(session: Session, report: msgspec.Struct, table: str, output: Path | None) -> None:
    """The table goes to stdout, unless the JSON does (`output` is `-`)."""
    encoded = msgspec.json.format(msgspec.json.encode(report), indent=2)
    to_stdout = output is not None and str(output) == "-"
    if output is not None and not to_stdout:
        output.write_bytes(encoded + b"\n")
    (session.talk if to_stdout else session.data)("\n" + table)
    if to_stdout:
        session.data(encoded.decode())
