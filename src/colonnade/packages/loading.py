"""From files to a model that answers: import, construct, load, with the retries that were asked for."""

from __future__ import annotations

import importlib
import inspect
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from colonnade.packages.contract import Contract, contract_of
from colonnade.packages.folder import Package
from colonnade.packages.importing import import_module
from colonnade.packages.secrets import Secrets

_log = logging.getLogger(__name__)

ENVIRONMENT = Path("/etc/b10_dynamic_config/environment")
RETRIES = "NUM_LOAD_RETRIES_TRUSS"
RETRY_PAUSE = 1.0
"""Seconds between two tries of load()."""


class LazyData:
    """Stands where Truss hands the model its download: here files are there before the process starts."""

    def __init__(self, data: Path) -> None:
        self.data_dir = data

    def block_until_download_complete(self, log_stats: bool = True, issue_info: Any = None) -> int:
        """Nothing is waited for."""
        return 0


def environment() -> dict[str, Any] | None:
    """Of the deployment: TRUSS_ENVIRONMENT names it, else the file that Truss's platform writes."""
    if name := os.environ.get("TRUSS_ENVIRONMENT"):
        return json.loads(name) if name.startswith("{") else {"name": name}
    return json.loads(ENVIRONMENT.read_text(encoding="utf-8") or "null") if ENVIRONMENT.is_file() else None


def prepare(package: Package) -> None:
    """Makes this process the package's: working directory, search path, environment variables."""
    os.chdir(package.root)
    for name, value in package.config.environment_variables.items():
        os.environ[name] = value
    for place in reversed(package.search_path):
        if str(place) not in sys.path:
            sys.path.insert(0, str(place))


def class_of(package: Package) -> type:
    """Raises AttributeError naming the class that is missing."""
    module = import_module(package.module)
    name = package.config.model_class_name
    found = getattr(module, name, None)
    if found is None:
        raise AttributeError(f"{package.module.name} defines no class {name}")
    return found


def arguments_for(kind: type, package: Package) -> dict[str, Any]:
    """What the constructor asks for, by name; all of it where it takes anything."""
    parameters = inspect.signature(kind).parameters
    takes_all = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    sources: Mapping[str, Callable[[], Any]] = {
        "config": lambda: dict(package.as_dict),
        "data_dir": lambda: Path(package.config.data_dir),
        "secrets": lambda: Secrets(package.config.secrets),
        "lazy_data_resolver": lambda: LazyData(package.data),
        "environment": environment,
    }
    return {name: source() for name, source in sources.items() if takes_all or name in parameters}


def construct(package: Package) -> tuple[Any, Contract]:
    """The model, not loaded yet. Raises what the package's code raises, and ModelDefinitionError."""
    kind = class_of(package)
    model = kind(**arguments_for(kind, package))
    return model, contract_of(model)


def load(model: Any, contract: Contract) -> None:
    """setup_environment, then load(), tried again as often as NUM_LOAD_RETRIES_TRUSS says. Raises the last failure."""
    found = environment()
    if found is not None and contract.get("setup_environment") is not None:
        model.setup_environment(found)
    if not hasattr(model, "load"):
        return
    retries = int(os.environ.get(RETRIES, "1"))
    for left in range(retries, -1, -1):
        try:
            model.load()
        except Exception:
            if not left:
                raise
            _log.warning("load() failed and is tried again; %d tries are left", left, exc_info=True)
            time.sleep(RETRY_PAUSE)
        else:
            return


def reloaded(package: Package) -> type:
    """The class from its file as it is now, with the package's other modules read anew. Raises what its code raises;
    the modules that were there before are then there again."""
    roots = [package.module.parent, *package.search_path[1:]]
    ours = {name: module for name, module in sys.modules.items() if _within(module, roots)}
    for name, module in ours.items():
        del sys.modules[name]
        if cached := getattr(module, "__cached__", None):  # it counts seconds: two edits within one look alike to it
            Path(cached).unlink(missing_ok=True)
    importlib.invalidate_caches()
    try:
        return class_of(package)
    except BaseException:
        sys.modules.update(ours)
        raise


def _within(module: ModuleType, roots: list[Path]) -> bool:
    places = [getattr(module, "__file__", None), *getattr(module, "__path__", ())]
    return any(place and Path(place).is_relative_to(root) for place in places for root in roots)
