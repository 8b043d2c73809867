"""A Python file as a module."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType


def import_module(file: Path) -> ModuleType:
    """Under a name that leaves the package `model` importable, in sys.modules, so that pickle and dataclasses find it.
    Raises whatever its code raises."""
    name = f"{file.parent.name}.{file.stem}" if file.parent.name == file.stem else file.stem
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        sys.modules.pop(name, None)
        if isinstance(error, ImportError) and "attempted relative import" in str(error):
            hint = (
                f"{file.name} is imported by itself: import from `{file.parent.name}`, or from packages/, by full name"
            )
            raise ImportError(hint) from error
        raise
    return module
