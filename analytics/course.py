"""The machine over one series and one end of a limit, with what went before, and samples by people (DESIGN 12.8). Pure.

The machine runs on all good readings, closed time included; its intervals are cut by opening elsewhere.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analytics.machine import Mask, Sequences, decisions
from analytics.ragged import RaggedSpans
from analytics.spans import EMPTY, FAR_MS, Instants, Spans, merged
from analytics.standards.limits import LimitEnd, Side, in_force_at
from analytics.standards.profile import Confirmation

_FIRST = np.zeros(1, dtype=np.intp)
_NO_INSTANTS: Instants = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Seed:
    """What is known of the machine before the first reading given: the last good reading, and since when it exceeds."""

    last_good_ms: int
    active_since_ms: int | None


@dataclass(frozen=True, slots=True)
class Course:
    """What the machine did.

    `spans`: exceedances, an end of FAR_MS when the last is not ended. `known_from_ms`: the first instant from which the
    state does not depend on what came before the readings given; FAR_MS if it always does. `pending_since_ms`: start
    of a run outside at the end that is not confirmed yet. `unverified_since_ms`: the last reading, when nothing came
    for too long after it and the exceedance is not ended. `changes_ms`, `changed_to`: when the state changed, for
    asking it at an instant.
    """

    spans: Spans
    known_from_ms: int
    pending_since_ms: int | None
    unverified_since_ms: int | None
    decided_at_ms: Instants
    since_ms: Instants
    seed_since_ms: int | None

    @property
    def active_since_ms(self) -> int | None:
        """Start of the exceedance that is not ended."""
        return int(self.spans[-1, 0]) if len(self.spans) and self.spans[-1, 1] == FAR_MS else None

    def active_since_at(self, at_ms: int) -> int | None:
        """Since when the machine exceeded at an instant, as decided by the readings before it; None: it did not."""
        index = int(np.searchsorted(self.decided_at_ms, at_ms, side="left")) - 1
        if index < 0:
            return self.seed_since_ms
        since = int(self.since_ms[index])
        return None if since == FAR_MS else since


def outside(value: NDArray[np.float64], end: LimitEnd) -> Mask:
    """Which values lie outside a limit's end; NaN does not."""
    at = end.threshold
    if end.side is Side.HIGH:
        return value > at if end.threshold_closed else value >= at
    return value < at if end.threshold_closed else value <= at


def well_inside(value: NDArray[np.float64], end: LimitEnd, *, hysteresis: float) -> Mask:
    """Which values lie inside a limit's end by the hysteresis (in the quantity's unit); NaN does not."""
    at = end.threshold
    by = value <= at - hysteresis if end.side is Side.HIGH else value >= at + hysteresis
    return by & ~outside(value, end)


def in_force(at_ms: Instants, end: LimitEnd) -> Mask | None:
    """Which instants lie in the time in which a limit judges; None if all do. `at_ms` ascends."""
    if not len(at_ms) or (end.from_ms <= at_ms[0] and at_ms[-1] < end.to_ms):
        return None
    return in_force_at(end.limit, at_ms)


