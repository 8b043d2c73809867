"""What exists is documented, what is documented exists: settings, endpoints, metrics, error codes."""

from __future__ import annotations

import asyncio
import re

import documented
import pytest

from colonnade.gateway.metrics import exposition
from colonnade.gateway.plane import Plane
from colonnade.replica.metrics import Metrics
from colonnade.wire import errors
from colonnade.wire.settings import REGISTRY, GatewaySettings, HttpSettings, flags_of
from colonnade.wire.settings_page import page as settings_page

PATHS = sorted(documented.paths())
TABLES = sorted(documented.tables())
CODES = sorted(documented.codes())


def test_the_settings_page_is_made_from_the_registry() -> None:
    """Mend it with `python -m colonnade.wire.settings_page > docs/settings.md`."""
    assert documented.page("settings.md") == settings_page()


def test_the_engine_has_at_most_60_settings() -> None:
    assert len(flags_of("engine")) <= 60


def test_every_setting_is_read_somewhere() -> None:
    read = documented.attributes()
    assert [each.key for each in REGISTRY if each.name not in read] == []


@pytest.mark.parametrize("code", CODES)
def test_error_codes(code: str) -> None:
    assert f"`{code}`" in documented.page("errors.md")


def test_the_page_of_errors_names_only_codes_that_exist() -> None:
    rows = re.findall(r"^\| `\w+` \| \d+ \| `(\w+)`|^\| `([a-z_]+)` \| `[A-Z]\w+`", documented.page("errors.md"), re.M)
    assert {first or second for first, second in rows} <= set(CODES)


def test_error_classes() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| `(\w+)` \| (\w+) \|", documented.page("errors.md"), re.MULTILINE)
    assert len(rows) >= 15
    for name, status, code, retryable in rows:
        each = getattr(errors, name)
        assert (status, code, retryable) == (str(each.status), each.code, "yes" if each.retryable else "no")


async def exposed() -> set[str]:
    """The names that each process shows under /metrics."""
    plane = Plane(HttpSettings(), GatewaySettings(), asyncio.get_running_loop(), loopback=True)
    text = Metrics().page().decode() + exposition(plane).decode()
    return {name for name in re.findall(r"^# TYPE (\w+) ", text, re.MULTILINE) if not name.endswith("_created")}


async def test_metrics() -> None:
    """Every metric is in the page, and every metric in the page exists."""
    named = documented.METRIC.findall(documented.page("metrics.md"))
    assert {documented.SERIES.sub("", name) for name in named} == await exposed()


async def test_no_metric_is_declared_that_is_not_exposed() -> None:
    """Names written out whole; a process that begins to show metrics is to be added to `exposed`."""
    shown = await exposed()
    prefixes = {"_".join(name.split("_")[:2]) for name in shown}
    assert documented.metrics() - shown - prefixes == set()


@pytest.mark.parametrize("path", PATHS)
def test_endpoints(path: str) -> None:
    """A prefix that requests are dispatched by is named by the paths below it."""
    assert path in documented.page("api.md")


@pytest.mark.parametrize("row", TABLES, ids=" ".join)
def test_tables_of_routes(row: tuple[str, str, str]) -> None:
    method, path, summary = row
    assert summary
    assert re.search(rf"`{method} {re.escape(path)}[`?]", documented.page("api.md"))


def test_every_room_that_serves_exports_its_table_of_routes() -> None:
    rooms = {file.parts[-2] for file, tree in documented.sources() if "ROUTES" in documented.assigned(tree)}
    assert rooms == {"fleet", "gateway", "package", "replica"}
