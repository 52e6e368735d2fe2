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
from analytics.ragged import RaggedSpans, keys
from analytics.screening import Unusual, screen
from analytics.spans import FAR_MS, Instants, Spans
from analytics.standards.limits import LimitEnd, Side

Positions = NDArray[np.intp]
_BEFORE_ALL_MS = -FAR_MS
#: One reading raises nothing and ends nothing. DESIGN 12.8
_LEAST_READINGS = 2


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


def exceedances(
    grid: Grid,
    *,
    limits: LimitTable,
    confirm_ms: int,
    clear_ms: int,
    gap_ms: NDArray[np.int64],
    opening: RaggedSpans,
    pool_of: Positions,
    now_ms: int,
    begin_ms: Instants | None = None,
) -> ExceedanceColumns:
    """Confirmed exceedances of every series of a grid of good readings up to now, cut by opening.

    Limits are cast once to the grid's dtype. A gap is NaN; readings that are suspect have to be NaN too. See `Rules`
    for the parameters.

    Raises
    ------
    ValueError
        If a `gap_ms` is below two steps: then cells side by side might hold a gap; choose a finer grid.
    """
    rules = Rules(confirm_ms, clear_ms, gap_ms, opening, pool_of, begin_ms)
    inside_from, inside_to = limits.usual(grid.n_series, grid.value.dtype)
    return ExceedanceColumns.joined(
        part
        for unusual in screen(grid, inside_from=inside_from, inside_to=inside_to)
        for part in exceedances_among(grid, unusual, limits=limits, rules=rules, now_ms=now_ms)
    )


def exceedances_among(
    grid: Grid, unusual: Unusual, *, limits: LimitTable, rules: Rules, now_ms: int
) -> Iterator[ExceedanceColumns]:
    """Exceedances among the cells of one screen of `LimitTable.usual`; see `exceedances`."""
    if grid.n_series and int(rules.gap_ms.min()) < 2 * grid.step_ms:
        raise ValueError(f"gap_ms of {int(rules.gap_ms.min())} needs a grid of half of it or finer")
    zones = _zones(grid, unusual, confirm_ms=rules.confirm_ms, clear_ms=rules.clear_ms)
    if not len(zones.series):
        return
    first = np.searchsorted(limits.series, np.arange(grid.n_series + 1), side="left")
    most = int(np.diff(first)[zones.series].max())
    cells = _cells(grid, zones)
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
            part = _one_end(zones, cells.of(zone), zone, row, ends, limits=limits, rules=rules, now_ms=now_ms)
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


@dataclass(frozen=True, slots=True)
class _Zones:
    """Stretches of a series in which an exceedance may begin and, if it ends, certainly ends: steps [from, to)."""

    series: NDArray[np.int64]
    from_step: NDArray[np.int64]
    to_step: NDArray[np.int64]


