from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from colonnade.engine.radix import Lease, RadixTree, prefix_digest
from colonnade.wire.messages import Removed, Stored


def put(tree: RadixTree, tokens: list[int], first_page: int, namespace: str = "") -> int:
    """Insert and let go; how much was known."""
    lease, known = tree.insert(namespace, tokens, list(range(first_page, first_page + len(tokens))))
    tree.release(lease)
    return known


def look(tree: RadixTree, tokens: list[int], namespace: str = "") -> list[int]:
    """The pages that a match finds."""
    lease = tree.match(namespace, tokens)
    tree.release(lease)
    assert lease.length == len(lease.pages)
    return lease.pages


def test_an_empty_tree_matches_nothing() -> None:
    tree = RadixTree()
    assert look(tree, [1, 2]) == []
    assert tree.evict(5) == []
    tree.validate()


def test_matches_to_the_token() -> None:
    tree = RadixTree()
    assert put(tree, [1, 2, 3, 4], 10) == 0
    assert look(tree, [1, 2, 3, 4, 5]) == [10, 11, 12, 13]
    assert look(tree, [1, 2, 9]) == [10, 11]
    assert look(tree, [2]) == []
    assert put(tree, [1, 2, 3, 7], 20) == 3
    assert look(tree, [1, 2, 3, 7]) == [10, 11, 12, 23]
    assert tree.size == 5
    tree.validate()


def test_namespaces_share_nothing() -> None:
    tree = RadixTree()
    put(tree, [1, 2], 0, "a")
    assert look(tree, [1, 2], "b") == []
    put(tree, [1, 2], 2, "b")
    assert look(tree, [1, 2], "a") == [0, 1]
    assert prefix_digest("a", [1]) != prefix_digest("b", [1])


def test_the_least_recently_used_goes_first_and_its_end_before_its_beginning() -> None:
    tree = RadixTree()
    put(tree, [1, 2, 3], 0)
    put(tree, [4, 5, 6], 3)
    look(tree, [1, 2, 3])
    assert tree.evict(1) == [5]
    assert look(tree, [4, 5, 6]) == [3, 4]
    assert sorted(tree.evict(4)) == [0, 1, 2, 4]
    assert tree.size == tree.evictable == 1
    tree.validate()


def test_a_beginning_follows_its_last_end() -> None:
    tree = RadixTree()
    put(tree, [1, 2, 3], 0)
    put(tree, [1, 2, 4], 10)
    put(tree, [9], 20)
    assert tree.evict(4) == [2, 12, 0, 1]
    assert tree.evict(9) == [20]
    assert tree.size == 0
    tree.validate()


def test_a_lease_protects_its_path_and_nothing_else() -> None:
    tree = RadixTree()
    put(tree, [1, 2, 3, 4], 0)
    lease = tree.match("", [1, 2])
    assert (tree.size, tree.evictable) == (4, 2)
    assert sorted(tree.evict(9)) == [2, 3]
    assert lease.pages == [0, 1]
    tree.release(lease)
    assert tree.evict(9) == [0, 1]


def test_a_lease_outlives_splits_of_its_path() -> None:
    tree = RadixTree()
    lease, _ = tree.insert("", [1, 2, 3, 4], [0, 1, 2, 3])
    look(tree, [1])
    look(tree, [1, 2, 3])
    assert lease.pages == [0, 1, 2, 3]
    assert tree.evictable == 0
    tree.validate()
    tree.release(lease)
    assert tree.evictable == 4
    tree.validate()


def test_releasing_twice_is_a_defect_of_ours() -> None:
    tree = RadixTree()
    lease = tree.match("", [1])
    tree.release(lease)
    with pytest.raises(AssertionError, match="released twice"):
        tree.release(lease)


