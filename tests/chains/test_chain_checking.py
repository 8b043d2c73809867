"""Everything that is wrong with a chain's file, at once, with file and line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytest
from command_line import Run

from colonnade.chains.checking import faults_of
from colonnade.chains.contract import signature_of
from colonnade.chains.facts import CallSite, EdgeFact, StepFact
from colonnade.chains.graph import Chain, open_chain, read_chain
from colonnade.chains.options import Options
from colonnade.wire.errors import BadChain

SHOP = Path(__file__).with_name("shop.py")
HEAD = """
from collections.abc import AsyncIterator
from typing import Protocol
from colonnade.chains import Options, Step, depends, entry
"""
LEAVES = """
class Leaf(Step):
    async def run_remote(self, x: int, y: str = "") -> int:
        return x

class Stream(Step):
    async def run_remote(self, x: int) -> AsyncIterator[int]:
        yield x
"""


def faults(folder: Path, text: str, name: str = "chain_of_test.py") -> list[str]:
    file = folder / name
    file.write_text(HEAD + text)
    return [str(each) for each in read_chain(file)[1]]


def in_top(body: str) -> str:
    """A step that depends on both leaves; `body` is what its run_remote does."""
    return LEAVES + (
        "class Top(Step):\n"
        "    def __init__(self, leaf: Leaf = depends(Leaf), stream: Stream = depends(Stream)) -> None:\n"
        "        self._leaf, self.n = leaf, 1\n"
        "        self.leaf = leaf\n"
        "        self.stream = stream\n"
        f"    async def run_remote(self, a: int, b: str) -> int:\n        {body}\n        return 1\n"
    )


def test_the_shop_is_in_order() -> None:
    chain, found = read_chain(SHOP)
    assert isinstance(chain, Chain)
    assert found == []
    assert [node.name for node in chain.leaves_first][-1] == "Shop"
    assert {"Tail", "Other"} <= {node.name for node in chain.nodes}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("await self.leaf.run_remote(a)", ""),
        ("await self.leaf.run_remote(a, y=b)", ""),
        ("await self.leaf.run_remote(*[a])", ""),
        ("a = 'now a text'; await self.leaf.run_remote(a)", ""),
        ("await self.leaf.run_remote(len(b), f'{a}')", ""),
        ("await self.leaf.run_remote(b)", "x is int, and str is given"),
        ("await self.leaf.run_remote(1.5)", "x is int, and float is given"),
        ("await self.leaf.run_remote()", "x is missing"),
        ("await self.leaf.run_remote(1, '', 3)", "3 arguments are given, it takes 2"),
        ("await self.leaf.run_remote(1, z=3)", "there is no parameter z"),
        ("await self.leaf.run_remote(1, x=3)", "x is given twice"),
        ("await self.stream.run_remote(1)", "Stream answers with a stream: iterate over it with `async for`"),
        ("async for each in self.stream.run_remote(1): pass", ""),
        ("async for each in self.leaf.run_remote(1): pass", "Leaf answers with int: await it"),
        ("self.secrets['key']", "the secret 'key' is not declared: name it in options.secrets"),
    ],
)
def test_calls_through_handles(tmp_path: Path, body: str, said: str) -> None:
    found = faults(tmp_path, in_top(body))
    assert [each.partition(": Top: ")[2].endswith(said) for each in found] == ([True] if said else [])
    assert all(each.startswith("chain_of_test.py:19: ") for each in found)


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("async def run_remote(self, x) -> int: ...", "run_remote: x has no type"),
        ("async def run_remote(self, x: int): ...", "run_remote: its answer has no type"),
        ("async def run_remote(self, x: object) -> int: ...", "run_remote: x: object cannot travel"),
        ("async def run_remote(self, x: int) -> Leaf: ...", "run_remote: its answer: Leaf cannot travel"),
        ("async def run_remote(self, x: Missing) -> int: ...", "run_remote: an annotation cannot be read"),
        ("async def run_remote(x: int) -> int: ...", "run_remote: its first parameter must be self"),
        ("async def run_remote(self, *x: int) -> int: ...", "run_remote: x takes any number of arguments"),
        ("async def run_remote(self) -> int: yield 1", "run_remote: it yields, and is not annotated"),
        ("async def run_remote(self) -> AsyncIterator[int]: ...", "run_remote: it is a stream and never yields"),
        ("def run_remote(self) -> int: yield 1", "run_remote: it yields and is not async"),
        ("async def run_remote(self, x: dict[bytes, int] | list[int] | set[int]) -> int: ...", "run_remote: x: "),
        (
            "async def run_remote(self, x: AsyncIterator[int], y: AsyncIterator[int]) -> int: ...",
            "run_remote: only one parameter may be a stream, and x and y are",
        ),
    ],
)
def test_signatures(tmp_path: Path, method: str, said: str) -> None:
    quoted = HEAD.replace("\nfrom", "\nfrom __future__ import annotations\nfrom", 1)
    file = tmp_path / "chain_of_signatures.py"
    file.write_text(f"{quoted}{LEAVES}\n@entry\nclass Odd(Step):\n    {method}\n")
    found = [str(each) for each in read_chain(file)[1]]
    assert len(found) == 1
    assert found[0].startswith(f"chain_of_signatures.py:17: Odd: {said}")


def test_all_of_it_at_once(tmp_path: Path) -> None:
    found = faults(
        tmp_path,
        LEAVES
        + """
