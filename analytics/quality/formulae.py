"""The checks' arithmetic on readings that are there: what the grid and the long rows share. Pure.

A chain is the present readings of one or more series, one after another; missing ones are masked here and nowhere else.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analytics.quality.vocabulary import ANY_MS, Flag
from analytics.spans import FAR_MS, Instants

Numbers = NDArray[np.floating]
Found = NDArray[np.bool_]
#: Series of a chain are this far apart in its keys, so that the distance of two series is above `ANY_MS`. [ms]
ROW_MS = 2 * ANY_MS
_MS_PER_MIN = 60_000.0


@dataclass(frozen=True, slots=True)
class Chain:
    """Present readings in order.

    Attributes
    ----------
    place : ndarray of int64, shape (n,)
        Flat index of each in the array it came from.
    value : ndarray of float, shape (n,)
        No NaN; the dtype of the source.
    key_ms : ndarray of int64, shape (n,)
        Time, plus `ROW_MS` for each series before; never falling.
    distance_ms : ndarray of int64, shape (n,)
        Since the reading before; `FAR_MS` for the first, at least `ROW_MS` - record for the first of a further series.
    """

    place: NDArray[np.int64]
    value: Numbers
    key_ms: Instants
    distance_ms: Instants


def distances(key_ms: Instants) -> Instants:
    """Distance of each to the one before, `FAR_MS` for the first, shape (n,). [ms]"""
    result = np.empty(len(key_ms), dtype=np.int64)
    result[:1] = FAR_MS
    np.subtract(key_ms[1:], key_ms[:-1], out=result[1:])
    return result


def chain(value: Numbers, at_ms: ArrayLike) -> Chain:
    """The present readings of one series (n,) or of several (series, time), each sorted by time."""
    at = np.broadcast_to(np.asarray(at_ms, dtype=np.int64), value.shape)
    place = np.flatnonzero(~np.isnan(value))
    key_ms = at.reshape(-1)[place]
    if value.ndim > 1:
        key_ms = key_ms + place // value.shape[-1] * ROW_MS
    return Chain(place, value.reshape(-1)[place], key_ms, distances(key_ms))


def spike_size(value: Numbers, *, before: Numbers, after: Numbers) -> NDArray[np.float64]:
    """Distance from the mean of the two neighbours, in the values' unit."""
    size = before.astype(np.float64)
    size += after
    size *= 0.5
    np.subtract(value, size, out=size)
    return np.abs(size, out=size)


def rate_size(value: Numbers, *, before: Numbers, distance_ms: Instants, over_ms: int) -> NDArray[np.float64]:
    """Speed of the change since the reading before, over at least `over_ms`. [unit/min]"""
    size = np.subtract(value, before, dtype=np.float64)
    np.abs(size, out=size)
    size *= _MS_PER_MIN
    size /= np.maximum(distance_ms, over_ms)
    return size


def chain_spikes(links: Chain, *, reach_ms: int) -> NDArray[np.float64]:
    """`spike_size` of each reading of a chain; NaN where a neighbour is missing or too far."""
    value = links.value
    size = np.full(len(value), np.nan)
    if len(value) > 2:  # noqa: PLR2004 - a reading and its two neighbours
        inner = size[1:-1]
        inner[:] = spike_size(value[1:-1], before=value[:-2], after=value[2:])
        linked = links.distance_ms <= reach_ms
        inner[~(linked[1:-1] & linked[2:])] = np.nan
    return size


def chain_rates(links: Chain, *, reach_ms: int, over_ms: int) -> NDArray[np.float64]:
    """`rate_size` of each reading of a chain; NaN where the reading before is missing or too far."""
    value = links.value
    size = np.full(len(value), np.nan)
    if len(value) > 1:
        rest = size[1:]
        rest[:] = rate_size(value[1:], before=value[:-1], distance_ms=links.distance_ms[1:], over_ms=over_ms)
        rest[links.distance_ms[1:] > reach_ms] = np.nan
    return size


def moved(value: Numbers, *, tolerance: float) -> Found:
    """Whether each reading differs from the one before by more than the tolerance; the first counts as moved."""
    result = np.ones(len(value), dtype=np.bool_)
    step = np.subtract(value[1:], value[:-1])
    np.abs(step, out=step)
    np.greater(step, value.dtype.type(tolerance), out=result[1:])
    return result


