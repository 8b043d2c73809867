"""The prefix cache: a radix tree over tokens, one tree a namespace, one page a token.

A namespace carries whatever must not be shared across (`wire.messages.Namespace.key`). A *lease* is the right
to read the pages of a prefix; while it is held, no page of it is evicted. Nothing here knows time: "recently used" is
counted in leases taken and released.

    root ── [5, 9, 2] ─┬─ [7]            each node: tokens, their pages, and the digest of
                       └─ [8, 8, 1]      the namespace and all tokens from the root to its end
"""

from __future__ import annotations

import heapq
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from colonnade.wire.messages import CacheChange, Removed, Stored


def prefix_digest(namespace: str, tokens: Sequence[int]) -> bytes:
    """What `Stored` and `Removed` carry: blake2b-16 of the namespace and the prefix's tokens (u32, little-endian)."""
    state = _seed(namespace)
    state.update(_packed(tokens))
    return state.digest()


def prefix_digests(namespace: str, tokens: Sequence[int], lengths: Sequence[int]) -> list[bytes]:
    """The same of several prefixes; `lengths` ascend."""
    state, packed, start, found = _seed(namespace), _packed(tokens[: max(lengths, default=0)]), 0, list[bytes]()
    for length in lengths:
        state.update(packed[4 * start : 4 * length])
        start = length
        found.append(state.copy().digest())
    return found


def _seed(namespace: str) -> blake2b:
    name = namespace.encode()
    return blake2b(struct.pack("<I", len(name)) + name, digest_size=16)


def _packed(tokens: Sequence[int]) -> bytes:
    return struct.pack(f"<{len(tokens)}I", *tokens)


class Chain:
    """A prefix that grows, told by the same digest."""

    __slots__ = ("_state", "length")

    def __init__(self, state: blake2b, length: int) -> None:
        self._state = state
        self.length = length

    @classmethod
    def of(cls, namespace: str) -> Chain:
        return cls(_seed(namespace), 0)

    def then(self, tokens: Sequence[int]) -> Chain:
        state = self._state.copy()
        state.update(_packed(tokens))
        return Chain(state, self.length + len(tokens))

    @property
    def digest(self) -> bytes:
        return self._state.digest()


class Node:
    """A run of tokens without a branch. `length` counts from the root to the run's end."""

    __slots__ = ("children", "holds", "length", "namespace", "pages", "parent", "state", "tokens", "used")

    def __init__(self, namespace: str, parent: Node | None, tokens: list[int], pages: list[int]) -> None:
        self.namespace = namespace
        self.parent = parent
        self.tokens = tokens
        self.pages = pages
        self.children: dict[int, Node] = {}
        self.holds = 0  # leases that end here or below
        self.used = 0
        self.length = len(tokens) if parent is None else parent.length + len(tokens)
        self.state: blake2b = _seed(namespace) if parent is None else parent.state.copy()
        self.state.update(_packed(tokens))

    @property
    def evictable(self) -> bool:
        """A leaf that no lease holds. Roots and removed nodes have no parent and never are."""
        return self.parent is not None and not self.children and not self.holds

    def path(self) -> Iterator[Node]:
        """This node and those above it, without the root."""
        node = self
        while node.parent is not None:
            yield node
            node = node.parent


@dataclass(frozen=True, slots=True, eq=False)
class Lease:
    """The first `length` tokens of a prefix, held against eviction until released."""

    node: Node
    length: int

    @property
    def pages(self) -> list[int]:
        """The page of each token. True while the lease is held."""
        runs = [node.pages for node in self.node.path()]
        return [page for run in reversed(runs) for page in run]


