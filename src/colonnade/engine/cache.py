"""The KV cache as the scheduler sees it: who holds which page. Free pages, the prefix cache, and what requests own.

all pages = free + prefix cache (leased or not) + owned by requests
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from colonnade.engine.pages import Pages
from colonnade.engine.radix import RadixTree, common
from colonnade.engine.request import Request, State


class Cache:
    """Moves pages between the free list, the tree and the requests."""

    def __init__(self, pages: int, prefix_cache: bool) -> None:
        self.pages = Pages(pages)
        self.tree = RadixTree()
        self._prefix_cache = prefix_cache
        self._sweep = pages // 64

    @property
    def available(self) -> int:
        """Pages that are free or would be on demand."""
        return self.pages.free + self.tree.evictable

    def enter(self, request: Request, slot: int, headroom: int) -> bool:
        """Start the request with pages for all its known tokens, as many as can be from the prefix cache.

        False if they, and `headroom` pages more, cannot be had.
        """
        # At least one is left to compute: it gives the next.
        known = request.findable[: len(request.tokens) - 1] if self._prefix_cache else []
        lease = self.tree.match(request.namespace, known)
        own = len(request.tokens) - lease.length
        if own + headroom > self.available:
            self.tree.release(lease)
            return False
        self._make_room(own)
        request.begin(slot, lease, self.pages.take(own))
        return True

    def saved(self, request: Request) -> int:
        """Tokens of `request` that are here already."""
        return self.tree.known(request.namespace, request.findable) if self._prefix_cache else 0

    def saving(self, request: Request, under_way: Request) -> int:
        """Tokens that `request` need not compute if it waits for the prompt of `under_way` to be shared."""
        if under_way.shared or under_way.namespace != request.namespace or not self._prefix_cache:
            return 0
        return common(under_way.tokens, request.findable) - self.saved(request)

    def extend(self, request: Request, count: int) -> bool:
        """Up to `count` pages for tokens to come, as many as are free; False if not even one can be had."""
        if not self._make_room(1):
            return False
        request.pages += self.pages.take(min(count, self.pages.free))
        return True

    def share(self, request: Request, end: int) -> None:
        """The first `end` tokens are computed: let others find them while it goes on.

        Where another was faster, its tokens stay its own until it ends: to lease the other's, too, would hold twice.
        """
        request.shared = True
        old = request.lease
        assert old is not None
        if not self._prefix_cache:
            return
        if self.tree.known(request.namespace, request.tokens) > old.length:
            self._mark(request)
            return
        request.lease, _ = self.tree.insert(request.namespace, request.tokens[:end], request.pages[:end])
        self.tree.release(old)
        self._mark(request)

    def _mark(self, request: Request) -> None:
        """Let nodes end where the replica wants to know of prefixes, so that their coming and going is told."""
        for length in request.marks:
            if self.tree.known(request.namespace, request.tokens[:length]) == length:
                self.tree.cut(request.namespace, request.tokens[:length])

    def settle(self, request: Request, state: State) -> None:
        """Take back all that it holds; what it computed goes into the prefix cache, unless it is not sound."""
        lease = request.lease
        assert lease is not None
        keep = self._prefix_cache and request.sound
        done = min(request.computed, len(request.tokens)) if keep else lease.length
        stored, known = self.tree.insert(request.namespace, request.tokens[:done], request.pages[:done])
        self.pages.give(request.pages[lease.length : known] + request.pages[done:])
        self.tree.release(lease)
        self.tree.release(stored)
        request.clear(state)

    def drop(self) -> None:
        """Empty the prefix cache of all that no request holds."""
        self.pages.give(self.tree.evict(self.tree.evictable))

    def audit(self, holders: Iterable[Request]) -> set[int]:
        """Withdraw the pages that are taken but that nobody owns: none, unless there is a defect of ours."""
        leaked = self.pages.leaked(self._owned(holders))
        self.pages.quarantine(leaked)
        self.pages.tidy()
        return leaked

    def validate(self, holders: Iterable[Request]) -> None:
        """Every page has exactly one owner. O(pages)."""
        self.pages.validate()
        self.tree.validate()
        owned = list(self._owned(holders))
        assert len(set(owned)) == len(owned), "a page has two owners"
        assert not self.pages.leaked(owned), "a page has no owner"
        assert len(owned) + self.pages.free == self.pages.capacity

    def _make_room(self, count: int) -> bool:
        """Whether `count` pages are free, if need be after eviction: of some more, so that it is not done each step."""
        short = count - self.pages.free
        if short > 0:
            self.pages.give(self.tree.evict(max(short, self._sweep)))
        return self.pages.free >= count

    def _owned(self, holders: Iterable[Request]) -> Iterator[int]:
        yield from self.tree.pages()
        for request in holders:
            yield from request.owned()
