"""Models that are named by their repository on a hub: found, fetched, checked, and kept in the hub's own cache."""

from __future__ import annotations

import os


def plain_http() -> None:
    """To be called before huggingface_hub is imported, which reads these then. What somebody has set stays."""
    for switch in ("HF_HUB_DISABLE_XET", "HF_HUB_DISABLE_PROGRESS_BARS", "HF_HUB_DISABLE_TELEMETRY"):
        os.environ.setdefault(switch, "1")
