"""Errors across processes: from an exception to a report, and back to an exception that the caller can tell apart.

An error of our own tree arrives as its own class. Any other arrives as StepFailed. Both carry `report`: the class's
name, the status, and the stack of every step that it passed.
"""

from __future__ import annotations

import inspect
import sys
import traceback

from colonnade.chains.notes import Hop, Line, Report
from colonnade.wire import errors
from colonnade.wire.errors import ColonnadeError, StepFailed

_TREE = {name: each for name, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, ColonnadeError)}
_OURS = __name__.rpartition(".")[0]
MOST_LINES = 20
MOST_TEXT = 4000


def report_of(error: BaseException, step: str) -> Report:
    """With a hop for `step`, after those that the error has passed already."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    hop = Hop(step, _stack(error))
    earlier: Report | None = getattr(error, "report", None)
    if isinstance(earlier, Report):
        return Report(
            earlier.kind,
            earlier.message,
            earlier.status,
            earlier.code,
            earlier.hint,
            earlier.retryable,
            (*earlier.hops, hop),
        )
    if isinstance(error, ColonnadeError):
        kind = next(each.__name__ for each in type(error).__mro__ if each.__name__ in _TREE)
        return Report(kind, error.message, error.status, error.reason, error.hint, error.retryable, (hop,))
    return Report(type(error).__name__, _message(error), _status(error), hops=(hop,))


def error_of(report: Report) -> ColonnadeError:
    """To be raised at the caller; `report` is the error's attribute of this name."""
    kind = _TREE.get(report.kind)
    if kind is None:
        error = StepFailed(f"{report.kind}: {report.message}", hint=report.hint, code=report.code)
    else:
        error = kind(report.message, hint=report.hint, code=report.code)
    error.report = report  # pyright: ignore[reportAttributeAccessIssue]
    return error


def status_of(error: BaseException) -> int:
    """Of the error itself, however many steps it has passed."""
    report = getattr(error, "report", None)
    return report.status if isinstance(report, Report) else _status(error)


def _message(error: BaseException) -> str:
    said = str(error) or type(error).__name__
    return said if len(said) <= MOST_TEXT else said[:MOST_TEXT] + "…"


def _status(error: BaseException) -> int:
    """An exception may bring its own, as the HTTPException of web frameworks does."""
    found = getattr(error, "status", getattr(error, "status_code", 500))
    return found if isinstance(found, int) and 400 <= found <= 599 else 500


def _stack(error: BaseException) -> tuple[Line, ...]:
    """The lines that are the step's own, or its libraries'; ours, between the network and the step, say nothing."""
    found = traceback.extract_tb(error.__traceback__)
    own = _folder()
    lines = [
        Line(each.filename, each.lineno or 0, each.name, each.line or "")
        for each in found
        if not each.filename.startswith(own)
    ]
    return tuple(lines[-MOST_LINES:])


def _folder() -> str:
    return (sys.modules[_OURS].__file__ or "").removesuffix("__init__.py")
