"""Who may ask, and what is fixed about a request."""

from __future__ import annotations

import hmac
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.gateway.admission import (
    ANYONE,
    NOISE,
    Badge,
    Keys,
    Peek,
    check_bind,
    fix,
    lines_of,
    read_body,
    request_id,
)
from colonnade.wire.errors import BadSetting, InvalidRequest, Overloaded, Unauthenticated
from colonnade.wire.routes import KeyRecord, Routes

PEPPER = b"p" * 32


def made(key: bytes, tenant: str = "acme") -> KeyRecord:
    return KeyRecord("n", hmac.digest(PEPPER, key, "sha256").hex(), tenant)


def routes(*keys: KeyRecord, auth: bool = True) -> Routes:
    return Routes(revision=1, keys=keys, pepper=PEPPER.hex(), auth=auth)


@given(st.lists(st.binary(min_size=1, max_size=40), unique=True), st.binary(max_size=40))
def test_exactly_the_known_keys_are_known(known: list[bytes], asked: bytes) -> None:
    keys = Keys(routes(*(made(key, f"t{number}") for number, key in enumerate(known))))
    assert len(keys) == len(known)
    for number, key in enumerate(known):
        assert keys.look_up(key).tenant == f"t{number}"
    if asked not in known:
        with pytest.raises(Unauthenticated):
            keys.look_up(asked)


def test_a_badge_is_good_for_its_key_and_for_the_keys_that_are_known() -> None:
    badge = Badge()
    before, after = Keys(routes(made(b"a"), made(b"b", "other"))), Keys(routes(made(b"b", "other")))
    for _ in range(2):
        assert badge.show(before, b"a").tenant == "acme"
    assert badge.show(before, b"b").tenant == "other"
    for wrong in (b"c", b""):
        with pytest.raises(Unauthenticated):
            badge.show(before, wrong)
    assert badge.show(before, b"b").tenant == "other"
    assert badge.show(before, b"a").tenant == "acme"
    with pytest.raises(Unauthenticated):
        badge.show(after, b"a")
    with pytest.raises(Unauthenticated):
        badge.show(after, b"a")
    with pytest.raises(Unauthenticated):
        Badge().show(after, b"")


def test_nobody_is_let_in_before_keys_are_known() -> None:
    with pytest.raises(Overloaded) as refused:
        Keys().look_up(b"key")
    assert refused.value.reason == "starting"
    with pytest.raises(Unauthenticated):
        Keys(routes()).look_up(b"key")


@pytest.mark.parametrize(
    ("loopback", "setting", "routed", "asked"),
    [
        (True, True, True, True),
        (True, False, True, False),
        (True, True, False, False),
        (False, False, False, True),
        (False, True, False, True),
    ],
)
def test_keys_are_off_on_loopback_alone(loopback: bool, setting: bool, routed: bool, asked: bool) -> None:
    keys = Keys(routes(auth=routed), auth=setting, loopback=loopback)
    assert keys.asked is asked
    if not asked:
        assert keys.look_up(b"") is ANYONE


def test_a_tenant_that_would_break_a_header_has_no_key() -> None:
    keys = Keys(routes(made(b"a", "x\r\ny"), made(b"b", "fine")))
    assert len(keys) == 1


def test_where_keys_must_be() -> None:
    check_bind("127.0.0.1", True, False, None)
    check_bind("0.0.0.0", False, True, None)
    check_bind("0.0.0.0", False, True, routes(made(b"a")))
    for auth, known in ((False, None), (True, routes(auth=False)), (True, routes())):
        with pytest.raises(BadSetting) as refused:
            check_bind("0.0.0.0", False, auth, known)
        assert "127.0.0.1" in refused.value.hint


@given(st.binary(max_size=80), st.binary(min_size=NOISE, max_size=NOISE))
def test_an_id_is_the_clients_if_it_is_one(sent: bytes, noise: bytes) -> None:
    found = request_id(sent, noise)
    assert re.fullmatch(rb"[A-Za-z0-9_-]{1,64}", found)
    if re.fullmatch(rb"[A-Za-z0-9_-]{1,64}", sent):
        assert found == sent
    else:
        assert found == noise[:16].hex().encode()


@given(st.binary(min_size=NOISE, max_size=NOISE), st.sampled_from(["", "acme"]))
def test_a_ticket_holds_the_contracts_headers(noise: bytes, tenant: str) -> None:
    lines = fix(b"r1", lines_of(made(b"k", tenant)), 1700000000.9, noise).decode().split("\r\n")
    fields = dict(line.split(": ") for line in lines if line)
    assert fields["Colonnade-Request-Id"] == "r1"
    assert fields["Colonnade-Created"] == "1700000000"
    assert 0 <= int(fields["Colonnade-Seed"]) < 2**63
    assert fields.get("Colonnade-Tenant", "") == tenant


def test_bodies() -> None:
    assert read_body(b'{"messages": [1, {"model": "no"}], "model": "m", "stream": true}').stream is True
    assert read_body(b'{"model": "m", "stream": "yes"}').stream == "yes"
    assert read_body(b'{"stream": true}', "only") == Peek("only", True)
    assert read_body(b'{"model": "m"}', "only").model == "m"
    for bad, code in ((b"{", "invalid_json"), (b"{}", "invalid_value"), (b'{"model": 1}', "invalid_value")):
        with pytest.raises(InvalidRequest) as refused:
            read_body(bad)
        assert refused.value.reason == code
