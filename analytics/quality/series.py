"""Flags of one series of irregular readings, as the live judge has them. Pure.

Only the spike looks ahead, at the next reading: the newest reading is not evaluated for it, and so counts as good there,
until its neighbour arrives. Every other check knows only what was measured up to the reading.
"""

from collections.abc import Iterator
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from analytics.quality.formulae import (
    Chain,
    Found,
    Numbers,
    Zeros,
    chain_rates,
    chain_spikes,
    distances,
    dropouts,
    near_zero,
    run_starts,
    still,
)
from analytics.quality.surroundings import Surroundings, alive, flows
from analytics.quality.vocabulary import (
    Before,
    Check,
    Checked,
    Flag,
    Flagged,
    Thresholds,
    thresholds,
)
from analytics.spans import Instants
from ingest.store.records import StatusCode


def look_back_ms(checked: Checked) -> int:
    """How far before a reading its flag depends on readings, `before` given. [ms]"""
    limit = thresholds(
        checked.quantity, checked.rules, interval_s=checked.interval_s, dtype=np.dtype(np.float64)
    )
    spans = [span for span in (*limit.flat_ms, limit.pinned_ms) if span is not None]
    return max(spans, default=0) + max(limit.reach_ms, limit.reconnect_ms or 0)


def series_flags(
    checked: Checked,
    *,
    measured_at_ms: Instants,
    value: Numbers,
    status: NDArray[np.uint8],
    before: Before | None = None,
    around: Surroundings | None = None,
    now_ms: int | None = None,
) -> Flagged:
    """All checks of one series.

    Parameters
    ----------
    checked : Checked
        Quantity, rules, interval, begin, calibrations.
    measured_at_ms, value, status : ndarray, shape (n,)
        Sorted by time [ms]; value in the quantity's unit with NaN where null, float32 or float64; `StatusCode`.
    before : Before or None
        The probe's last measured value before these readings.
    around : Surroundings or None
        None: no context; then flat counts by itself, and no zero counts as pinned in a living pool.
    now_ms : int or None
        Readings later than this cannot be true. None: not asked.

    Returns
    -------
    flagged : Flagged
        Flags and reasons, shape (n,). A NaN is MISSING for its gap and nothing else. Spike, rate, flat line, dropout,
        neighbour and ORP see only the probe's own normal readings.
    """
    limit = thresholds(checked.quantity, checked.rules, interval_s=checked.interval_s, dtype=value.dtype)
    around = around or Surroundings()
    flag = np.full(value.shape, Flag.GOOD, dtype=np.uint8)
    reason = np.zeros(value.shape, dtype=np.uint16)

    def mark(found: NDArray[np.int64], level: Flag, check: Check) -> None:
        flag[found] = np.maximum(flag[found], int(level))
        reason[found] |= int(check)

    missing = np.isnan(value)
    present = np.flatnonzero(~missing)
    for own, level, check in _own_checks(checked, limit, measured_at_ms, value, status, now_ms):
        mark(own, level, check)
    if limit.reconnect_ms is not None:
        again = _again(measured_at_ms, present, before, limit.reconnect_ms)
        if len(again):
            mark(again, Flag.SUSPECT, Check.RECONNECT)
    probe = present[status[present] == StatusCode.NORMAL] if status.any() else present
    links = with_before(
        Chain(probe, value[probe], measured_at_ms[probe], np.empty(0, dtype=np.int64)), before
    )
    if len(links.value):
        step = np.abs(np.subtract(links.value[1:], links.value[:-1]))
        for found, level, check in chain(
            _change_checks(limit, links, largest=float(step.max(initial=0.0))),
            _flat_checks(limit, links, step=step, around=around),
            _zero_checks(limit, links, around=around, carried=before is not None and before.dropout),
            _channel_checks(limit, links, around=around),
        ):
            place = links.place[np.flatnonzero(found)]
            mark(place[place >= 0] if before is not None else place, level, check)
    if len(present) != len(value):
        flag[missing] = Flag.MISSING
        reason[missing] = Check.GAP
    return Flagged(flag, reason)


