"""A package that is served from its folder: the Python that runs it."""

from __future__ import annotations

from colonnade.cli.session import Session
from colonnade.packages.building.environment import BuildFailed, environment_for
from colonnade.packages.folder import Package


def python_for(session: Session, package: Package) -> str:
    """Of an environment with what it asks for; "" for ours, where it asks for nothing, or where that cannot be had:
    it may run with what is here, and says so if it does not."""
    config = package.config
    if not config.requirements and config.requirements_file is None:
        return ""
    try:
        return str(environment_for(package, session.home, session.progress).python)
    except BuildFailed as error:
        session.talk(f"warning: {error.hint}\nwarning: not all requirements are installed; going on with what is here")
        return ""
