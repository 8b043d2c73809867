"""Settings of a replica around another engine's server: what is wrong is said before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from colonnade.fleet.launch import settings_argv
from colonnade.replica.foreign.lookout import chosen
from colonnade.replica.foreign.server import Served, Server, read_key
from colonnade.replica.foreign.serving import check_foreign, is_foreign
from colonnade.wire.errors import BadSetting
from colonnade.wire.sections import ReplicaSettings

URL = "http://127.0.0.1:9"
A, B = Served("org/a", 10), Served("org/b")


def test_a_url_makes_a_replica_foreign() -> None:
    assert is_foreign(ReplicaSettings(engine_url=URL, engine_command="serve it"))
    assert not is_foreign(ReplicaSettings())
    with pytest.raises(BadSetting, match="engine_url is not"):
        is_foreign(ReplicaSettings(engine_command="serve it"))


def test_settings_that_are_sound(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sk-1\n")
    events = "tcp://127.0.0.1:5557"
    check_foreign(ReplicaSettings(engine_url=URL, engine_command="serve it", engine_events=events))
    assert read_key(str(tmp_path / "key")) == "sk-1"
    assert read_key("") == ""


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"engine_url": "127.0.0.1:8000"}, "not the URL of a server"),
        ({"engine_url": "tcp://host:1"}, "not the URL of a server"),
        ({"engine_url": URL, "engine_events": "127.0.0.1:5557"}, "is no endpoint"),
        ({"engine_url": URL, "engine_key_file": "/none/such"}, "cannot read the engine's key"),
        ({"engine_url": URL, "engine_command": "'"}, "No closing quotation"),
    ],
)
def test_settings_that_are_not(settings: dict[str, str], said: str) -> None:
    with pytest.raises(BadSetting, match=said):
        check_foreign(ReplicaSettings(**settings))  # pyright: ignore[reportArgumentType]


def test_a_key_that_cannot_be_sent(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("two\nlines")
    with pytest.raises(BadSetting, match="cannot be sent"):
        read_key(str(tmp_path / "key"))


async def test_a_url_may_end_as_clients_write_it() -> None:
    from colonnade.replica.foreign.kinds import OPENAI

    server = Server(f"{URL}/v1/", OPENAI)
    assert server.url == URL
    await server.close()


def test_which_model() -> None:
    assert chosen([A, B], "org/b") == B
    assert chosen([A], "") == A
    for models, wanted in (([A, B], ""), ([A], "other"), ([A, B], "other"), ([], "")):
        with pytest.raises(BadSetting, match="does not serve") as raised:
            chosen(models, wanted)
        assert raised.value.hint == f"it serves: {', '.join(each.name for each in models) or 'none'}"


def test_a_deployment_may_name_them() -> None:
    flags = settings_argv({"engine_url": URL, "engine_kind": "vllm"})
    assert flags == ["--engine-kind=vllm", f"--engine-url={URL}"]
