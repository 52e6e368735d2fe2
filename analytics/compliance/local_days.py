"""A pool's local days, months and seasons as instants, through changes of the clock (DESIGN 12.13). Pure.

A session is one opening interval. It belongs to the day on which it opened, also past midnight. Only a session that
holds a whole local day (a pool that never closes) is cut at midnights: else all of its time would be its first day's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from analytics.ragged import Owners, RaggedSpans, keys
from analytics.ragged_lengths import owners_of
from analytics.spans import Instants, Spans
from gateway.contract.local_time import first_ms, time_zone, wall_time

Dates = NDArray[np.datetime64]

#: First months of the seasons unless told otherwise: spring, summer, autumn, and winter, which runs into the next year.
SEASON_MONTHS = (3, 6, 9, 12)
_MONTHS = 12


class Period(StrEnum):
    """Over how long figures are summed."""

    DAY = "day"
    MONTH = "month"
    SEASON = "season"


def local_day_of(at_ms: int, *, zone_name: str) -> date:
    """The date on the wall at an instant. ContractError for an unknown time zone."""
    return wall_time(at_ms, time_zone(zone_name)).date()


@dataclass(frozen=True, slots=True)
class LocalDays:
    """The same dates of many pools as instants of each pool's time zone.

    Attributes
    ----------
    first_day : datetime64[D]
        Day 0.
    n_days : int
        How many days; day i is ``first_day + i``.
    edges_ms : ndarray of int64, shape (zones, n_days + 3)
        Midnights: of the day before day 0, then of days 0 to n_days + 1. A midnight that comes twice counts at its first
        coming; one that is left out, at the change. [ms]
    zone : ndarray of intp, shape (pools,)
        Row of each pool in `edges_ms`.
    """

    first_day: np.datetime64
    n_days: int
    edges_ms: Instants
    zone: NDArray[np.intp]


def local_days(zone_names: Sequence[str], *, first: date, last: date) -> LocalDays:
    """Days `first` to `last`, both included, of pools in these time zones, one name a pool.

    Raises
    ------
    ContractError
        For a name that is no time zone.
    ValueError
        If `last` is before `first`.
    """
    if last < first:
        raise ValueError(f"the last day {last} is before the first {first}")
    n_days = (last - first).days + 1
    names = sorted(set(zone_names))
    midnights = [datetime.combine(first + timedelta(days=day), time()) for day in range(-1, n_days + 2)]
    edges = [[first_ms(midnight, time_zone(name)) for midnight in midnights] for name in names]
    row = {name: index for index, name in enumerate(names)}
    return LocalDays(
        first_day=np.datetime64(first, "D"),
        n_days=n_days,
        edges_ms=np.array(edges, dtype=np.int64).reshape(len(names), n_days + 3),
        zone=np.array([row[name] for name in zone_names], dtype=np.intp),
    )


@dataclass(frozen=True, slots=True)
class Sessions:
    """Open time of many pools by the day that it belongs to; pools one after the other, by start.

    Attributes
    ----------
    spans : ndarray of int64, shape (n, 2)
        Sessions, and the daily parts of those that hold a whole day. [ms]
    day : ndarray of datetime64[D], shape (n,)
        The local day that each belongs to.
    begins : ndarray of bool, shape (n,)
        Where open time begins or first comes into sight: not a part that goes on from the day before.
    first : ndarray of intp, shape (pools + 1,)
        Those of pool i are ``spans[first[i]:first[i + 1]]``.
    """

    spans: Spans
    day: Dates
    begins: NDArray[np.bool_]
    first: NDArray[np.intp]

    @property
    def n_pools(self) -> int:
        """Number of pools."""
        return len(self.first) - 1


def sessions(opening: RaggedSpans, days: LocalDays, *, until_ms: int) -> Sessions:
    """Put open time under the local days that it belongs to.

    Parameters
    ----------
    opening : RaggedSpans, by pool
        Opening intervals at their full length: also before the first day and past the last, so that a session that
        crosses the range's edge is known for one. Time that nobody is to be judged for (before a pool is connected) is
        to be cut out of it beforehand.
    days : LocalDays
        Of the same pools. What belongs to no day of it is left out.
    until_ms : int
        Time from here on (the future, or the end of what is judged) does not count.

    Raises
    ------
    ValueError
        If the two speak of different numbers of pools.
    """
    if len(opening) != len(days.zone):
        raise ValueError(f"{len(opening)} pools have opening hours, {len(days.zone)} a time zone")
    pool = owners_of(opening)
    zone = days.zone[pool]
    start, end = opening.spans[:, 0], opening.spans[:, 1]
    n_edges = days.edges_ms.shape[1]
    # Columns of the margin day before day 0 are 0, of day 0 are 1.
    first_midnight = _edges_before(days, zone, start, side="left")
    opened = _edges_before(days, zone, start, side="right") - 1
    last_midnight = _edges_before(days, zone, end, side="right") - 1
    cut = last_midnight > first_midnight
    begin = np.where(cut, np.maximum(opened, 0), opened)
    last = np.where(cut, np.minimum(_edges_before(days, zone, end, side="left") - 1, n_edges - 2), begin)
    counts = np.maximum(last - begin + 1, 0)
    row = np.repeat(np.arange(len(pool)), counts)
    nth = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    column = begin[row] + nth
    within = (column >= 1) & (column <= days.n_days)
    row, nth, column = row[within], nth[within], column[within]
    low = np.where(cut[row], np.maximum(start[row], days.edges_ms[zone[row], column]), start[row])
    high = np.where(cut[row], np.minimum(end[row], days.edges_ms[zone[row], column + 1]), end[row])
    high = np.minimum(high, until_ms)
    some = high > low
    row, nth, column, low, high = row[some], nth[some], column[some], low[some], high[some]
    whose = pool[row]
    seen_first = np.append(True, np.diff(whose) != 0)[: len(whose)]
    return Sessions(
        spans=np.column_stack((low, high)),
        day=days.first_day + (column - 1).astype("timedelta64[D]"),
        begins=(nth == 0) | seen_first,
        first=np.searchsorted(whose, np.arange(len(opening) + 1)).astype(np.intp),
    )


def _edges_before(
    days: LocalDays, zone: Owners, at_ms: Instants, *, side: Literal["left", "right"]
) -> NDArray[np.int64]:
    """Number of the zone's midnights before each instant (`left`), or at or before it (`right`)."""
    n_zones, n_edges = days.edges_ms.shape
    edge_keys = keys(np.repeat(np.arange(n_zones), n_edges), days.edges_ms.reshape(-1))
    at = keys(zone, at_ms)
    before = np.searchsorted(edge_keys, at, side=side).astype(np.int64)
    return np.asarray(before - zone * n_edges)


def period_start(day: Dates, period: Period, *, season_months: Sequence[int] = SEASON_MONTHS) -> Dates:
    """First day of the period that each day is in, shape of `day`.

    Parameters
    ----------
    day : ndarray of datetime64[D], shape (n,)
    period : Period
        A day is its own.
    season_months : sequence of int
        Months, 1 to 12, on whose first day a season begins; each lasts until the next. With (5, 10) there are a swimming
        season from May to September and a winter that begins in October.

    Raises
    ------
    ValueError
        If a season is asked for and there is no first month, or one that is no month.
    """
    if period is Period.DAY:
        return day
    month = day.astype("datetime64[M]")
    if period is Period.SEASON:
        firsts = sorted(set(season_months))
        if not firsts or firsts[0] < 1 or firsts[-1] > _MONTHS:
            raise ValueError(
                f"season_months must be months from 1 to {_MONTHS}, at least one: {season_months}"
            )
        back = np.array(
            [min((of - first) % _MONTHS for first in firsts) for of in range(1, _MONTHS + 1)], dtype=np.int64
        )
        month = month - back[month.astype(np.int64) % _MONTHS].astype("timedelta64[M]")
    return month.astype("datetime64[D]")
