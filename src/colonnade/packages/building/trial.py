"""`python -m colonnade.packages.building.trial DIR`: import a package's class, as a replica would, and nothing more.

Exits with 0, or with 1 and one line of JSON on stdout that says what is wrong, and where.
"""

from __future__ import annotations

import json
import sys
import traceback
from pathlib import Path

from colonnade.packages.folder import Package, open_code
from colonnade.packages.loading import class_of, prepare
from colonnade.packages.stand_ins import stand_in


def main() -> int:
    package = open_code(sys.argv[1])
    if package.config.docker_server is not None:
        return 0
    stand_in()
    prepare(package)
    try:
        kind = class_of(package)
        if not any(hasattr(kind, name) for name in ("predict", "websocket")):
            raise TypeError(f"{kind.__name__} has neither `predict` nor `websocket`")
    except BaseException as error:
        sys.stdout.write(json.dumps(_told(package, error)) + "\n")
        return 1
    return 0


def _told(package: Package, error: BaseException) -> dict[str, object]:
    """The last place in the package's own code that the exception came through."""
    frames = [each for each in traceback.extract_tb(error.__traceback__) if _own(package, each.filename)]
    file, line = package.module, 1
    if frames:
        file, line = Path(frames[-1].filename), frames[-1].lineno or 1
    elif isinstance(error, SyntaxError):
        line = error.lineno or 1
    return {"file": str(file.relative_to(package.root)), "line": line, "said": f"{type(error).__name__}: {error}"}


def _own(package: Package, file: str) -> bool:
    return Path(file).is_relative_to(package.root)


if __name__ == "__main__":
    sys.exit(main())