class RadixTree:
    """Owns the pages it holds: they come by `insert` and leave by `evict`."""

    def __init__(self) -> None:
        self.size = 0
        """Pages held."""
        self.evictable = 0
        """Of these, pages that `evict` could return now."""
        self._roots: dict[str, Node] = {}
        self._leases: set[Lease] = set()
        self._clock = 0
        self._nodes = 0
        self._oldest: list[tuple[int, int, Node]] = []  # heap of evictable leaves by last use; may hold stale entries
        self._offers = 0
        self._changes: list[CacheChange] = []

    def match(self, namespace: str, tokens: Sequence[int]) -> Lease:
        """A lease of the longest prefix of `tokens` that is held here; its length may be 0.

        May split a node, which changes no prefix that is held.
        """
        return self._hold(self._descend(self._root(namespace), tokens))

    def known(self, namespace: str, tokens: Sequence[int]) -> int:
        """How many leading tokens are held here. Touches nothing."""
        node, length = self._root(namespace), 0
        while length < len(tokens):
            child = node.children.get(tokens[length])
            if child is None:
                break
            node, shared = child, _shared(child.tokens, tokens, length)
            length += shared
            if shared < len(child.tokens):
                break
        return length

    def cut(self, namespace: str, tokens: Sequence[int]) -> None:
        """Let a node end where `tokens` do, if they are held: what is told of it is told of them."""
        self._descend(self._root(namespace), tokens)

    def insert(self, namespace: str, tokens: Sequence[int], pages: Sequence[int]) -> tuple[Lease, int]:
        """Store `tokens` and their pages: a lease of all of it, and how many leading tokens were held before.

        From that number on the pages given are the tree's; those before it stay the caller's (or are the tree's own,
        by an earlier lease).
        """
        assert len(tokens) == len(pages)
        node = self._descend(self._root(namespace), tokens)
        known = node.length
        if known < len(tokens):
            node = self._grow(node, list(tokens[known:]), list(pages[known:]))
        return self._hold(node), known

    def release(self, lease: Lease) -> None:
        """Give the lease back, once."""
        assert lease in self._leases, "a lease was released twice"
        self._leases.remove(lease)
        self._clock += 1
        for node in lease.node.path():
            node.used = self._clock
            node.holds -= 1
            if not node.holds:
                self.evictable += len(node.pages)
        self._offer(lease.node)

    def evict(self, count: int) -> list[int]:
        """Give up `count` pages, or all that are evictable if fewer; least recently used first, ends before beginnings.

        The pages returned are the caller's.
        """
        freed: list[int] = []
        while len(freed) < count and self._oldest:
            used, _, node = heapq.heappop(self._oldest)
            if not node.evictable or node.used != used:
                continue
            if (surplus := len(node.pages) - (count - len(freed))) > 0:
                self._split(node, surplus)
            freed += node.pages
            self._remove(node)
        return freed

    def changes(self) -> list[CacheChange]:
        """What was stored and removed since the last call, in order."""
        changes, self._changes = self._changes, []
        return changes

    def snapshot(self) -> list[Stored]:
        """What all changes add up to."""
        return [Stored(node.state.digest(), node.length) for node in self._walk()]

    def pages(self) -> Iterator[int]:
        for node in self._walk():
            yield from node.pages

    def _root(self, namespace: str) -> Node:
        """The namespace's root; a fresh one is remembered only when something grows on it."""
        return self._roots.get(namespace) or Node(namespace, None, [], [])

    def _descend(self, node: Node, tokens: Sequence[int]) -> Node:
        """The deepest node that leads `tokens`, split off where a run parts from them."""
        while node.length < len(tokens):
            child = node.children.get(tokens[node.length])
            if child is None:
                break
            shared = _shared(child.tokens, tokens, node.length)
            if shared < len(child.tokens):
                return self._split(child, shared)
            node = child
        return node

    def _split(self, node: Node, at: int) -> Node:
        """Cut a run in two and return the upper part. `node` stays the end, so that leases of it stay true."""
        parent = node.parent
        assert parent is not None
        assert 0 < at < len(node.tokens)
        upper = Node(node.namespace, parent, node.tokens[:at], node.pages[:at])
        upper.holds, upper.used = node.holds, node.used
        parent.children[upper.tokens[0]] = upper
        node.tokens, node.pages, node.parent = node.tokens[at:], node.pages[at:], upper
        upper.children[node.tokens[0]] = node
        self._nodes += 1
        self._changes.append(Stored(upper.state.digest(), upper.length))
        return upper

    def _grow(self, parent: Node, tokens: list[int], pages: list[int]) -> Node:
        if parent.parent is None:
            self._roots[parent.namespace] = parent
        node = Node(parent.namespace, parent, tokens, pages)
        parent.children[tokens[0]] = node
        self.size += len(pages)
        self.evictable += len(pages)
        self._nodes += 1
        self._changes.append(Stored(node.state.digest(), node.length))
        return node

    def _remove(self, node: Node) -> None:
        parent = node.parent
        assert parent is not None
        del parent.children[node.tokens[0]]
        node.parent = None
        self.size -= len(node.pages)
        self.evictable -= len(node.pages)
        self._nodes -= 1
        self._changes.append(Removed(node.state.digest()))
        if parent.parent is None and not parent.children:
            del self._roots[parent.namespace]
        self._offer(parent)

    def _hold(self, end: Node) -> Lease:
        lease = Lease(end, end.length)
        self._leases.add(lease)
        self._clock += 1
        for node in end.path():
            node.used = self._clock
            if not node.holds:
                self.evictable -= len(node.pages)
            node.holds += 1
        return lease

    def _offer(self, node: Node) -> None:
        if not node.evictable:
            return
        if len(self._oldest) > 64 + 4 * self._nodes:  # mostly stale: a leaf leaves one entry each time it is released
            self._oldest = [entry for entry in self._oldest if entry[2].evictable and entry[2].used == entry[0]]
            heapq.heapify(self._oldest)
        self._offers += 1
        heapq.heappush(self._oldest, (node.used, self._offers, node))

    def _walk(self) -> Iterator[Node]:
        """Every node, parents before children."""
        ahead = [child for root in self._roots.values() for child in root.children.values()]
        while ahead:
            node = ahead.pop()
            yield node
            ahead.extend(node.children.values())

    def validate(self) -> None:
        """All that must hold between two calls. O(tokens held); for tests and idle times."""
        nodes = list(self._walk())
        holds = dict.fromkeys(nodes, 0)
        for lease in self._leases:
            assert lease.node.length == lease.length
            for node in lease.node.path():
                holds[node] += 1
        fresh = {node for used, _, node in self._oldest if used == node.used}
        for node in nodes:
            _validate(node)
            assert node.holds == holds[node], "holds differ from the leases"
            assert not node.evictable or node in fresh, "a leaf that can be evicted would never be found"
        pages = [page for node in nodes for page in node.pages]
        assert len(set(pages)) == len(pages) == self.size
        assert sum(len(node.pages) for node in nodes if not node.holds) == self.evictable
        assert len(nodes) == self._nodes
        assert all(root.children and not root.length for root in self._roots.values())


def _validate(node: Node) -> None:
    parent = node.parent
    assert parent is not None
    assert len(node.tokens) == len(node.pages) > 0
    assert parent.children[node.tokens[0]] is node
    assert node.length == parent.length + len(node.tokens)
    assert node.namespace == parent.namespace
    assert node.used <= parent.used or parent.parent is None, "used more recently than its beginning"
    state = parent.state.copy()
    state.update(_packed(node.tokens))
    assert state.digest() == node.state.digest()


def common(left: list[int], right: Sequence[int]) -> int:
    """How many leading tokens two sequences share."""
    return _shared(left, right, 0) if left[:1] == list(right[:1]) else 0


def _shared(run: list[int], tokens: Sequence[int], start: int) -> int:
    """How many leading tokens of `run` stand in `tokens` from `start` on: at least one does.

    Compares whole slices: they run in C.
    """
    low, high = 1, min(len(run), len(tokens) - start)
    while low < high:
        middle = (low + high + 1) // 2
        if run[low:middle] == list(tokens[start + low : start + middle]):
            low = middle
        else:
            high = middle - 1
    return low