def _zones(grid: Grid, unusual: Unusual, *, confirm_ms: int, clear_ms: int) -> _Zones:
    long = (unusual.last - unusual.first + 1) * grid.step_ms > confirm_ms
    block = np.flatnonzero(long)
    # A long stretch of nothing but gaps raises nothing.
    gaps = np.searchsorted(unusual.gap, unusual.last[block], side="right") - np.searchsorted(
        unusual.gap, unusual.first[block], side="left"
    )
    block = block[unusual.last[block] - unusual.first[block] + 1 - gaps >= _LEAST_READINGS]
    if not len(block):
        none = np.empty(0, dtype=np.int64)
        return _Zones(none, none, none)
    # So many usual cells in a row end every exceedance, wherever in their steps the readings lie.
    clearing = max(-(-clear_ms // grid.step_ms) + 2, 2)
    from_cell, last_cell = unusual.cell[unusual.first], unusual.cell[unusual.last]
    # The last block before each such stretch ends a zone, or the series does.
    ends = np.flatnonzero(from_cell[1:] - last_cell[:-1] > clearing)
    zone = np.searchsorted(ends, block, side="left")
    series, step = unusual.place(unusual.first[block])
    fresh = np.ones(len(zone), dtype=np.bool_)
    fresh[1:] = (zone[1:] != zone[:-1]) | (series[1:] != series[:-1])
    series, step, block, zone = series[fresh], step[fresh], block[fresh], zone[fresh]
    last_block = np.append(ends, len(from_cell) - 1)[zone]
    to_step = step + last_cell[last_block] - from_cell[block] + 1 + clearing
    return _Zones(series, step, np.minimum(to_step, grid.n_steps))


@dataclass(frozen=True, slots=True)
class _Cells:
    """Readings of zones, gaps left out; zone after zone, each by time. `begins`: position of each zone's first."""

    value: NDArray[np.floating]
    at_ms: Instants
    begins: Positions

    @property
    def counts(self) -> Positions:
        """Readings of each zone."""
        return np.diff(self.begins, append=len(self.value))

    def of(self, zone: Positions) -> "_Cells":
        """Those of some of the zones, ascending."""
        if len(zone) == len(self.begins):
            return self
        counts = self.counts
        chosen = np.zeros(len(counts), dtype=np.bool_)
        chosen[zone] = True
        cell = np.flatnonzero(np.repeat(chosen, counts))
        kept = counts[zone]
        return _Cells(self.value[cell], self.at_ms[cell], np.cumsum(kept) - kept)


def _cells(grid: Grid, zones: _Zones) -> _Cells:
    length = zones.to_step - zones.from_step
    before = np.cumsum(length) - length
    cell = np.repeat(zones.series * grid.n_steps + zones.from_step - before, length)
    cell += np.arange(len(cell))
    value = grid.value.reshape(-1)[cell]
    at_ms = np.repeat(grid.start_ms + (zones.from_step - before) * grid.step_ms, length)
    at_ms += np.arange(0, len(cell) * grid.step_ms, grid.step_ms)
    at_ms += grid.offset_ms.reshape(-1)[cell]
    present = ~np.isnan(value)
    # Every zone has readings: it was chosen for them.
    counts = np.add.reduceat(present, before, dtype=np.intp)
    return _Cells(value[present], at_ms[present], np.cumsum(counts) - counts)


def _one_end(
    zones: _Zones,
    cells: _Cells,
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
    if (from_ms > cells.at_ms[cells.begins]).any() or (to_ms < FAR_MS).any():
        in_force = (cells.at_ms >= np.repeat(from_ms, counts)) & (cells.at_ms < np.repeat(to_ms, counts))
        outside &= in_force
        well_inside &= in_force
    series = zones.series[zone]
    sequences = Sequences(
        at_ms=cells.at_ms, first=cells.begins, gap_ms=rules.gap_ms[series], pool=rules.pool_of[series]
    )
    told = decisions(
        sequences,
        outside=outside,
        well_inside=well_inside,
        confirm_ms=rules.confirm_ms,
        clear_ms=rules.clear_ms,
        opening=rules.opening,
    )
    found = exceeded(told)
    if not len(found.sequence):
        return None
    end_ms, unverified_ms = unverified_since(sequences, found, opening=rules.opening, now_ms=now_ms)
    of_zone = found.sequence
    return _in_open_time(
        np.column_stack((found.start_ms, end_ms)),
        unverified_ms,
        of_zone,
        cells,
        row=row,
        series=series,
        limits=limits,
        rules=rules,
        now_ms=now_ms,
    )


def _in_open_time(
    spans: Spans,
    unverified_ms: Instants,
    of_zone: Positions,
    cells: _Cells,
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
    reading = keys(np.repeat(np.arange(len(row)), cells.counts), cells.at_ms)
    bounds = np.searchsorted(reading, keys(np.repeat(of_zone, 2), pieces.reshape(-1)), side="left")
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
