"""The checks one by one: values and times in, flags of the same shape out. Pure.

Each takes one series (n,) or several (series, time), with the times of each series sorted, and masks missing values (NaN)
in the same place, `formulae.chain`: they are MISSING, and the reading before or after is the next one that is present. A
neighbour further away than `reach_ms` does not count, and the check is NOT_EVALUATED there. A threshold that is None or NaN
is off.
`series_flags` and `grid_flags` find the same with all checks at once.

References
----------
.. [1] U.S. IOOS, "QARTOD manuals for real-time quality control", https://ioos.noaa.gov/project/qartod/.
"""

import numpy as np
from numpy.typing import NDArray

from analytics.quality.formulae import (
    Chain,
    Numbers,
    Zeros,
    chain,
    chain_rates,
    chain_spikes,
    dropouts,
    graded,
    moved,
    near_zero,
    run_starts,
    still,
)
from analytics.quality.vocabulary import ANY_MS, Flag
from analytics.spans import FAR_MS, Instants
from ingest.store.records import StatusCode

Flags = NDArray[np.uint8]


def _scattered(value: Numbers, links: Chain, flag: Flags) -> Flags:
    """Flags of the present readings put where they came from; the others are MISSING."""
    result = np.full(value.size, Flag.MISSING, dtype=np.uint8)
    result[links.place] = flag
    return result.reshape(value.shape)


def _graded(
    value: Numbers, links: Chain, size: NDArray[np.float64], suspect: float | None, fail: float | None
) -> Flags:
    return _scattered(value, links, graded(size, suspect=suspect, fail=fail))


def gap(value: Numbers) -> Flags:
    """MISSING where there is no value, else GOOD; shape of `value`."""
    return np.where(np.isnan(value), np.uint8(Flag.MISSING), np.uint8(Flag.GOOD))


def gross_range(value: Numbers, *, low: float, high: float) -> Flags:
    """FAIL outside [low, high], ends good; shape of `value`, in its unit."""
    flag = gap(value)
    flag[value < low] = Flag.FAIL
    flag[value > high] = Flag.FAIL
    return flag


def spike(
    value: Numbers, *, at_ms: Instants, suspect: float | None, fail: float | None, reach_ms: int = ANY_MS
) -> Flags:
    """How far a reading stands out from the mean of its two neighbours.

    Parameters
    ----------
    value, at_ms : ndarray, shape (n,) or (series, time); times also (time,)
        NaN where missing; ms, sorted per series.
    suspect, fail : float or None
        In the values' unit; a size above it.
    reach_ms : int
        Largest distance of either neighbour.

    Returns
    -------
    flags : ndarray of uint8, the shape of `value`
        NOT_EVALUATED where a neighbour is missing: so for the first and the newest reading.
    """
    links = chain(value, at_ms)
    return _graded(value, links, chain_spikes(links, reach_ms=reach_ms), suspect, fail)


def rate_of_change(
    value: Numbers,
    *,
    at_ms: Instants,
    suspect_per_min: float | None,
    fail_per_min: float | None,
    over_ms: int = 60_000,
    reach_ms: int = ANY_MS,
) -> Flags:
    """How fast a reading differs from the one before; shapes as for `spike`.

    A change within less than `over_ms` counts as one within `over_ms`. [unit/min]
    """
    links = chain(value, at_ms)
    size = chain_rates(links, reach_ms=reach_ms, over_ms=over_ms)
    return _graded(value, links, size, suspect_per_min, fail_per_min)


def flat_line(
    value: Numbers,
    *,
    at_ms: Instants,
    suspect_ms: int | None,
    fail_ms: int | None,
    tolerance: float = 0.0,
    reach_ms: int = ANY_MS,
    alive: NDArray[np.bool_] | None = None,
) -> Flags:
    """Whether a value has kept within `tolerance` (largest less smallest) for so long; shapes as for `spike`.

    `alive`, of the shape of `value`: where the pool is known to live; elsewhere flat is no sign of a fault. None: anywhere.
    NOT_EVALUATED where no reading is within reach before.
    """
    links = chain(value, at_ms)
    linked = links.distance_ms <= reach_ms
    starts = run_starts(moved(links.value, tolerance=tolerance) | ~linked)
    flag = np.where(linked, np.uint8(Flag.GOOD), np.uint8(Flag.NOT_EVALUATED))
    for span_ms, level in ((suspect_ms, Flag.SUSPECT), (fail_ms, Flag.FAIL)):
        if span_ms is not None:
            flat = still(links, starts=starts, span_ms=span_ms, tolerance=tolerance)
            if alive is not None:
                flat &= alive.reshape(-1)[links.place]
            flag[flat] = level
    return _scattered(value, links, flag)


