"""`colonnade deploy`: a model becomes a deployment, new or changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from colonnade.cli.command import Command
from colonnade.cli.session import Session

MANIFESTS = (".yaml", ".yml")


@click.command(
    cls=Command,
    examples=(
        "colonnade deploy colonnade-tiny --name desk --replicas 2",
        "colonnade deploy /path/to/model --min 0 --max 4  # follows demand, and rests without any",
        "colonnade deploy desk.yaml",
        "colonnade deploy my-package/  # a package: built into a version, then served by the fleet",
    ),
)
@click.argument("source", metavar="SOURCE")
@click.option("--name", metavar="NAME", help="The name that requests ask for [made from the model].")
@click.option("--replicas", type=click.IntRange(0), metavar="N", help="A fixed number of replicas.")
@click.option("--min", "least", type=click.IntRange(0), metavar="N", help="By demand: at least N replicas.")
@click.option("--max", "most", type=click.IntRange(1), metavar="N", help="By demand: at most N replicas.")
@click.option("--target", type=float, metavar="N", help="Requests in flight that one replica should have [8].")
@click.option("--environment", metavar="ENV", default="production", help="development, staging or production.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="A setting of its replicas; repeatable.")
@click.pass_obj
def deploy(session: Session, source: str, settings: tuple[str, ...], environment: str, **asked: Any) -> None:
    """Deploy a model: from a folder, a name, or a YAML file.

    An environment is a deployment of its own: what stands in staging is asked for as NAME.staging, and `promote`
    brings it on.

    SOURCE is what `serve` takes, or a file with the deployment (docs/fleet.md has its keys). Deploying again under
    the same name changes what is deployed: new settings or another model roll through one replica at a time. A package
    is checked and built first, and becomes a version that does not change when its folder does.
    """
    from colonnade.cli.control import open_control
    from colonnade.cli.home import Home
    from colonnade.fleet import versions

    name, change = _from(session, source)
    change |= _flags(**{key: value for key, value in asked.items() if key != "name"})
    change["settings"] = {**change.get("settings", {}), **_pairs(settings)}
    name = versions.environment(asked["name"] or name, environment)
    deployed = open_control(Home(session.home)).put(name, change)
    tell(session, deployed)


def _from(session: Session, source: str) -> tuple[str, dict[str, Any]]:
    from colonnade.packages.folder import is_package

    if source.endswith(MANIFESTS):
        return _from_file(source)
    return _from_package(session, Path(source)) if is_package(source) else _from_model(source)


def _from_package(session: Session, folder: Path) -> tuple[str, dict[str, Any]]:
    from colonnade.cli.llm_packages import as_model
    from colonnade.packages.building.version import build
    from colonnade.packages.folder import open_package

    if (package := open_package(folder)).llm is not None:
        model, settings = as_model(session, str(folder), {})
        return package.name, {
            **_from_model(model)[1],
            "settings": {key: str(value) for key, value in settings.items() if key != "served_name"},
        }
    version = build(folder, session.home, session.talk)
    return version.name, {"model": version.model}


def _from_file(source: str) -> tuple[str, dict[str, Any]]:
    from colonnade.cli.models import name_of
    from colonnade.fleet.manifest import read_manifest

    manifest = read_manifest(Path(source))
    change = manifest.model_dump(exclude={"name"}, exclude_none=True)
    return manifest.name or name_of(manifest.model), change


def _from_model(source: str) -> tuple[str, dict[str, Any]]:
    """A folder is named whole: replicas are started elsewhere."""
    from colonnade.cli.models import check_model, name_of, placed

    check_model(source)
    return name_of(source), {"model": placed(source)}


def _flags(replicas: int | None, least: int | None, most: int | None, target: float | None) -> dict[str, Any]:
    scaling = {key: value for key, value in (("min", least), ("max", most), ("target", target)) if value is not None}
    if scaling and "max" not in scaling:
        raise click.UsageError("--min and --target go with --max")
    if scaling and replicas is not None:
        raise click.UsageError("--replicas is a fixed number, --max follows demand: not both")
    if scaling:
        return {"scaling": scaling}
    return {} if replicas is None else {"replicas": replicas, "scaling": None}


def _pairs(settings: tuple[str, ...]) -> dict[str, str]:
    pairs = [each.partition("=") for each in settings]
    wrong = next((key for key, mark, _ in pairs if not mark or not key), None)
    if wrong is not None:
        raise click.UsageError(f"--set {wrong}: write KEY=VALUE, as in --set threads=2")
    return {key: value for key, _, value in pairs}


def tell(session: Session, deployed: Any) -> None:
    """A deployment as it is now."""
    import msgspec

    if session.as_json:
        session.json(msgspec.to_builtins(deployed))
        return
    scaling = deployed.scaling
    many = f"{deployed.replicas}" if scaling is None else f"{scaling.min} to {scaling.max} (now {deployed.replicas})"
    said = f"{deployed.name}  model {deployed.model}  replicas {many}  generation {deployed.generation}"
    if deployed.stage is not None:
        said += f"  rollout: step {deployed.stage + 1} of {len(deployed.rollout.steps)}"
    session.data(said)
