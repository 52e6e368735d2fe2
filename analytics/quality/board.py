"""A grid with its series, looked up cell by cell: times, the newest value before, when a channel moved. Pure."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from analytics.grid import Grid
from analytics.quality.formulae import Found, Numbers, distances, moved
from analytics.quality.vocabulary import Checked, Thresholds, thresholds
from analytics.spans import Instants
from gateway.contract.quantities import Quantity
from ingest.store.records import StatusCode

Cells = NDArray[np.int64]


class Board:
    """Where the checks look up what a dense pass cannot tell.

    A cell is a flat index into the grid. Only a probe's normal readings are looked up; what else a cell holds is as good
    as missing.
    """

    def __init__(self, grid: Grid, *, series: Sequence[Checked], status: NDArray[np.uint8] | None) -> None:
        self.grid = grid
        self.series = series
        self.value: Numbers = grid.value.reshape(-1)
        self.offset_ms = grid.offset_ms.reshape(-1)
        self.status = None if status is None else status.reshape(-1)
        self.limits: tuple[Thresholds, ...] = tuple(
            thresholds(one.quantity, one.rules, interval_s=one.interval_s, dtype=grid.value.dtype)
            for one in series
        )
        self._of_pool: dict[int, list[int]] = {}
        for row, one in enumerate(series):
            if one.pool is not None:
                self._of_pool.setdefault(one.pool, []).append(row)
        self.reach_ms = np.array([limit.reach_ms for limit in self.limits], dtype=np.int64)
        self.flow_rows = self._flow_rows()

    def at_ms(self, cells: Cells) -> Instants:
        """Time of the reading in each cell; the start of its step for a gap. [ms]"""
        at = cells % self.grid.n_steps
        at *= self.grid.step_ms
        at += self.offset_ms[cells]
        at += self.grid.start_ms
        return at

    def distance_ms(self, cells: Cells, earlier: Cells) -> Instants:
        """Time between the readings of cells of one row each. [ms]"""
        distance: Instants = self.key_ms(cells)
        distance -= self.key_ms(earlier)
        return distance

    def key_ms(self, cells: Cells) -> Instants:
        """Time of each cell's reading from the start of the first row, as if the rows followed each other in time. [ms]

        Within a row it differs from the time by a constant; it needs no division.
        """
        key: Instants = cells * self.grid.step_ms
        key += self.offset_ms[cells]
        return key

    def row_at_ms(self, row: int, columns: Cells) -> Instants:
        """Time of the reading in each column of a row. [ms]"""
        at: Instants = columns * self.grid.step_ms
        at += self.grid.offset_ms[row, columns]
        at += self.grid.start_ms
        return at

    def usable_columns(self, row: int) -> Cells:
        """Columns of a row that hold a probe's normal reading."""
        n_steps = self.grid.n_steps
        found = ~np.isnan(self.grid.value[row])
        if self.status is not None:
            found &= self.status[row * n_steps : (row + 1) * n_steps] == StatusCode.NORMAL
        return np.flatnonzero(found)

    def usable(self, cells: Cells) -> Found:
        """Which cells hold a probe's normal reading."""
        found: Found = ~np.isnan(self.value[cells])
        if self.status is not None:
            found &= self.status[cells] == StatusCode.NORMAL
        return found

    def others(self, row: int, quantity: Quantity | None = None) -> list[int]:
        """Other series of the pool, of one quantity or any."""
        pool = self.series[row].pool
        rows = [] if pool is None else self._of_pool[pool]
        return [
            other
            for other in rows
            if other != row and (quantity is None or self.series[other].quantity == quantity)
        ]

    def _flow_rows(self) -> NDArray[np.int64]:
        """Rows that measure the flow of each row's pool, shape (n, series), -1 where there are fewer."""
        found = [self.others(row, Quantity.FLOW_M3_H) for row in range(len(self.series))]
        table = np.full((max(map(len, found), default=0), len(found)), -1, dtype=np.int64)
        for row, rows in enumerate(found):
            table[: len(rows), row] = rows
        return table

    def newest(self, others: Cells, *, cells: Cells, at_ms: Instants) -> Numbers:
        """Newest value of another row, by the time of the reading in each cell; NaN without one within its reach.

        `others` are rows, one for each cell; -1 for none.
        """
        grid = self.grid
        row, column = np.divmod(cells, grid.n_steps)
        reach_ms = self.reach_ms[row]
        found = np.full(len(cells), np.nan, dtype=self.value.dtype)
        want = np.flatnonzero(others >= 0)
        there = others[want] * grid.n_steps + column[want]
        column = column[want]
        while len(want):
            then = self.offset_ms[there] + column * grid.step_ms + grid.start_ms
            age_ms = at_ms[want] - then
            hit = self.usable(there) & (age_ms >= 0)
            near = hit & (age_ms <= reach_ms[want])
            found[want[near]] = self.value[there[near]]
            column -= 1
            there -= 1
            further = ~hit & (column >= 0)
            further &= at_ms[want] - (grid.start_ms + (column + 1) * grid.step_ms) < reach_ms[want]
            want, column, there = want[further], column[further], there[further]
        return found

    def flows(self, cells: Cells, at_ms: Instants) -> tuple[Found, Found]:
        """Where the flow of the cells' pools is known to run, and where it is known to stand."""
        row = cells // self.grid.n_steps
        runs = np.zeros(len(cells), dtype=np.bool_)
        known = np.zeros(len(cells), dtype=np.bool_)
        for rows in self.flow_rows:
            flow = self.newest(rows[row], cells=cells, at_ms=at_ms)
            runs |= flow > 0.0
            known |= ~np.isnan(flow)
        return runs, known & ~runs

    def moves_between(self, row: int, *, first: int, after: int) -> Instants:
        """When a row differed from its reading before by more than its tolerance, both within reach, sorted. [ms]

        Of readings in columns [first, after); the one before the first of them is looked for as far as it could count.
        """
        limit = self.limits[row]
        first = max(first - limit.reach_ms // self.grid.step_ms - 1, 0)
        columns = np.arange(first, after)
        columns = columns[self.usable(columns + row * self.grid.n_steps)]
        at_ms = self.row_at_ms(row, columns)
        move = moved(self.grid.value[row, columns], tolerance=limit.tolerance)
        move &= distances(at_ms) <= limit.reach_ms
        return at_ms[move]

    def alive(self, cells: Cells, *, span_ms: int, unknown: bool) -> Found:
        """Whether the pool lives at each cell's time, cells sorted: water flows, or another channel moved in `span_ms`.

        `unknown` for series without any other in their pool.
        """
        n_steps = self.grid.n_steps
        at_ms = self.at_ms(cells)
        alive, _ = self.flows(cells, at_ms)
        rest = np.flatnonzero(~alive)
        if len(rest):
            row, column = np.divmod(cells[rest], n_steps)
            n_span = span_ms // self.grid.step_ms + 2
            apart = (column[1:] - column[:-1] > n_span) | (row[1:] != row[:-1])
            for part in np.split(rest, np.flatnonzero(apart) + 1):
                self._find_moves(alive, part, cells=cells, at_ms=at_ms, span_ms=span_ms, unknown=unknown)
        return alive

    def _find_moves(
        self, alive: Found, part: Cells, *, cells: Cells, at_ms: Instants, span_ms: int, unknown: bool
    ) -> None:
        """Set `alive` at those of `part`, near each other in one row, before which another channel moved."""
        row, column = divmod(int(cells[part[0]]), self.grid.n_steps)
        first = column - span_ms // self.grid.step_ms - 2
        after = int(cells[part[-1]]) - row * self.grid.n_steps + 1
        others = self.others(row)
        if not others:
            alive[part] = unknown
        for other in others:
            moves = self.moves_between(other, first=first, after=after)
            last = np.searchsorted(moves, at_ms[part], side="right")
            alive[part] = last > np.searchsorted(moves, at_ms[part] - span_ms, side="right")
            part = part[~alive[part]]
            if not len(part):
                return