def zero_dropout(
    value: Numbers,
    *,
    at_ms: Instants,
    above: float | None,
    one_interval_ms: int = ANY_MS,
    floor: float = 0.0,
    pinned_ms: int | None = None,
    reach_ms: int = ANY_MS,
    alive: NDArray[np.bool_] | None = None,
    stands: NDArray[np.bool_] | None = None,
) -> Flags:
    """Zeros of a dead or dry cell: FAIL; shapes as for `spike`.

    A run of zeros (within `floor` of zero) is one if the reading before was above `above` and at most `one_interval_ms`
    earlier; a zero is one where `stands` (no flow), or after `pinned_ms` of nothing but zeros where `alive`.
    """
    links = chain(value, at_ms)
    flag = np.full(len(links.place), Flag.GOOD, dtype=np.uint8)
    at = np.flatnonzero(near_zero(links.value, floor=floor))
    if above is not None and len(at):
        first = links.distance_ms > ANY_MS
        begins = np.concatenate(([True], np.diff(at) > 1)) | first[at]
        fell = begins & ~first[at] & (links.value[np.maximum(at - 1, 0)] > links.value.dtype.type(above))
        fell &= links.distance_ms[at] <= one_interval_ms
        zeros = Zeros(links.key_ms[at], begins, fell, links.distance_ms[at] <= reach_ms)
        lives = None if alive is None else alive.reshape(-1)[links.place[at]]
        found = dropouts(
            zeros,
            pinned_ms=pinned_ms,
            stands=None if stands is None else stands.reshape(-1)[links.place[at]],
            alive=None if lives is None else lambda chosen, _: lives[chosen],
        )
        flag[at[found]] = Flag.FAIL
    return _scattered(value, links, flag)


def reconnect(value: Numbers, *, at_ms: Instants, gap_ms: int) -> Flags:
    """SUSPECT for the first reading after more than `gap_ms` without one; the first of all is NOT_EVALUATED."""
    links = chain(value, at_ms)
    flag = np.full(len(links.place), Flag.GOOD, dtype=np.uint8)
    flag[links.distance_ms > gap_ms] = Flag.SUSPECT
    flag[links.distance_ms > ANY_MS] = Flag.NOT_EVALUATED
    return _scattered(value, links, flag)


def sensor_status(value: Numbers, *, status: NDArray[np.uint8]) -> Flags:
    """FAIL where the sensor itself says that its reading is no result (`StatusCode`); shape of `value`."""
    flag = gap(value)
    flag[(flag == Flag.GOOD) & (status > StatusCode.LABORATORY)] = Flag.FAIL
    return flag


def calibration(
    value: Numbers, *, at_ms: Instants, calibrated_at_ms: tuple[int, ...], overdue_ms: int
) -> Flags:
    """SUSPECT more than `overdue_ms` after the last calibration; before the first NOT_EVALUATED; shape (n,)."""
    flag = gap(value)
    known = np.array((-FAR_MS, *calibrated_at_ms), dtype=np.int64)
    index = np.searchsorted(known, at_ms, side="right") - 1
    flag[(flag == Flag.GOOD) & (at_ms - known[index] > overdue_ms)] = Flag.SUSPECT
    flag[(flag != Flag.MISSING) & (index == 0)] = Flag.NOT_EVALUATED
    return flag


def neighbour(value: Numbers, *, other: Numbers, suspect: float | None) -> Flags:
    """SUSPECT where two sensors of one quantity differ by more; `other`: its newest value at each time, NaN unknown."""
    size = np.abs(np.subtract(value, other, dtype=np.float64))
    flag = graded(size, suspect=suspect, fail=None)
    flag[np.isnan(value)] = Flag.MISSING
    return flag


def orp_chlorine(orp_mv: Numbers, *, free_chlorine_mg_l: Numbers, low_mv: float, above_mg_l: float) -> Flags:
    """SUSPECT for a low ORP while free chlorine (newest at each time, NaN unknown) is high; shape of `orp_mv`."""
    flag = gap(orp_mv)
    flag[np.isnan(free_chlorine_mg_l) & (flag == Flag.GOOD)] = Flag.NOT_EVALUATED
    flag[(orp_mv < low_mv) & (free_chlorine_mg_l > above_mg_l)] = Flag.SUSPECT
    return flag


def plausible_time(value: Numbers, *, at_ms: Instants, begin_ms: int | None, now_ms: int | None) -> Flags:
    """FAIL for readings before the pool's begin or later than now; shape of `value`."""
    flag = gap(value)
    at = np.broadcast_to(at_ms, value.shape)
    if begin_ms is not None:
        flag[(flag == Flag.GOOD) & (at < begin_ms)] = Flag.FAIL
    if now_ms is not None:
        flag[(flag == Flag.GOOD) & (at > now_ms)] = Flag.FAIL
    return flag