#: Which readings of a chain, how bad, by which check.
_Noted = tuple[Found, Flag, Check]


def _own_checks(
    checked: Checked,
    limit: Thresholds,
    at_ms: Instants,
    value: Numbers,
    status: NDArray[np.uint8],
    now_ms: int | None,
) -> Iterator[tuple[NDArray[np.int64], Flag, Check]]:
    """What each reading says by itself."""
    outside = value < limit.low
    outside |= value > limit.high
    if outside.any():
        yield np.flatnonzero(outside), Flag.FAIL, Check.GROSS_RANGE
    said = status > StatusCode.LABORATORY
    if said.any():
        yield np.flatnonzero(said), Flag.FAIL, Check.SENSOR_STATUS
    for piece in _untrue(at_ms, begin_ms=checked.begin_ms, now_ms=now_ms):
        yield np.arange(piece.start, piece.stop), Flag.FAIL, Check.TIME
    if limit.overdue_ms is not None and checked.calibrated_at_ms:
        overdue = _overdue(at_ms, checked.calibrated_at_ms, limit.overdue_ms)
        if len(overdue):
            yield overdue, Flag.SUSPECT, Check.CALIBRATION


def _again(
    at_ms: Instants, present: NDArray[np.int64], before: Before | None, gap_ms: int
) -> NDArray[np.int64]:
    """Readings that come more than `gap_ms` after the one before."""
    distance_ms = distances(at_ms[present])
    if len(present):
        distance_ms[0] = 0 if before is None else at_ms[present[0]] - before.measured_at_ms
    again: NDArray[np.int64] = present[distance_ms > gap_ms]
    return again


def _untrue(at_ms: Instants, *, begin_ms: int | None, now_ms: int | None) -> list[slice]:
    """Readings before the pool's begin, and readings of the future."""
    pieces = []
    if begin_ms is not None and len(at_ms) and at_ms[0] < begin_ms:
        pieces.append(slice(0, int(np.searchsorted(at_ms, begin_ms, side="left"))))
    if now_ms is not None and len(at_ms) and at_ms[-1] > now_ms:
        pieces.append(slice(int(np.searchsorted(at_ms, now_ms, side="right")), len(at_ms)))
    return pieces


def _overdue(at_ms: Instants, calibrated_at_ms: tuple[int, ...], overdue_ms: int) -> NDArray[np.int64]:
    """Which readings are later than `overdue_ms` after the calibration in force at their time."""
    known = np.array(calibrated_at_ms, dtype=np.int64)
    index = np.searchsorted(known, at_ms, side="right") - 1
    return np.flatnonzero((index >= 0) & (at_ms - known[index] > overdue_ms))


def with_before(links: Chain, before: Before | None) -> Chain:
    """The chain with the value before its first reading, whose place is -1."""
    if before is None:
        return Chain(links.place, links.value, links.key_ms, distances(links.key_ms))
    place = np.concatenate((np.array([-1], dtype=np.int64), links.place))
    value = np.concatenate((np.array([before.value], dtype=links.value.dtype), links.value))
    key_ms = np.concatenate((np.array([before.measured_at_ms], dtype=np.int64), links.key_ms))
    return Chain(place, value, key_ms, distances(key_ms))


def _change_checks(limit: Thresholds, links: Chain, *, largest: float) -> Iterator[_Noted]:
    """Spike and rate of change; neither is possible while the largest step is below the threshold."""
    sizes = []
    if largest > limit.least_spike:
        sizes.append((chain_spikes(links, reach_ms=limit.reach_ms), limit.spike, Check.SPIKE))
    if largest > limit.least_rate_step:
        rates = chain_rates(links, reach_ms=limit.reach_ms, over_ms=limit.over_ms)
        sizes.append((rates, limit.rate_per_min, Check.RATE_OF_CHANGE))
    for size, bounds, check in sizes:
        for bound, level in zip(bounds, (Flag.SUSPECT, Flag.FAIL), strict=True):
            if bound is not None and (over := size > bound).any():
                yield over, level, check


