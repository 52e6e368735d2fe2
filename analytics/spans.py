"""Sets of half-open intervals [start, end) as int64 arrays of shape (n, 2), in milliseconds. Pure.

Merged spans are sorted, disjoint, not empty, and do not touch.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Spans = NDArray[np.int64]
Instants = NDArray[np.int64]

#: Later than any instant that is ever asked for; still far from the end of int64, so that sums do not wrap.
FAR_MS = 2**60
EMPTY: Spans = np.empty((0, 2), dtype=np.int64)
EMPTY.setflags(write=False)


def merged(spans: ArrayLike) -> Spans:
    """Union of intervals in any order: touching ones become one, empty ones vanish."""
    pairs = np.asarray(spans, dtype=np.int64).reshape(-1, 2)
    some = pairs[:, 1] > pairs[:, 0]
    if not some.all():
        pairs = pairs[some]
    if len(pairs) <= 1:
        return pairs
    pairs = pairs[np.argsort(pairs[:, 0], kind="stable")]
    reach = np.maximum.accumulate(pairs[:, 1])
    breaks = pairs[1:, 0] > reach[:-1]
    first = np.concatenate(([True], breaks))
    last = np.concatenate((breaks, [True]))
    return np.column_stack((pairs[first, 0], reach[last]))


def cut(spans: Spans, by: Spans) -> Spans:
    """Parts of sorted disjoint `spans` that lie in merged `by`: one row for each pair that overlaps, by start."""
    if not len(spans) or not len(by):
        return EMPTY
    first = np.searchsorted(by[:, 1], spans[:, 0], side="right")
    after = np.searchsorted(by[:, 0], spans[:, 1], side="left")
    counts = np.maximum(after - first, 0)
    rows = np.repeat(np.arange(len(spans)), counts)
    columns = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts) + first[rows]
    return np.column_stack(
        (np.maximum(spans[rows, 0], by[columns, 0]), np.minimum(spans[rows, 1], by[columns, 1]))
    )


def complement(spans: Spans, *, from_ms: int, to_ms: int) -> Spans:
    """What of [from, to) is not in merged `spans`."""
    starts = np.concatenate(([from_ms], spans[:, 1]))
    ends = np.concatenate((spans[:, 0], [to_ms]))
    return merged(np.column_stack((np.maximum(starts, from_ms), np.minimum(ends, to_ms))))


def without(spans: Spans, taken: Spans) -> Spans:
    """What of merged `spans` is not in merged `taken`."""
    if not len(taken) or not len(spans):
        return spans
    return cut(spans, complement(taken, from_ms=-FAR_MS, to_ms=FAR_MS))


def length_before(spans: Spans, instants: ArrayLike) -> NDArray[np.int64]:
    """Total length of merged `spans` before each instant, shape of `instants`. [ms]"""
    at = np.asarray(instants, dtype=np.int64)
    if not len(spans):
        return np.zeros(at.shape, dtype=np.int64)
    total = np.concatenate(([0], np.cumsum(spans[:, 1] - spans[:, 0])))
    index = np.searchsorted(spans[:, 0], at, side="right")
    running = np.where(index > 0, np.maximum(spans[np.maximum(index - 1, 0), 1] - at, 0), 0)
    return total[index] - running


def holds(spans: Spans, at_ms: int) -> bool:
    """Whether an instant lies in merged `spans`."""
    return span_at(spans, at_ms) is not None


def span_at(spans: Spans, at_ms: int) -> tuple[int, int] | None:
    """The interval of merged `spans` that holds an instant."""
    index = int(np.searchsorted(spans[:, 0], at_ms, side="right")) - 1
    if index < 0 or spans[index, 1] <= at_ms:
        return None
    return int(spans[index, 0]), int(spans[index, 1])


def next_edge(spans: Spans, at_ms: int) -> int | None:
    """The first start or end of merged `spans` after an instant."""
    later = spans[spans > at_ms]
    return int(later.min()) if len(later) else None
