"""Settings: which source wins, what the origin says, and what is refused."""

import argparse
import contextlib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.wire import settings, units
from colonnade.wire.errors import BadSetting
from colonnade.wire.resolve import named
from colonnade.wire.setting import HIDDEN
from colonnade.wire.settings import REGISTRY, SECTIONS, Resolved, Setting, resolve

USER = '[engine]\nthreads = 1\nmax_running = "2K"\n'
PROJECT = "\n# ours\n[engine]\nthreads = 2\n"


def test_flag_over_environment_over_project_over_user_over_default() -> None:
    variable = {"COLONNADE_ENGINE_THREADS": "3"}
    steps = [
        (resolve({}, {}), None, "default"),
        (resolve({}, {}, "", USER), 1, "user file config.toml:2"),
        (resolve({}, {}, PROJECT, USER), 2, "project file colonnade.toml:4"),
        (resolve({}, variable, PROJECT, USER), 3, "environment COLONNADE_ENGINE_THREADS"),
        (resolve({"engine.threads": "4"}, variable, PROJECT, USER), 4, "flag --threads"),
    ]
    for resolved, value, origin in steps:
        assert resolved.engine.threads == value
        assert str(resolved.origins["engine.threads"]) == origin
    assert steps[-1][0].engine.max_running == 2048


@pytest.mark.parametrize("name", ["engine.max_running", "max_running", "max-running", "--max-running"])
def test_a_flag_by_any_of_its_names(name: str) -> None:
    assert resolve({name: "7"}, {}).engine.max_running == 7


def test_a_flag_that_was_not_given_is_none() -> None:
    assert resolve({"threads": None}, {"COLONNADE_ENGINE_THREADS": "3"}).engine.threads == 3


@pytest.mark.parametrize(("value", "said"), [(False, False), (True, True), ("off", False), ("on", True)])
def test_switches_from_flags(value: object, said: bool) -> None:
    assert resolve({"auth": value}, {}).gateway.auth is said


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[gateway]\nport = 9000\n", ":2"),
        ("gateway.port = 9000\n", ":1"),
        ("# port\n\n[ gateway ]\n\n  port=9000", ":5"),
        ("gateway = {port = 9000}\n", ""),
    ],
)
def test_the_origin_in_a_file_has_its_line_where_it_can(text: str, line: str) -> None:
    resolved = resolve({}, {}, text)
    assert resolved.gateway.port == 9000
    assert str(resolved.origins["gateway.port"]) == f"project file colonnade.toml{line}"


@pytest.mark.parametrize(
    ("flags", "environ", "text", "message", "hint"),
    [
        ({"treads": "1"}, {}, "", "unknown setting: treads", "did you mean threads?"),
        ({}, {"COLONNADE_ENGINE_TREADS": "1"}, "", "COLONNADE_ENGINE_TREADS", "did you mean COLONNADE_ENGINE_THREADS?"),
        ({}, {}, "[engine]\ntreads = 1", "colonnade.toml:2: engine.treads", "did you mean engine.threads?"),
        ({}, {}, "[engin]\nthreads = 1", "engin.threads", "did you mean engine.threads?"),
        ({}, {}, "zebra = 1", "zebra", "config show"),
        ({}, {}, "[engine]\nthreads = [1]", "engine.threads", "write text"),
        ({}, {}, "engine = 1", "engine", "did you mean"),
        ({}, {}, "threads 1", "colonnade.toml is not TOML", "[section]"),
        ({"port": "70000"}, {}, "", "gateway.port: '70000' is too large (flag --port)", "at most 65535"),
        ({}, {"COLONNADE_ENGINE_THREADS": "0"}, "", "too small (environment COLONNADE_ENGINE_THREADS)", "at least 1"),
        ({}, {}, "[replica]\ndrain_timeout = 'soon'", "replica.drain_timeout: 'soon' is not a duration", "30s"),
        ({"device": "gpu"}, {}, "", "engine.device: 'gpu'", "auto, cpu or cuda"),
    ],
)
def test_what_is_refused(flags: dict[str, object], environ: dict[str, str], text: str, message: str, hint: str) -> None:
    with pytest.raises(BadSetting) as caught:
        resolve(flags, environ, text)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_a_wrong_value_is_refused_even_where_it_is_overridden() -> None:
    with pytest.raises(BadSetting, match="COLONNADE_ENGINE_THREADS"):
        resolve({"threads": "2"}, {"COLONNADE_ENGINE_THREADS": "many"})


def test_other_programs_variables_are_not_ours() -> None:
    assert resolve({}, {"PATH": "/bin", "COLONNADES": "1"}) == resolve({}, {})


def test_home_is_not_set_inside_of_itself() -> None:
    with pytest.raises(BadSetting, match=r"config.toml:1, a file inside of it"):
        resolve({}, {}, "", 'home = "/elsewhere"')


def test_a_secret_is_never_shown() -> None:
    secret = Setting("gateway", "token", units.TEXT, "", "A token.", "--token", secret=True)
    assert secret.show("s3cr3t") == HIDDEN
    assert secret.show("") == ""


