"""Human units: the worked examples, the round trip, and what is refused."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from colonnade.wire import units
from colonnade.wire.errors import BadSetting

FRACTIONS = st.floats(0, 1)
SECONDS = st.one_of(st.integers(0, 10**7).map(float), st.floats(0, 1e12), st.integers(0, 999).map(lambda n: n / 1000))


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0), ("4096", 4096), ("32K", 32768), ("30k", 30000), ("1.5K", 1536), ("2 M", 2 << 20), ("32_768", 32768)],
)
def test_counts(text: str, value: int) -> None:
    assert units.parse_count(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("10GiB", 10 << 30),
        ("10GB", 10**10),
        ("1.5KiB", 1536),
        ("512kB", 512000),
        ("7", 7),
        ("7B", 7),
        ("2 MiB", 2 << 20),
    ],
)
def test_bytes(text: str, value: int) -> None:
    assert units.parse_bytes(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("30s", 30),
        ("250ms", 0.25),
        ("5m", 300),
        ("1h30m", 5400),
        ("2d", 172800),
        ("0.5", 0.5),
        ("7us", 7e-6),
        ("90m", 5400),
    ],
)
def test_durations(text: str, value: float) -> None:
    assert units.parse_duration(text) == value


@pytest.mark.parametrize(("text", "value"), [("80%", 0.8), ("0.8", 0.8), ("100 %", 1.0), ("0", 0.0), ("12.5%", 0.125)])
def test_percent(text: str, value: float) -> None:
    assert units.parse_percent(text) == value


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        (units.COUNT, 32768, "32K"),
        (units.COUNT, 30000, "30k"),
        (units.COUNT, 0, "0"),
        (units.BYTES, 10 << 30, "10GiB"),
        (units.BYTES, 7, "7B"),
        (units.BYTES, 0, "0"),
        (units.DURATION, 5400.0, "1h30m"),
        (units.DURATION, 0.25, "250ms"),
        (units.DURATION, 1.5, "1.5s"),
        (units.DURATION, 0.0, "0s"),
        (units.PERCENT, 0.8, "80%"),
        (units.PERCENT, 0.125, "12.5%"),
        (units.SWITCH, True, "on"),
        (units.auto(units.COUNT), None, "auto"),
        (units.choice("a", "b"), "b", "b"),
    ],
)
def test_written_the_way_people_write(kind: units.Kind[object], value: object, text: str) -> None:
    assert kind.format(value) == text
    assert kind.parse(text) == value


@given(st.integers(0, 10**18))
def test_whole_numbers_round_trip(value: int) -> None:
    for kind in (units.COUNT, units.PLAIN, units.BYTES):
        assert kind.parse(kind.format(value)) == value


@given(SECONDS)
def test_durations_round_trip(value: float) -> None:
    assert units.parse_duration(units.format_duration(value)) == value


@given(FRACTIONS)
def test_fractions_round_trip(value: float) -> None:
    assert units.parse_percent(units.format_percent(value)) == value


@given(st.booleans())
def test_switches_round_trip(value: bool) -> None:
    assert units.parse_switch(units.format_switch(value)) is value


KINDS = [
    units.COUNT,
    units.BYTES,
    units.DURATION,
    units.PERCENT,
    units.SWITCH,
    units.choice("a", "b"),
    units.auto(units.BYTES),
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("text", ["", "hot", "12Q", "-", "1..2", "0.3K", "٣", "1e5", "inf", "-1x"])
def test_what_is_refused_says_what_is_accepted(kind: units.Kind[object], text: str) -> None:
    with pytest.raises(BadSetting) as caught:
        kind.parse(text)
    assert repr(text) in caught.value.message
    assert kind.accepts.removeprefix("auto, or ") in caught.value.hint


@pytest.mark.parametrize(("kind", "text"), [(units.PERCENT, "80"), (units.PERCENT, "101%"), (units.BYTES, "10G")])
def test_what_is_ambiguous_is_refused(kind: units.Kind[object], text: str) -> None:
    with pytest.raises(BadSetting):
        kind.parse(text)


@given(st.text(max_size=30))
@example("999999999999999949515880660950")
def test_any_text_parses_or_is_a_bad_setting(text: str) -> None:
    for kind in KINDS:
        try:
            value = kind.parse(text)
        except BadSetting:
            continue
        assert kind.parse(kind.format(value)) == value
