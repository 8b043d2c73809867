"""Which places of the KV cache are free. A page holds one token's keys and values."""

from __future__ import annotations

from collections.abc import Collection, Iterable


class Pages:
    """Hands out page numbers in [0, total) and takes them back.

    The free list is a stack that keeps order: what was given back together comes out together, in the same order, so
    that ascending runs (fast to gather) survive. `tidy` sorts it.
    """

    def __init__(self, total: int) -> None:
        assert total > 0
        self.total = total
        self._free = list(range(total - 1, -1, -1))
        self._taken: set[int] = set()
        self._quarantined: set[int] = set()

    @property
    def free(self) -> int:
        return len(self._free)

    @property
    def capacity(self) -> int:
        """Pages that can ever be free again."""
        return self.total - len(self._quarantined)

    def take(self, count: int) -> list[int]:
        """`count` pages. The caller has seen that so many are free."""
        assert 0 <= count <= len(self._free), "took more pages than are free"
        at = len(self._free) - count
        taken = self._free[at:]
        del self._free[at:]
        taken.reverse()
        self._taken.update(taken)
        return taken

    def give(self, pages: Collection[int]) -> None:
        """Return pages that were taken, each once."""
        before = len(self._taken)
        self._taken.difference_update(pages)
        assert len(self._taken) == before - len(pages), "a page was freed twice or never taken"
        self._free.extend(reversed(list(pages)))

    def leaked(self, owned: Iterable[int]) -> set[int]:
        """Pages taken that are not among `owned`."""
        return self._taken.difference(owned)

    def quarantine(self, pages: Iterable[int]) -> None:
        """Withdraw taken pages for good: nobody knows who may still write to them."""
        lost = set(pages)
        assert lost <= self._taken
        self._taken -= lost
        self._quarantined |= lost

    def tidy(self) -> None:
        """Sort the free list, so that the next pages taken ascend. For idle times: O(free)."""
        self._free.sort(reverse=True)

    def validate(self) -> None:
        """Every page is in exactly one of: free, taken, quarantined."""
        free = set(self._free)
        assert len(free) == len(self._free), "a page is free twice"
        assert len(free) + len(self._taken) + len(self._quarantined) == self.total
        assert free | self._taken | self._quarantined == set(range(self.total))
