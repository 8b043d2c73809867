"""Arrays that lie in mapped files, taken in a few rows at a time.

A mapped file counts among a process's memory, page by page, from when a page is read until the kernel takes it back.
What has been packed is needed no more, so its pages are given back at once: no second copy of the weights is held.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

PIECE = 8 << 20
"""Bytes that are taken in at a time."""


def pieces(array_NK: NDArray[Any]) -> Iterator[tuple[int, NDArray[Any]]]:
    """(first row, rows), in order; the pages of each are given back when the next one is asked for."""
    step = max(1, PIECE // max(1, array_NK.itemsize * array_NK.shape[1]))
    for first in range(0, len(array_NK), step):
        yield first, np.ascontiguousarray(array_NK[first : first + step])
        forget(array_NK)


def forget(array: NDArray[Any]) -> None:
    """Give back all pages of the file that it lies in, if it lies in one; they are read again if they are wanted."""
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap):
        base.madvise(mmap.MADV_DONTNEED)
