"""Gateways and workers in the test's own event loop: real sockets, real protocols."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import uvloop
from foreign_rig import adapter
from gateway_house import House
from gateway_replica import gateway, replica

__all__ = ["adapter", "gateway", "replica"]


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, Callable[[], Any]]:
    """The loop that the gateway runs on."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """Opens gateways and workers, and closes them all."""
    opened = House(tmp_path)
    yield opened
    await opened.close()