class Promise(Protocol):
    async def run_remote(self, x: str) -> int: ...

class Near(Step):
    options = Options(timeout=1, cpu=-1, secrets=("TEST_KEY",))
    def __init__(self, leaf: Promise = depends(Leaf), far=depends("Far", timeout=9), none=depends("None_")) -> None: ...
    def run_remote(self, x: int) -> int:
        return x

class Far(Step):
    def __init__(self, near: Near = depends(Near), n: int = 3) -> None: ...
    async def run_remote(self, x: int) -> int:
        return x

class Two(Step):
    options = Options(name="Leaf")
    def __init__(self, wrong=depends(int)) -> None: ...
    async def run_remote(self, x: int) -> int:
        return x

@entry
class Start(Step):
    options = Options(timeout=5)
    def __init__(self, far=depends(Far), leaf=depends(Leaf), two=depends(Two)) -> None: ...
    async def run_remote(self, x: int) -> int:
        return x
""",
    )
    plain = "\n".join(found)
    for said in (
        "Near: options.cpu: must be more than 0, got -1",
        "Near: leaf promises (x: str) -> int, and Leaf has (x: int, y: str = ...) -> int",
        "Near: a call to Far may take 9 s, and Near has 1 s in all",
        "a cycle: Far -> Near -> Far",
        "Near: depends('None_'): there is no step of this name",
        "Near: run_remote is not async, and depends on other steps: write `async def`",
        "warning: Near: the secret 'TEST_KEY' has no value here",
        "Far: __init__: n is no dependency: its default must be depends(...)",
        "Leaf: two steps have this name",
        "warning: Start: Far may take 60 s, and Start has 5 s in all",
    ):
        assert said in plain
    lines = [int(each.split(":")[1]) for each in found]
    assert lines == sorted(lines)


class Unmarked(Protocol):
    async def run_remote(self, x: str, more: int) -> int: ...


def test_what_cannot_be_judged_is_left_alone() -> None:
    """A promise or a call of which one side is not known; a fault is told of once."""
    signature = signature_of(Unmarked.run_remote)
    blind = EdgeFact("a", 1, "Gone", signature=None, wanted=signature)
    kept = EdgeFact("b", 2, "Gone", signature=signature, wanted=signature)
    calls = (CallSite("a", 3), CallSite("other", 4), CallSite("b", 5, open=True))
    options = Options(secrets=("key",))
    step = StepFact("Top", "f.py", 1, options=options, edges=(blind, kept), calls=calls, secrets=(("key", 6),))
    assert faults_of([step]) == []
    assert len(faults_of([replace(step, problems=((1, "x"), (1, "x")))])) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = (", "it does not compile"),
        ("\n1 / 0", "it cannot be imported: ZeroDivisionError"),
        ("", "there is no step"),
        (LEAVES, "which step is the entry cannot be told: mark one of Leaf, Stream with @entry"),
        (LEAVES.replace("class", "@entry\nclass"), "more than one step is marked with @entry: Leaf, Stream"),
    ],
)
def test_a_file_that_is_no_chain(tmp_path: Path, text: str, said: str) -> None:
    assert said in faults(tmp_path, text, "no_chain_of_test.py")[0]
    with pytest.raises(BadChain) as bad:
        open_chain(tmp_path / "no_chain_of_test.py")
    assert said in bad.value.hint


def test_the_command(tmp_path: Path) -> None:
    assert Run()("chain", "check", str(SHOP)).exit_code == 0
    result = Run()("chain", "check", str(tmp_path / "none.py"), "--json")
    assert result.exit_code == 1
    assert "there is no such file" in result.stdout
    (tmp_path / "chain_of_command.py").write_text(HEAD + in_top("await self.leaf.run_remote(b)"))
    result = Run()("chain", "check", str(tmp_path / "chain_of_command.py"))
    assert result.exit_code == 1
    assert "chain_of_command.py:19: Top: Leaf(x: int, y: str = ...) -> int: x is int, and str is given" in result.stdout
    assert Run()("chain", "run", str(tmp_path / "chain_of_command.py")).exit_code == 1
    assert Run()("chain", "run", str(SHOP), "--at", "x").exit_code == 2