def _zero_checks(limit: Thresholds, links: Chain, *, around: Surroundings, carried: bool) -> Iterator[_Noted]:
    if limit.above is not None:
        zero = near_zero(links.value, floor=limit.floor)
        if zero.any():
            found = _dropouts(limit, links, zero=zero, carried=carried, around=around)
            yield found, Flag.FAIL, Check.ZERO_DROPOUT


def _channel_checks(limit: Thresholds, links: Chain, *, around: Surroundings) -> Iterator[_Noted]:
    """What another channel contradicts."""
    if limit.neighbour is not None:
        for track in around.neighbours:
            other = track.newest(links.key_ms, reach_ms=limit.reach_ms)
            apart = np.abs(np.subtract(links.value, other, dtype=np.float64)) > limit.neighbour
            if apart.any():
                yield apart, Flag.SUSPECT, Check.NEIGHBOUR
    if limit.orp_low_mv is not None and limit.orp_free_chlorine_mg_l is not None:
        low = links.value < limit.orp_low_mv
        for track in around.free_chlorine if low.any() else ():
            chlorine = track.newest(links.key_ms, reach_ms=limit.reach_ms)
            yield low & (chlorine > limit.orp_free_chlorine_mg_l), Flag.SUSPECT, Check.ORP_CHLORINE


def _flat_checks(limit: Thresholds, links: Chain, *, step: Numbers, around: Surroundings) -> Iterator[_Noted]:
    if limit.flat_ms == (None, None):
        return
    breaks = links.distance_ms > limit.reach_ms
    breaks[1:] |= step > links.value.dtype.type(limit.tolerance)
    starts = run_starts(breaks)
    longest = (links.key_ms - links.key_ms[starts]).max()
    has_context = around.moved_at_ms is not None or len(around.flow) > 0
    for span_ms, level in zip(limit.flat_ms, (Flag.SUSPECT, Flag.FAIL), strict=True):
        if span_ms is None or longest < span_ms:
            continue
        flat = still(links, starts=starts, span_ms=span_ms, tolerance=limit.tolerance)
        if limit.needs_life and has_context:
            at = np.flatnonzero(flat)
            flat[at] = alive(around, links.key_ms[at], span_ms=span_ms, reach_ms=limit.reach_ms)
        yield flat, level, Check.FLAT_LINE


def _dropouts(limit: Thresholds, links: Chain, *, zero: Found, carried: bool, around: Surroundings) -> Found:
    at = np.flatnonzero(zero)
    key_ms = links.key_ms[at]
    zeros = zeros_of(
        links,
        at,
        above=0.0 if limit.above is None else limit.above,
        one_interval_ms=limit.one_interval_ms,
        reach_ms=limit.reach_ms,
        carried=carried,
    )
    stands = flows(around, key_ms, reach_ms=limit.reach_ms)[1] if len(around.flow) else None
    found = np.zeros(len(zero), dtype=np.bool_)
    found[at] = dropouts(
        zeros,
        pinned_ms=limit.pinned_ms,
        stands=stands,
        alive=lambda chosen, span_ms: alive(around, key_ms[chosen], span_ms=span_ms, reach_ms=limit.reach_ms),
    )
    return found


def zeros_of(
    links: Chain,
    at: NDArray[np.int64],
    *,
    above: float,
    one_interval_ms: int | None,
    reach_ms: int,
    carried: bool,
) -> Zeros:
    """The readings `at` of a chain, which are all of it that are at zero."""
    earlier = np.maximum(at - 1, 0)
    begins = np.ones(len(at), dtype=np.bool_)
    begins[1:] = at[1:] - at[:-1] > 1
    fell = begins & (links.value[earlier] > links.value.dtype.type(above))
    if one_interval_ms is not None:
        fell &= links.distance_ms[at] <= one_interval_ms
    fell &= at > 0
    if carried and at[0] == 0:
        fell[0] = True
    return Zeros(links.key_ms[at], begins, fell, links.distance_ms[at] <= reach_ms)
