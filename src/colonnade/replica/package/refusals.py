"""How failures reach a client of a package: Truss's one shape, and the header that says whose fault it is."""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

Fault = Literal["500", "600", "700"]
"""500: this server; 600: the package's code; 700: the client."""

MODEL_ERROR = "Internal Server Error (in model/chainlet)."
NOT_READY = "Model with name model is not ready."


class Refused(Exception):
    """Ends a request with `status` and `{"error": detail}`; `code`, where there is one, is for gateways, beside it."""

    def __init__(self, status: int, detail: Any, fault: Fault, retry_after: int = 0, code: str = "") -> None:
        super().__init__(str(detail))
        self.status = status
        self.detail = detail
        self.fault: Fault = fault
        self.retry_after = retry_after
        self.code = code

    def response(self) -> Response:
        headers = labels(self.fault) | ({"Retry-After": str(self.retry_after)} if self.retry_after else {})
        content = {"error": self.detail} | ({"code": self.code} if self.code else {})
        return json_response(content, self.status, headers)


def json_response(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    body = json.dumps(content, ensure_ascii=False, separators=(",", ":"), default=str)
    return Response(body, status, headers, "application/json")


def labels(fault: Fault) -> dict[str, str]:
    return {"X-BASETEN-ERROR-SOURCE": "04", "X-BASETEN-ERROR-CODE": fault}


def model_failed() -> Refused:
    """What went wrong is in the log; it is not told to clients."""
    return Refused(500, MODEL_ERROR, "600")


def not_ready(why: str = "", code: str = "") -> Refused:
    return Refused(503, f"{NOT_READY} {why}".strip(), "600", retry_after=1, code=code)


def from_http(error: HTTPException) -> Refused:
    """What the package's code raised on purpose."""
    return Refused(error.status_code, error.detail, "600")


def unreadable(error: ValidationError) -> Refused:
    """Inputs that do not fit the model's annotation, each with its field."""
    lines = [f"  `{_place(each['loc'])}`: {each['msg']}." for each in error.errors(include_url=False)]
    heading = "Input Parsing Error:" if len(lines) == 1 else "Input Parsing Errors:"
    return Refused(400, "\n".join([heading, *lines]), "700")


def _place(path: tuple[str | int, ...]) -> str:
    """`items[1].value`"""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")
