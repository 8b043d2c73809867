"""What the control plane serves is documented, and nothing else is."""

from __future__ import annotations

import re
from pathlib import Path

from colonnade.fleet.api import ROUTES

PAGE = Path(__file__).parents[2] / "docs" / "fleet.md"


def test_the_endpoints_of_the_page_are_those_that_are_served() -> None:
    written = re.findall(r"^\| `([A-Z]+) (/\S*)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(written) == sorted((method, path) for method, path, _ in ROUTES)
