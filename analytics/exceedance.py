"""Exceedances of whole histories: every series of a grid against every end of its limits (DESIGN 12.8). Pure.

The cost of judging is one pass of comparisons over the grid. The machine itself runs only where something may happen:
from a stretch of unusual cells long enough to be confirmed, until readings well inside every limit have certainly ended
whatever it began. Elsewhere it would stay inside, so leaving it out changes nothing.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from analytics.grid import Grid
from analytics.machine import Mask, Sequences, decisions, exceeded, pieces_of, unverified_since
from analytics.ragged import RaggedSpans
from analytics.screening import Unusual
from analytics.spans import FAR_MS, Instants, Spans
from analytics.standards.limits import LimitEnd, Side
from analytics.zones import Cells, Zones, cells_of, times_of, zones_of

Positions = NDArray[np.intp]
_BEFORE_ALL_MS = -FAR_MS


@dataclass(frozen=True, slots=True)
class LimitTable:
    """Ends of limits by series: one row for each end of each series, ascending by `series`; shape (k,) each.

    Attributes
    ----------
    series : ndarray of intp
        Row of the grid.
    high : ndarray of bool
        An upper end; else a lower one.
    value : ndarray of float64
        The end, in the series' unit.
    closed : ndarray of bool
        The end itself is inside.
    well : ndarray of float64
        At this value or farther inside a reading is well inside: the end moved by the hysteresis.
    from_ms, to_ms : ndarray of int64
        When the end judges readings: [from, to), by when they were measured; ±FAR_MS for an open one.
    """

    series: Positions
    high: Mask
    value: NDArray[np.float64]
    closed: Mask
    well: NDArray[np.float64]
    from_ms: Instants
    to_ms: Instants

    @classmethod
    def of(cls, rows: Iterable[tuple[int, LimitEnd, float, int, int]]) -> "LimitTable":
        """Table of (series, end, hysteresis in its unit, from_ms, to_ms): the span within which its sensor is in force.

        A row's span is cut by when the limit is in force. Rows must ascend by series.
        """
        table = list(rows)
        high = np.array([end.side is Side.HIGH for _, end, *_ in table], dtype=np.bool_)
        value = np.array([end.threshold for _, end, *_ in table], dtype=np.float64)
        hysteresis = np.array([row[2] for row in table], dtype=np.float64)
        spans = np.array(
            [(max(end.from_ms, from_ms), min(end.to_ms, to_ms)) for _, end, _, from_ms, to_ms in table],
            dtype=np.int64,
        ).reshape(-1, 2)
        return cls(
            series=np.array([row[0] for row in table], dtype=np.intp),
            high=high,
            value=value,
            closed=np.array([end.threshold_closed for _, end, *_ in table], dtype=np.bool_),
            well=np.where(high, value - hysteresis, value + hysteresis),
            from_ms=spans[:, 0],
            to_ms=spans[:, 1],
        )

    def usual(
        self, n_series: int, dtype: np.dtype[np.floating]
    ) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """Of each series the range that is well inside all its ends, ends included; shape (series,) each, of `dtype`."""
        inside_from = np.full(n_series, -np.inf, dtype=dtype)
        inside_to = np.full(n_series, np.inf, dtype=dtype)
        value, well = self.value.astype(dtype), self.well.astype(dtype)
        # On an open end without hysteresis the end itself is not inside: the next number is.
        inward = np.where(self.high, -np.inf, np.inf).astype(dtype)
        well = np.where(~self.closed & (well == value), np.nextafter(value, inward), well)
        np.maximum.at(inside_from, self.series[~self.high], well[~self.high])
        np.minimum.at(inside_to, self.series[self.high], well[self.high])
        return inside_from, inside_to


@dataclass(frozen=True, slots=True)
class ExceedanceColumns:
    """Exceedances in open time, by series and start of their interval; shape (k,) each.

    Attributes
    ----------
    limit_row : ndarray of intp
        Row of the limit table.
    series : ndarray of intp
        Row of the grid.
    start_ms, end_ms : ndarray of int64
        An end of FAR_MS: still open.
    worst_value : ndarray of float64
        Farthest out within it, in the series' unit; NaN without a good reading in it.
    unverified_since_ms : ndarray of int64
        Of a still open one the last good reading, if nothing came for too long since; else FAR_MS.
    """

    limit_row: Positions
    series: Positions
    start_ms: Instants
    end_ms: Instants
    worst_value: NDArray[np.float64]
    unverified_since_ms: Instants

    @classmethod
    def joined(cls, parts: Iterable["ExceedanceColumns"]) -> "ExceedanceColumns":
        """Parts one after the other, then by series, limit and start."""
        several = [_NO_EXCEEDANCES, *parts]
        columns = [np.concatenate([getattr(part, field.name) for part in several]) for field in fields(cls)]
        order = np.lexsort((columns[2], columns[0]))
        return cls(*(column[order] for column in columns))


_NO_EXCEEDANCES = ExceedanceColumns(
    limit_row=np.empty(0, dtype=np.intp),
    series=np.empty(0, dtype=np.intp),
    start_ms=np.empty(0, dtype=np.int64),
    end_ms=np.empty(0, dtype=np.int64),
    worst_value=np.empty(0, dtype=np.float64),
    unverified_since_ms=np.empty(0, dtype=np.int64),
)


@dataclass(frozen=True, slots=True)
class Rules:
    """How exceedances are confirmed, and whose opening hours count.

    Attributes
    ----------
    confirm_ms, clear_ms : int
        How long a run has to last. [ms]
    gap_ms : ndarray of int64, shape (series,)
        Longest distance of two readings that is no gap; at least two steps of the grid. [ms]
    opening : RaggedSpans
        Merged opening intervals by pool, from before the first reading to beyond now.
    pool_of : ndarray of intp, shape (series,)
    begin_ms : ndarray of int64, shape (pools,)
        Before a pool's begin there is no exceedance; -FAR_MS for none. [ms]
    """

    confirm_ms: int
    clear_ms: int
    gap_ms: NDArray[np.int64]
    opening: RaggedSpans
    pool_of: Positions
    begin_ms: Instants | None = None


def exceedances_among(
    grid: Grid, unusual: Unusual, *, limits: LimitTable, rules: Rules, now_ms: int
) -> Iterator[ExceedanceColumns]:
    """Confirmed exceedances up to now, in open time, among the cells of one screen of `LimitTable.usual`.

    Limits are cast once to the grid's dtype. A gap is NaN; readings that are suspect have to be NaN too.

    Raises
    ------
    ValueError
        If a `gap_ms` is below two steps: then cells side by side might hold a gap; choose a finer grid.
    """
    if grid.n_series and int(rules.gap_ms.min()) < 2 * grid.step_ms:
        raise ValueError(f"gap_ms of {int(rules.gap_ms.min())} needs a grid of half of it or finer")
    zones = zones_of(grid, unusual, confirm_ms=rules.confirm_ms, clear_ms=rules.clear_ms)
    if not len(zones.series):
        return
    first = np.searchsorted(limits.series, np.arange(grid.n_series + 1), side="left")
    most = int(np.diff(first)[zones.series].max())
    cells = cells_of(grid, zones)
    ends = _Ends.of(limits, grid.value.dtype)
    largest = np.maximum.reduceat(cells.value, cells.begins)
    smallest = np.minimum.reduceat(cells.value, cells.begins)
    for number in range(most):
        row = first[zones.series] + number
        zone = np.flatnonzero(row < first[zones.series + 1])
        row = row[zone]
        high = limits.high[row]
        farthest = np.where(high, largest[zone], -smallest[zone])
        reached = farthest > ends.top[row]
        if reached.any():
            zone, row = zone[reached], row[reached]
            part = _one_end(
                grid, zones, cells.of(zone), zone, row, ends, limits=limits, rules=rules, now_ms=now_ms
            )
            if part is not None:
                yield part


@dataclass(frozen=True, slots=True)
class _Ends:
    """The ends of a limit table in the grid's dtype, lower ones mirrored.

    Outside is above `top`, well inside is not above `well`. On an open end the end itself is outside too: `top` is the
    number before it.
    """

    sign: NDArray[np.floating]
    top: NDArray[np.floating]
    well: NDArray[np.floating]

    @classmethod
    def of(cls, limits: LimitTable, dtype: np.dtype[np.floating]) -> "_Ends":
        sign = np.where(limits.high, 1, -1).astype(dtype)
        top = sign * limits.value.astype(dtype)
        top = np.where(limits.closed, top, np.nextafter(top, np.array(-np.inf, dtype=dtype)))
        return cls(sign, top, np.minimum(sign * limits.well.astype(dtype), top))


def _one_end(
    grid: Grid,
    zones: Zones,
    cells: Cells,
    zone: Positions,
    row: Positions,
    ends: _Ends,
    *,
    limits: LimitTable,
    rules: Rules,
    now_ms: int,
) -> ExceedanceColumns | None:
    """Exceedances of some zones, each against its row of the limit table; `cells` are theirs."""
    counts = cells.counts
    mirrored = cells.value * np.repeat(ends.sign[row], counts)
    outside = mirrored > np.repeat(ends.top[row], counts)
    well_inside = mirrored <= np.repeat(ends.well[row], counts)
    from_ms, to_ms = limits.from_ms[row], limits.to_ms[row]
    if (from_ms > grid.start_ms).any() or (to_ms < grid.end_ms).any():
        at_ms = times_of(grid, cells.cell)
        in_force = (at_ms >= np.repeat(from_ms, counts)) & (at_ms < np.repeat(to_ms, counts))
        outside &= in_force
        well_inside &= in_force
    series = zones.series[zone]
    edges = cells.edges(outside, well_inside)
    sequences = Sequences(
        at_ms=times_of(grid, cells.cell[edges.place]),
        first=edges.begins,
        gap_ms=rules.gap_ms[series],
        pool=rules.pool_of[series],
        follows=edges.follows,
    )
    told = decisions(
        sequences,
        outside=outside[edges.place],
        well_inside=well_inside[edges.place],
        confirm_ms=rules.confirm_ms,
        clear_ms=rules.clear_ms,
        opening=rules.opening,
    )
    found = exceeded(told)
    if not len(found.sequence):
        return None
    end_ms, unverified_ms = unverified_since(sequences, found, opening=rules.opening, now_ms=now_ms)
    return _in_open_time(
        grid,
        np.column_stack((found.start_ms, end_ms)),
        unverified_ms,
        found.sequence,
        cells,
        row=row,
        series=series,
        limits=limits,
        rules=rules,
        now_ms=now_ms,
    )


def _in_open_time(
    grid: Grid,
    spans: Spans,
    unverified_ms: Instants,
    of_zone: Positions,
    cells: Cells,
    *,
    row: Positions,
    series: Positions,
    limits: LimitTable,
    rules: Rules,
    now_ms: int,
) -> ExceedanceColumns | None:
    """Cut by the limit's force, by the pool's begin and by opening, with the worst value of each piece."""
    pool = rules.pool_of[series]
    from_ms = limits.from_ms[row]
    if rules.begin_ms is not None:
        from_ms = np.maximum(from_ms, rules.begin_ms[pool])
    some, spans = pieces_of(spans, from_ms=from_ms[of_zone], to_ms=limits.to_ms[row[of_zone]])
    of_zone, unverified_ms = of_zone[some], unverified_ms[some]
    of, pieces = rules.opening.cut(pool[of_zone], spans)
    begun = pieces[:, 0] <= now_ms
    of, pieces = of[begun], pieces[begun]
    if not len(of):
        return None
    of_zone = of_zone[of]
    is_open = pieces[:, 1] > now_ms
    both = np.repeat(of_zone, 2)
    bounds = cells.from_on(grid, series=series[both], zone=both, at_ms=pieces.reshape(-1))
    return ExceedanceColumns(
        limit_row=row[of_zone],
        series=series[of_zone],
        start_ms=pieces[:, 0],
        end_ms=np.where(is_open, FAR_MS, pieces[:, 1]),
        worst_value=_worst(cells.value, limits.high[row[of_zone]], bounds),
        unverified_since_ms=np.where(is_open, unverified_ms[of], FAR_MS),
    )


def _worst(value: NDArray[np.floating], high: Mask, bounds: Positions) -> NDArray[np.float64]:
    """Largest value of each [bounds[2i], bounds[2i + 1]) where `high`, else the smallest; NaN for an empty one."""
    padded = np.append(value, value.dtype.type(np.nan))
    largest = np.maximum.reduceat(padded, bounds)[::2]
    smallest = np.minimum.reduceat(padded, bounds)[::2]
    worst = np.where(high, largest, smallest).astype(np.float64)
    worst[bounds[::2] >= bounds[1::2]] = np.nan
    return worst