def run_starts(breaks: Found) -> NDArray[np.int64]:
    """Index at which each element's run began, given which elements begin one, shape (n,)."""
    index = np.arange(len(breaks))
    index *= breaks
    return np.maximum.accumulate(index, out=index)


def still(links: Chain, *, starts: NDArray[np.int64], span_ms: int, tolerance: float) -> Found:
    """Which readings have stayed within `tolerance` for `span_ms`.

    For reading n: some reading m of its run is at least `span_ms` older, and max - min of m to n is at most the
    tolerance. `starts` are the runs in which no single step is above the tolerance and no link is broken.
    """
    long: Found = links.key_ms - links.key_ms[starts] >= span_ms
    if tolerance == 0.0 or not long.any() or bool((links.value == links.value[starts]).all()):
        return long
    late = np.flatnonzero(long)
    # Latest reading that is old enough: the shortest window, so the smallest range.
    first = np.searchsorted(links.key_ms, links.key_ms[late] - span_ms, side="right") - 1
    long[late] = _ranges(links.value, first=first, last=late) <= links.value.dtype.type(tolerance)
    return long


def _ranges(value: Numbers, *, first: NDArray[np.int64], last: NDArray[np.int64]) -> Numbers:
    """Largest less smallest of value[first] to value[last], both ends included, by tables of doubling length."""
    level = np.frexp(last - first + 1)[1] - 1
    result = np.empty(len(first), dtype=value.dtype)
    low = high = value
    for step in range(int(level.max()) + 1):
        if step:
            half = 1 << (step - 1)
            low, high = np.minimum(low[:-half], low[half:]), np.maximum(high[:-half], high[half:])
        at = np.flatnonzero(level == step)
        if len(at):
            left, right = first[at], last[at] - (1 << step) + 1
            result[at] = np.maximum(high[left], high[right]) - np.minimum(low[left], low[right])
    return result


def near_zero(value: Numbers, *, floor: float) -> Found:
    """Which values are zero, or within `floor` of it."""
    bound = value.dtype.type(floor)
    return (value <= bound) & (value >= -bound)


@dataclass(frozen=True, slots=True)
class Zeros:
    """Readings at zero, in order, with what came before each run of them.

    Attributes
    ----------
    key_ms : ndarray of int64, shape (n,)
    begins : ndarray of bool, shape (n,)
        The reading before in this series is not at zero, or there is none.
    above : ndarray of bool, shape (n,)
        Where a run begins: the reading before was high and near enough for a dropout (or the run is known as one).
    linked : ndarray of bool, shape (n,)
        The reading before is within reach.
    """

    key_ms: Instants
    begins: Found
    above: Found
    linked: Found


#: Whether the pool lives at each of some readings (indices), looking back so many ms.
Alive = Callable[[NDArray[np.int64], int], Found]


def dropouts(zeros: Zeros, *, pinned_ms: int | None, stands: Found | None, alive: Alive | None) -> Found:
    """Which readings at zero are dropouts: runs that began at once from high; without flow; pinned in a living pool."""
    found: Found = zeros.above[run_starts(zeros.begins)]
    if stands is not None:
        found |= stands
    if pinned_ms is not None and alive is not None:
        since = run_starts(zeros.begins | ~zeros.linked)
        long = np.flatnonzero((zeros.key_ms - zeros.key_ms[since] >= pinned_ms) & ~found)
        if len(long):
            found[long] = alive(long, pinned_ms)
    return found


def graded(size: NDArray[np.float64], *, suspect: float | None, fail: float | None) -> NDArray[np.uint8]:
    """Flags of sizes: above `fail`, above `suspect`, else good; not evaluated where the size is NaN."""
    flag = np.full(size.shape, Flag.GOOD, dtype=np.uint8)
    flag[np.isnan(size)] = Flag.NOT_EVALUATED
    if suspect is not None:
        flag[size > suspect] = Flag.SUSPECT
    if fail is not None:
        flag[size > fail] = Flag.FAIL
    return flag
