"""Names that packages import from their server's own environment, where they are not installed here.

Truss's server is written with FastAPI, so its packages write `from fastapi import Request`. Those names are
Starlette's; where FastAPI is not installed, a small module of that name hands them out.
"""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

from starlette import concurrency, requests, responses, websockets
from starlette import exceptions as starlette_exceptions


def stand_in() -> None:
    """Provides `fastapi` if it cannot be imported."""
    if "fastapi" in sys.modules or importlib.util.find_spec("fastapi") is not None:
        return
    exceptions = ModuleType("fastapi.exceptions")
    exceptions.HTTPException = starlette_exceptions.HTTPException  # pyright: ignore[reportAttributeAccessIssue]
    root = ModuleType("fastapi", "What packages use of FastAPI, from Starlette.")
    root.__path__ = []
    for name, module in (("Request", requests), ("Response", responses), ("WebSocket", websockets)):
        setattr(root, name, getattr(module, name))
    root.WebSocketDisconnect = websockets.WebSocketDisconnect  # pyright: ignore[reportAttributeAccessIssue]
    root.HTTPException = starlette_exceptions.HTTPException  # pyright: ignore[reportAttributeAccessIssue]
    parts = {
        "responses": responses,
        "requests": requests,
        "websockets": websockets,
        "concurrency": concurrency,
        "exceptions": exceptions,
    }
    sys.modules["fastapi"] = root
    for name, module in parts.items():
        sys.modules[f"fastapi.{name}"] = module
        setattr(root, name, module)
