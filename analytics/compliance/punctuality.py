"""How punctually duties were kept in open time, by day, month and season. Pure."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from analytics.compliance.local_days import Dates, Period, Sessions
from analytics.compliance.rows import (
    WHOLE_POOL,
    Codes,
    Durations,
    Pieces,
    check_groups,
    chosen_rows,
    summed,
)
from analytics.ragged import RaggedSpans
from analytics.ragged_lengths import common, without


@dataclass(frozen=True, slots=True)
class PunctualityColumns:
    """How duties were kept in open time, one row for each (pool, duty, quantity) and period. Columns of shape (rows,).

    Attributes
    ----------
    period, start, pool, quantity
        As in `ComplianceColumns`; `duty` is a code given, `WHOLE_POOL` for all duties of a pool together.
    due_ms, kept_ms, overdue_ms, unverified_ms : ndarray of int64
        Open time in which the duty binds, and its parts: it is the sum of the three. Punctuality is kept of kept and
        overdue. Where it cannot be known whether a duty was kept it is unverified, neither kept nor overdue. [ms]
    lapses : ndarray of int64
        Overdue pieces of open time, each counted where it begins.
    done, overdue, unverified : ndarray of int64
        Duty-days: on each local day a duty of a quantity is one of overdue (for any time), else unverified (for any
        time), else done. A month's are the sum of its days'.
    """

    period: Period
    start: Dates
    pool: Codes
    duty: Codes
    quantity: Codes
    due_ms: Durations
    kept_ms: Durations
    overdue_ms: Durations
    unverified_ms: Durations
    lapses: NDArray[np.int64]
    done: NDArray[np.int64]
    overdue: NDArray[np.int64]
    unverified: NDArray[np.int64]

    @property
    def punctuality(self) -> NDArray[np.float64]:
        """Share of the time that can be judged in which the duty was not overdue, 0 to 1; NaN where there is none."""
        judged = self.kept_ms + self.overdue_ms
        share = np.full(judged.shape, np.nan)
        np.divide(self.kept_ms, judged, out=share, where=judged > 0)
        return share


def punctuality(
    open_time: Sessions,
    *,
    pool: Codes,
    duty: Codes,
    quantity: Codes,
    overdue: RaggedSpans,
    unverified: RaggedSpans,
    due: RaggedSpans | None = None,
) -> PunctualityColumns:
    """How each duty was kept on each local day with open time in which it binds.

    Parameters
    ----------
    open_time : Sessions
        Of all pools; a pool's code is its place in it.
    pool, duty, quantity : ndarray of int64, shape (groups,)
        What each group is: a duty of a quantity of a pool; no triple twice.
    overdue, unverified : RaggedSpans, of the groups
        When it was overdue (its lapses), and when nothing is known that could show whether it was kept; where both,
        unverified. Closed time may be in them.
    due : RaggedSpans, of the groups, optional
        When the duty binds; without it, whenever the pool is open.

    Raises
    ------
    ValueError
        If a group is given twice, or a pool is not in `open_time`.
    """
    check_groups(open_time, pool, duty, quantity)
    pieces = Pieces.of(open_time, pool)
    if due is not None:
        unverified, overdue = common(unverified, due), common(overdue, due)
    owner = pieces.owner[pieces.runs]
    lapses = without(overdue, unverified)
    due_ms = pieces.open_ms() if due is None else pieces.length(due)
    overdue_ms, unverified_ms = pieces.length(lapses), pieces.length(unverified)
    missed, unknown = overdue_ms > 0, unverified_ms > 0
    columns = PunctualityColumns(
        period=Period.DAY,
        start=pieces.day[pieces.runs],
        pool=pool[owner],
        duty=duty[owner],
        quantity=quantity[owner],
        due_ms=due_ms,
        kept_ms=due_ms - overdue_ms - unverified_ms,
        overdue_ms=overdue_ms,
        unverified_ms=unverified_ms,
        lapses=pieces.begun(lapses),
        done=(~missed & ~unknown).astype(np.int64),
        overdue=missed.astype(np.int64),
        unverified=(~missed & unknown).astype(np.int64),
    )
    return columns if due is None else chosen_rows(columns, np.flatnonzero(due_ms > 0))


def of_whole_pools(columns: PunctualityColumns) -> PunctualityColumns:
    """Sum all duties of each pool: times count once for each duty of each quantity."""
    whole = np.full(len(columns.pool), WHOLE_POOL, dtype=np.int64)
    return summed(replace(columns, duty=whole, quantity=whole))