def course(
    at: Instants,
    *,
    outside: Mask,
    well_inside: Mask,
    confirmation: Confirmation,
    gap_ms: int,
    opening: Spans,
    now_ms: int,
    seed: Seed | None = None,
    complete: bool = False,
) -> Course:
    """Run the machine of DESIGN 12.8 over one series.

    Outside for `confirm_ms` and at least two readings raises, from the first of them; well inside for `clear_ms` and at
    least two readings ends, at the first of them. A distance above `gap_ms` forgets a run not yet complete; if it
    contains closed time, the exceedance ends at the first closed instant.

    Parameters
    ----------
    at : ndarray of int64, shape (n,)
        Times of good readings up to now, increasing. [ms]
    outside, well_inside : ndarray of bool, shape (n,)
        Never both true.
    opening : ndarray of int64, shape (m, 2)
        Merged opening intervals that reach beyond now.
    complete : bool
        Nothing was before these readings.
    """
    seed_since = None if seed is None else seed.active_since_ms
    if seed_since is None and (complete or seed is not None) and not outside.any():
        return Course(EMPTY, -FAR_MS, None, None, _NO_INSTANTS, _NO_INSTANTS, None)
    if not len(at) and seed is None:
        return Course(EMPTY, FAR_MS, None, None, _NO_INSTANTS, _NO_INSTANTS, None)
    last_ms = int(at[-1]) if len(at) else seed.last_good_ms if seed is not None else now_ms
    trailing_gap = now_ms - last_ms > gap_ms
    # The reading before, and now after a gap, count for gaps only: they are neither outside nor well inside.
    before = [] if seed is None else [seed.last_good_ms]
    after = [now_ms] if trailing_gap else []
    neither = [False] * len(before), [False] * len(after)
    at = np.concatenate((np.array(before, dtype=np.int64), at, np.array(after, dtype=np.int64)))
    outside = np.concatenate((neither[0], outside, neither[1])).astype(np.bool_)
    well_inside = np.concatenate((neither[0], well_inside, neither[1])).astype(np.bool_)
    told = decisions(
        Sequences(at, first=_FIRST, gap_ms=np.array([gap_ms]), pool=_FIRST),
        outside=outside,
        well_inside=well_inside,
        confirm_ms=confirmation.confirm_ms,
        clear_ms=confirmation.clear_ms,
        opening=RaggedSpans.of([opening]),
        exceeds_at_first=np.array([seed_since is not None]),
    )
    need_ms = np.where(told.raises, confirmation.confirm_ms, confirmation.clear_ms)
    confirming = np.maximum(np.searchsorted(at, told.since_ms + need_ms, side="left"), told.position + 1)
    decided_ms = np.where(told.by_gap, told.since_ms, at[np.minimum(confirming, len(at) - 1)])
    changing, raises = told.since_ms[told.changes], told.raises[told.changes]
    starts, ends = changing[raises], changing[~raises]
    if seed_since is not None:
        starts = np.concatenate(([seed_since], starts))
    if len(ends) < len(starts):
        ends = np.append(ends, FAR_MS)
    active = bool(len(ends)) and ends[-1] == FAR_MS
    return Course(
        spans=merged(np.column_stack((starts, ends))),
        known_from_ms=int(decided_ms[0]) if len(decided_ms) else FAR_MS,
        pending_since_ms=None if trailing_gap or active else _pending(at, outside, gap_ms),
        unverified_since_ms=last_ms if active and trailing_gap else None,
        decided_at_ms=decided_ms[told.changes],
        since_ms=np.where(raises, changing, FAR_MS),
        seed_since_ms=seed_since,
    )


def _pending(at: Instants, outside: Mask, gap_ms: int) -> int | None:
    """Start of the run outside that lasts to the end, confirmed or not."""
    if not outside[-1]:
        return None
    breaks = np.flatnonzero(~outside)
    first = int(breaks[-1]) + 1 if len(breaks) else 0
    gaps = np.flatnonzero(np.diff(at) > gap_ms)
    if len(gaps):
        first = max(first, int(gaps[-1]) + 1)
    return int(at[first])


def sample_spans(at: Instants, *, outside: Mask, age_ms: int, opening: Spans) -> Spans:
    """Exceedances that samples of one kind of one series show.

    One outside raises, the next of the same kind inside ends. It does not outlast the session: it ends when the pool
    closes. One taken in closed time counts for the next session if that begins within the allowed age.

    Returns
    -------
    spans : ndarray of int64, shape (k, 2)
        Merged, not cut by opening; an end of FAR_MS when nothing ended it.
    """
    if not outside.any():
        return EMPTY
    if len(opening):
        index = np.searchsorted(opening[:, 1], at, side="right")
        padded = np.concatenate((opening, [[FAR_MS, FAR_MS]]))
        start, close = padded[index, 0], padded[index, 1]
        reach = np.where(start < at + age_ms, close, at)
    else:
        reach = at
    following = np.append(at[1:], FAR_MS)
    return merged(np.column_stack((at, np.minimum(following, reach)))[outside])


def worst_between(
    at: Instants, value: NDArray[np.float64], *, side: Side, from_ms: int, to_ms: int
) -> float | None:
    """The value farthest out on a side within [from, to); None without a reading there."""
    first, after = np.searchsorted(at, (from_ms, to_ms), side="left")
    if first == after:
        return None
    part = value[first:after]
    return float(part.max() if side is Side.HIGH else part.min())
