"""Tokens on disk: a killed gateway loses none, and none counts twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from colonnade.gateway import bill as module
from colonnade.gateway.bill import Bill
from colonnade.wire.routes import TokenSum


def test_sums(tmp_path: Path) -> None:
    bill = Bill("g1")
    bill.add(TokenSum(7, "crm", "tiny", 3, 4))
    bill.add(TokenSum(7, "crm", "tiny", 1, 1))
    bill.add(TokenSum(7, "web", "tiny", 1, 0))
    assert bill.sums() == (TokenSum(7, "crm", "tiny", 4, 5), TokenSum(7, "web", "tiny", 1, 0))
    assert list(bill.former()) == []
    bill.close()


def test_what_was_told_is_forgotten_when_no_answer_can_change_it() -> None:
    bill = Bill("g1")
    bill.add(TokenSum(7, "crm", "tiny", 3, 4))
    told = bill.sums()
    bill.told(told, 8)
    assert bill.sums() == told
    bill.add(TokenSum(7, "crm", "tiny", 1, 1))
    bill.told(told, 9)
    assert bill.sums() == (TokenSum(7, "crm", "tiny", 4, 5),)
    bill.told(bill.sums(), 9)
    assert bill.sums() == ()


def test_the_next_gateway_tells_what_a_killed_one_left(tmp_path: Path) -> None:
    killed = Bill("g1", tmp_path)
    killed.add(TokenSum(7, "crm", "tiny", 3, 4))
    killed.add(TokenSum(7, "crm", "tiny", 3, 4))
    following = Bill("g2", tmp_path)
    assert list(following.former()) == []  # it lives
    killed.close()
    with (tmp_path / "g1.tokens").open("ab") as file:
        file.write(b'{"hour":7,"key":"crm"')
    [(file, name, sums)] = following.former()
    assert (file.name, name, sums) == ("g1.tokens", "g1", (TokenSum(7, "crm", "tiny", 6, 8),))
    file.unlink()
    assert list(following.former()) == []
    following.close()


def test_a_long_file_is_written_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST", 500)
    bill, other = Bill("g1", tmp_path), Bill("g2", tmp_path)
    for _ in range(50):
        bill.add(TokenSum(7, "crm", "tiny", 1, 2))
    assert (tmp_path / "g1.tokens").stat().st_size < 1000
    assert list(other.former()) == []
    bill.close()
    [(_, _, sums)] = other.former()
    assert sums == (TokenSum(7, "crm", "tiny", 50, 100),)
    other.close()
