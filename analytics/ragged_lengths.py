"""Unions, differences and lengths of the spans of many owners at once. Pure.

`analytics.ragged` joins and cuts merged spans; here they are made, and measured. Ends further than 139 years from 1970
(an interval that is not over) are moved to there, so that owner and instant fit into one integer.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from analytics.ragged import Owners, RaggedSpans, keys
from analytics.spans import FAR_MS, Instants, Spans

#: The furthest instant that a key keeps apart, and the distance between two owners' keys.
REACH_MS = int(keys(np.zeros(1, dtype=np.int64), np.array([FAR_MS]))[0])
_STRIDE = int(keys(np.ones(1, dtype=np.int64), np.zeros(1, dtype=np.int64))[0])


def owners_of(spans: RaggedSpans) -> NDArray[np.intp]:
    """Whose each span is, shape (m,)."""
    return np.repeat(np.arange(len(spans)), np.diff(spans.first))


def nothing(n_owners: int) -> RaggedSpans:
    """Owners without any span."""
    return RaggedSpans(np.empty((0, 2), dtype=np.int64), np.zeros(n_owners + 1, dtype=np.intp))


def merged_by_owner(owner: Owners, spans: Spans, *, n_owners: int) -> RaggedSpans:
    """Union of each owner's intervals.

    Parameters
    ----------
    owner : ndarray of integer, shape (n,)
        Whose each interval is, 0 to n_owners - 1, in any order.
    spans : ndarray of int64, shape (n, 2)
        In any order; touching ones become one, empty ones vanish. [ms]
    n_owners : int
        How many owners there are, with those that have none.

    Raises
    ------
    ValueError
        If an owner is not within 0 to n_owners - 1.
    """
    if len(owner) and (int(owner.min()) < 0 or int(owner.max()) >= n_owners):
        raise ValueError(f"owners must be within 0 to {n_owners - 1}")
    some = np.flatnonzero(spans[:, 1] > spans[:, 0])
    # Starts and ends may be sorted apart: the first i + 1 intervals to start are over before the next starts exactly if
    # the first i + 1 ends are before that start. An owner's latest end is before the next owner's earliest start.
    # The stable sort is the quick one for what comes in few ascending runs, as merged spans of several kinds do.
    starts = np.sort(keys(owner[some], spans[some, 0]), kind="stable")
    ends = np.sort(keys(owner[some], spans[some, 1]), kind="stable")
    breaks = starts[1:] > ends[:-1]
    starts = starts[np.append(True, breaks)[: len(starts)]]
    ends = ends[np.append(breaks, True)[: len(ends)]]
    whose = (starts + _STRIDE // 2) // _STRIDE
    first = np.searchsorted(whose, np.arange(n_owners + 1)).astype(np.intp)
    joined = np.empty((len(starts), 2), dtype=np.int64)
    whose *= _STRIDE
    np.subtract(starts, whose, out=joined[:, 0])
    np.subtract(ends, whose, out=joined[:, 1])
    return RaggedSpans(joined, first)


def union(parts: Sequence[RaggedSpans]) -> RaggedSpans:
    """Union, owner by owner, of at least one set of spans of the same owners."""
    owner = np.concatenate([owners_of(part) for part in parts])
    return merged_by_owner(owner, np.concatenate([part.spans for part in parts]), n_owners=len(parts[0]))


def by_new_owner(spans: RaggedSpans, owner: Owners, *, n_owners: int) -> RaggedSpans:
    """Union of the spans of all that have one new owner, `owner` of shape (old owners,); below 0: left out."""
    whose = owner[owners_of(spans)]
    kept = whose >= 0
    return merged_by_owner(whose[kept], spans.spans[kept], n_owners=n_owners)


def complement(spans: RaggedSpans) -> RaggedSpans:
    """What is in no span of its owner, as far as `REACH_MS` either way."""
    owner, index = owners_of(spans), np.arange(len(spans.spans))
    every = np.arange(len(spans))
    gaps = np.empty((len(spans.spans) + len(spans), 2), dtype=np.int64)
    # An owner's gaps are one more than its spans: before the first, between, after the last.
    gaps[index + owner + 1, 0] = spans.spans[:, 1]
    gaps[index + owner, 1] = spans.spans[:, 0]
    gaps[spans.first[:-1] + every, 0] = -REACH_MS
    gaps[spans.first[1:] + every, 1] = REACH_MS
    whose = np.repeat(every, np.diff(spans.first) + 1)
    return merged_by_owner(whose, gaps, n_owners=len(spans))


def common(spans: RaggedSpans, others: RaggedSpans) -> RaggedSpans:
    """What is in both, owner by owner."""
    owner = owners_of(spans)
    rows, parts = others.cut(owner, spans.spans)
    return merged_by_owner(owner[rows], parts, n_owners=len(spans))


def without(spans: RaggedSpans, taken: RaggedSpans) -> RaggedSpans:
    """What of `spans` is not in `taken`, owner by owner."""
    return common(spans, complement(taken))


def length_before(spans: RaggedSpans, owner: Owners, at_ms: Instants) -> NDArray[np.int64]:
    """Total length of the owner's spans before each instant, shape (n,). [ms]"""
    if not len(spans.spans):
        return np.zeros(len(at_ms), dtype=np.int64)
    total = np.concatenate(([0], np.cumsum(spans.spans[:, 1] - spans.spans[:, 0])))
    index = np.searchsorted(_keys(spans, 0), keys(owner, at_ms), side="right")
    first = spans.first[owner]
    running = np.where(index > first, np.maximum(spans.spans[np.maximum(index - 1, 0), 1] - at_ms, 0), 0)
    return total[index] - total[first] - running


def count_started(spans: RaggedSpans, owner: Owners, at_ms: Instants) -> NDArray[np.int64]:
    """How many of the owner's spans start before each instant, shape (n,)."""
    index = np.searchsorted(_keys(spans, 0), keys(owner, at_ms), side="left")
    return index.astype(np.int64) - spans.first[owner]


def count_ended(spans: RaggedSpans, owner: Owners, at_ms: Instants) -> NDArray[np.int64]:
    """How many of the owner's spans end at or before each instant, shape (n,)."""
    index = np.searchsorted(_keys(spans, 1), keys(owner, at_ms), side="right")
    return index.astype(np.int64) - spans.first[owner]


def _keys(spans: RaggedSpans, side: int) -> Instants:
    return keys(owners_of(spans), spans.spans[:, side])
