"""Merged spans of many owners (pools, series), asked and cut in one go. Pure.

Instants of several owners are compared through one integer, owner and instant together, so that one `searchsorted`
answers for all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from analytics.spans import EMPTY, Instants, Spans

Owners = NDArray[np.integer]

#: Instants are clipped to ± 2**42 ms (139 years around 1970) inside a key; 2**20 owners fit beside them.
_REACH_MS = 2**42
_STRIDE = 2 * _REACH_MS
_MOST_OWNERS = 2**19


def keys(owner: Owners, at_ms: Instants) -> Instants:
    """One integer of owner and instant, in the order (owner, instant); far instants count as 139 years away."""
    key = np.minimum(np.maximum(at_ms, -_REACH_MS + 1), _REACH_MS - 1)
    key += owner.astype(np.int64) * _STRIDE
    return key


@dataclass(frozen=True, slots=True)
class RaggedSpans:
    """Merged spans of many owners, one after the other.

    Attributes
    ----------
    spans : ndarray of int64, shape (m, 2)
        Of each owner sorted, disjoint, not touching. [ms]
    first : ndarray of intp, shape (owners + 1,)
        Those of owner i are ``spans[first[i]:first[i + 1]]``.
    start_keys, end_keys : ndarray of int64, shape (m,)
        `keys` of the starts and of the ends.
    """

    spans: Spans
    first: NDArray[np.intp]
    start_keys: Instants = field(init=False, repr=False, compare=False)
    end_keys: Instants = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self) > _MOST_OWNERS:
            raise ValueError(f"{len(self)} owners at once; at most {_MOST_OWNERS}: judge them in parts")
        owner = np.repeat(np.arange(len(self)), np.diff(self.first))
        object.__setattr__(self, "start_keys", keys(owner, self.spans[:, 0]))
        object.__setattr__(self, "end_keys", keys(owner, self.spans[:, 1]))

    @classmethod
    def of(cls, parts: Sequence[Spans]) -> "RaggedSpans":
        """Join the merged spans of each owner."""
        counts = np.array([len(part) for part in parts], dtype=np.intp)
        joined = np.concatenate([EMPTY, *parts])
        return cls(joined, np.concatenate((np.zeros(1, dtype=np.intp), np.cumsum(counts, dtype=np.intp))))

    def __len__(self) -> int:
        return len(self.first) - 1

    def __getitem__(self, owner: int) -> Spans:
        return self.spans[self.first[owner] : self.first[owner + 1]]

    def take(self, owners: Owners) -> "RaggedSpans":
        """The spans of some of the owners, numbered anew in the order given."""
        counts = np.diff(self.first)[owners]
        first = np.concatenate((np.zeros(1, dtype=np.intp), np.cumsum(counts, dtype=np.intp)))
        rows = np.arange(first[-1]) + np.repeat(self.first[owners] - first[:-1], counts)
        return RaggedSpans(self.spans[rows], first)

    def later(self, by_ms: NDArray[np.int64]) -> "RaggedSpans":
        """Each span without its first `by_ms` (shape (owners,)); those that are not longer are left out. [ms]"""
        counts = np.diff(self.first)
        start = self.spans[:, 0] + np.repeat(by_ms, counts)
        left = start < self.spans[:, 1]
        before = np.concatenate((np.zeros(1, dtype=np.intp), np.cumsum(left, dtype=np.intp)))
        return RaggedSpans(np.column_stack((start, self.spans[:, 1]))[left], before[self.first])

    def first_outside(self, owner: Owners, at_ms: Instants) -> Instants:
        """The first instant at or after each instant that is in no span of its owner: itself, or a span's end. [ms]"""
        if not len(self.spans):
            return at_ms
        index = np.searchsorted(self.start_keys, keys(owner, at_ms), side="right") - 1
        end = self.spans[np.maximum(index, 0), 1]
        running = (index >= self.first[owner]) & (end > at_ms)
        return np.where(running, end, at_ms)

    def cut(self, owner: Owners, spans: Spans) -> tuple[NDArray[np.intp], Spans]:
        """Parts of intervals that lie in their owner's spans.

        Parameters
        ----------
        owner : ndarray of integer, shape (n,)
        spans : ndarray of int64, shape (n, 2)
            Not empty, in any order. [ms]

        Returns
        -------
        rows : ndarray of intp, shape (k,)
            Which of the intervals each part belongs to, ascending; its parts by start.
        parts : ndarray of int64, shape (k, 2)
        """
        if not len(spans) or not len(self.spans):
            return np.empty(0, dtype=np.intp), EMPTY
        first = np.searchsorted(self.end_keys, keys(owner, spans[:, 0]), side="right")
        after = np.searchsorted(self.start_keys, keys(owner, spans[:, 1]), side="left")
        first = np.maximum(first, self.first[owner])
        after = np.minimum(after, self.first[owner + 1])
        counts = np.maximum(after - first, 0)
        rows = np.repeat(np.arange(len(spans)), counts)
        chosen = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts) + first[rows]
        parts = np.column_stack(
            (
                np.maximum(spans[rows, 0], self.spans[chosen, 0]),
                np.minimum(spans[rows, 1], self.spans[chosen, 1]),
            )
        )
        return rows, parts