def test_rows_name_every_setting() -> None:
    rows = resolve({"threads": "2"}, {}).rows()
    assert [row[0] for row in rows] == [each.key for each in REGISTRY]
    assert ("engine.threads", "2") in [row[:2] for row in rows]


def test_names_are_unique_and_complete() -> None:
    for names in zip(*((each.key, each.flag, each.variable, each.name) for each in REGISTRY), strict=True):
        assert len(set(names)) == len(names)
    assert named("home").variable == "COLONNADE_HOME"
    assert {each.variable for each in REGISTRY if each.section == "log"} == {
        "COLONNADE_LOG_LEVEL",
        "COLONNADE_LOG_FORMAT",
    }


@pytest.mark.parametrize("each", REGISTRY, ids=lambda each: each.key)
def test_a_default_is_a_value_like_any_other(each: Setting) -> None:
    assert each.read(each.default_text) == each.default
    assert each.doc.endswith(".")


def parsed(argv: list[str]) -> dict[str, object]:
    parser = argparse.ArgumentParser()
    settings.add_flags(parser, *SECTIONS)
    return settings.given(parser.parse_args(argv))


@pytest.mark.parametrize("section", ["http", "gateway", "replica", "engine", "fleet", "log"])
def test_a_child_gets_what_was_resolved_whatever_its_own_sources_say(section: str) -> None:
    chosen = resolve(
        {"threads": "2", "auth": "off", "max-running": "3K", "log-level": "debug", "served-name": "-x"}, {}
    )
    argv = settings.to_argv(getattr(chosen, section))
    child = resolve(parsed(argv), {"COLONNADE_ENGINE_THREADS": "9"}, PROJECT)
    assert getattr(child, section) == getattr(chosen, section)


def test_only_given_flags_are_given() -> None:
    assert parsed(["--threads", "2", "--no-auth"]) == {"engine.threads": "2", "gateway.auth": False}


def test_flags_of_a_section_are_its_fields() -> None:
    assert [each.flag for each in settings.flags_of("log")] == ["--log-level", "--log-format"]
    assert [each.key for each in settings.flags_of("")] == ["home"]


def test_help_shows_percent_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    parser = argparse.ArgumentParser()
    settings.add_flags(parser, "engine")
    assert "--prefix-cache, --no-prefix-cache" in parser.format_help()


def load(monkeypatch: pytest.MonkeyPatch, folder: Path, flags: dict[str, object]) -> Resolved:
    monkeypatch.setenv("COLONNADE_HOME", str(folder / "home"))
    return settings.load(flags, folder)


def test_load_reads_both_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "config.toml").write_text(USER)
    (tmp_path / "colonnade.toml").write_text(PROJECT)
    resolved = load(monkeypatch, tmp_path, {})
    assert resolved.home == tmp_path / "home"
    assert (resolved.engine.threads, resolved.engine.max_running) == (2, 2048)
    assert str(resolved.origins["engine.max_running"]) == f"user file {tmp_path}/home/config.toml:3"
    assert str(resolved.origins["engine.threads"]) == f"project file {tmp_path}/colonnade.toml:4"


def test_load_without_files_and_with_the_state_folder_from_a_flag(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert load(monkeypatch, tmp_path, {"home": str(tmp_path / "other")}).home == tmp_path / "other"


def test_a_file_that_cannot_be_read_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "colonnade.toml").write_bytes(b"\xff")
    with pytest.raises(BadSetting, match="cannot read"):
        load(monkeypatch, tmp_path, {})


def values_of(each: Setting) -> st.SearchStrategy[object]:
    """Values of a setting within its bounds."""
    low, high = int(each.at_least or 0), int(each.at_most or 10**9)
    whole = st.integers(max(low, 1), high)
    match each.default:
        case bool():
            return st.booleans()
        case float():
            return whole.map(float)
        case str():
            words = each.kind.name.split("|")
            return st.sampled_from(words) if len(words) > 1 else st.text("abz09-/. ", max_size=8)
        case _:
            return whole


ANY = st.sampled_from(REGISTRY).flatmap(lambda each: st.tuples(st.just(each), values_of(each)))


@given(st.lists(ANY, max_size=8), st.lists(ANY, max_size=8))
def test_any_settings_as_flags_or_variables(
    flags: list[tuple[Setting, object]], variables: list[tuple[Setting, object]]
) -> None:
    wanted = dict(variables) | dict(flags)
    resolved = resolve(
        {each.key: each.kind.format(value) for each, value in flags},
        {each.variable: each.kind.format(value) for each, value in variables},
    )
    for each in REGISTRY:
        assert resolved.value(each.key) == wanted.get(each, each.default)


@given(st.text(max_size=40))
def test_any_text_as_a_file_is_read_or_refused(text: str) -> None:
    """Nothing but BadSetting comes out; what is read without knowing any setting changes none."""
    with contextlib.suppress(BadSetting):
        assert replace(resolve({}, {}, text), origins={}) == replace(resolve({}, {}), origins={})