def test_changes_tell_the_story_in_order() -> None:
    tree = RadixTree()
    put(tree, [1, 2, 3], 0, "n")
    look(tree, [1, 2], "n")
    tree.evict(1)
    assert tree.changes() == [
        Stored(prefix_digest("n", [1, 2, 3]), 3),
        Stored(prefix_digest("n", [1, 2]), 2),
        Removed(prefix_digest("n", [1, 2, 3])),
    ]
    assert tree.changes() == []
    assert tree.snapshot() == [Stored(prefix_digest("n", [1, 2]), 2)]


def test_stale_entries_of_the_heap_are_swept() -> None:
    tree = RadixTree()
    put(tree, [1, 2, 3], 0)
    for _ in range(500):
        look(tree, [1, 2, 3])
    assert len(tree._oldest) < 100
    tree.validate()
    assert tree.evict(3) == [0, 1, 2]


def test_namespaces_leave_nothing_behind() -> None:
    tree = RadixTree()
    for i in range(50):
        put(tree, [1], i, f"salt-{i}")
    tree.evict(50)
    assert not tree._roots


class Model(RuleBasedStateMachine):
    """Against a dictionary from (namespace, prefix) to page."""

    def __init__(self) -> None:
        super().__init__()
        self.tree = RadixTree()
        self.held: dict[tuple[str, tuple[int, ...]], int] = {}
        self.leases: list[tuple[Lease, str, list[int]]] = []
        self.published: dict[bytes, int] = {}
        self.fresh = 0

    def longest(self, namespace: str, tokens: list[int]) -> int:
        return next((n for n in range(len(tokens), 0, -1) if (namespace, tuple(tokens[:n])) in self.held), 0)

    def pages(self, namespace: str, tokens: list[int]) -> list[int]:
        return [self.held[namespace, tuple(tokens[: n + 1])] for n in range(len(tokens))]

    words = st.lists(st.integers(0, 2), max_size=8)
    names = st.sampled_from(["", "a"])

    @rule(namespace=names, tokens=words)
    def match(self, namespace: str, tokens: list[int]) -> None:
        lease = self.tree.match(namespace, tokens)
        assert lease.length == self.longest(namespace, tokens)
        self.leases.append((lease, namespace, tokens[: lease.length]))

    @rule(namespace=names, tokens=words)
    def insert(self, namespace: str, tokens: list[int]) -> None:
        pages = list(range(self.fresh, self.fresh + len(tokens)))
        self.fresh += len(tokens)
        before = self.longest(namespace, tokens)
        assert self.tree.known(namespace, tokens) == before
        lease, known = self.tree.insert(namespace, tokens, pages)
        assert known == before
        assert lease.length == len(tokens)
        for n in range(known, len(tokens)):
            self.held[namespace, tuple(tokens[: n + 1])] = pages[n]
        self.leases.append((lease, namespace, tokens))

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        lease, _, _ = self.leases.pop(data.draw(st.integers(0, len(self.leases) - 1)))
        self.tree.release(lease)

    @rule(count=st.integers(0, 12))
    def evict(self, count: int) -> None:
        promised = min(count, self.tree.evictable)
        freed = self.tree.evict(count)
        assert len(freed) == promised
        gone = set(freed)
        self.held = {key: page for key, page in self.held.items() if page not in gone}

    @invariant()
    def agrees(self) -> None:
        self.tree.validate()
        assert self.tree.size == len(self.held)
        assert sorted(self.tree.pages()) == sorted(self.held.values())
        for lease, namespace, tokens in self.leases:
            assert lease.pages == self.pages(namespace, tokens)
        safe = {(name, tuple(tokens[: n + 1])) for _, name, tokens in self.leases for n in range(len(tokens))}
        assert self.tree.evictable == len(self.held) - len(safe)

    @invariant()
    def publishes(self) -> None:
        for change in self.tree.changes():
            if isinstance(change, Stored):
                assert change.digest not in self.published
                self.published[change.digest] = change.length
            else:
                del self.published[change.digest]
        known = {prefix_digest(name, tokens): len(tokens) for name, tokens in self.held}
        assert self.published.items() <= known.items()
        assert self.published == {each.digest: each.length for each in self.tree.snapshot()}


Model.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestModel = Model.TestCase
