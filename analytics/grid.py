"""The minute grid: series-major `(series, time)`, explicit gaps, each reading's own time beside it. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analytics.spans import Instants
from analytics.tiles import Box, usual_box

Values = NDArray[np.float32] | NDArray[np.float64]
Offsets = NDArray[np.uint16] | NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Grid:
    """Readings of many series on one grid of steps; nothing is ever interpolated.

    A cell is the newest reading of its step. Where two readings of one series fall into one step the grid does not
    tell everything: choose a step that is not longer than the sensors' interval, and mind `Scattered.replaced`.

    Attributes
    ----------
    start_ms : int
        Start of the first step, milliseconds since the epoch.
    step_ms : int
        Length of a step; column j is [start + j * step, start + (j + 1) * step). [ms]
    value : ndarray of float32 or float64, shape (series, time), C order
        In each series' own unit; NaN is a gap: no reading, or none with a value.
    offset_ms : ndarray of uint16 (uint32 for steps above 65,536 ms), shape (series, time), C order
        How far into its step the cell's reading was measured; 0 where `value` is NaN. [ms]
    """

    start_ms: int
    step_ms: int
    value: Values
    offset_ms: Offsets

    @property
    def n_series(self) -> int:
        """Number of rows."""
        return int(self.value.shape[0])

    @property
    def n_steps(self) -> int:
        """Number of columns."""
        return int(self.value.shape[1])

    @property
    def end_ms(self) -> int:
        """End of the last step."""
        return self.start_ms + self.n_steps * self.step_ms

    def of_series(self, series: NDArray[np.integer]) -> "Grid":
        """A copy of some of the rows, in the order given."""
        return Grid(self.start_ms, self.step_ms, self.value[series], self.offset_ms[series])

    def measured_at_ms(self, series: NDArray[np.integer], step: NDArray[np.integer]) -> Instants:
        """Times of the readings in cells, shape of the broadcast indices; the start of the step for a gap. [ms]"""
        at: Instants = self.offset_ms[series, step].astype(np.int64)
        at += np.asarray(step, dtype=np.int64) * self.step_ms
        at += self.start_ms
        return at


def empty_grid(
    *, n_series: int, start_ms: int, end_ms: int, step_ms: int, dtype: type[np.floating] = np.float32
) -> Grid:
    """A grid of gaps that covers [start, end); `start_ms` is moved back to a multiple of the step."""
    start_ms -= start_ms % step_ms
    n_steps = max(-(-(end_ms - start_ms) // step_ms), 0)
    shape = (n_series, n_steps)
    offset_ms: Offsets = (
        np.zeros(shape, dtype=np.uint16) if step_ms <= 2**16 else np.zeros(shape, dtype=np.uint32)
    )
    return Grid(
        start_ms=start_ms, step_ms=step_ms, value=np.full(shape, np.nan, dtype=dtype), offset_ms=offset_ms
    )


@dataclass(frozen=True, slots=True)
class Scattered:
    """What became of the rows given to `scatter`.

    `placed` rows were put into their cells; `replaced` rows have no value, or share their cell with a newer reading that
    was there first, and are not in the grid; `outside` rows lie before or after it. placed + replaced + outside = rows.
    `displaced` readings, of before or of these rows, were in the grid and gave way to placed ones.
    """

    placed: int
    replaced: int
    outside: int
    displaced: int = 0


#: Rows of a tile are so many for each series of the grid, within these bounds: time-major rows then write pieces of
#: a cache line or more into each series, and the tile stays near the core.
_ROWS_PER_SERIES = 24
_LEAST_ROWS, _MOST_ROWS = 65_536, 524_288
#: Rows whose places are computed at once, in buffers that stay in the second-level cache.
_ROUND_ROWS = 32_768


def scatter(
    grid: Grid,
    *,
    series: NDArray[np.integer],
    measured_at_ms: Instants,
    value: NDArray[np.floating],
    shared: NDArray[np.bool_] | None = None,
) -> Scattered:
    """Put long rows, in any order, into their cells; the newest of a step wins, on a tie the last row given.

    Rows that lie near each other, in series or in time, are put into a small tile first, which then goes into the grid
    in one piece. A tile with fewer readings than rows had two of one cell: where the last of them is not the newest too,
    the rows are sorted.

    Parameters
    ----------
    grid : Grid
        Changed in place; cells that hold a newer reading already keep it.
    series : ndarray of integer, shape (n,)
        Row of each reading in the grid.
    measured_at_ms : ndarray of int64, shape (n,)
        Milliseconds since the epoch.
    value : ndarray of float, shape (n,)
        In the series' unit; rows with NaN leave their cell as it is and count as replaced.
    shared : ndarray of bool, shape (series,), optional
        Set to True for each series of which two readings, of these rows or of before, wanted one cell.

    Raises
    ------
    ValueError
        If the arrays are not of one length.
    IndexError
        If a row's series is not in the grid.
    """
    n = len(series)
    if len(measured_at_ms) != n or len(value) != n:
        raise ValueError(
            f"{n} series, {len(measured_at_ms)} times and {len(value)} values: one of each a row"
        )
    if n and (int(series.min()) < 0 or int(series.max()) >= grid.n_series):
        raise IndexError(f"series must be within 0 to {grid.n_series - 1}")
    placing = _Placing(grid, shared)
    at_once = min(max(_ROWS_PER_SERIES * grid.n_series, _LEAST_ROWS), _MOST_ROWS)
    for first in range(0, n, at_once):
        rows = slice(first, first + at_once)
        placing.put(series[rows], measured_at_ms[rows], value[rows])
    return Scattered(
        placed=placing.placed,
        replaced=n - placing.placed - placing.outside,
        outside=placing.outside,
        displaced=placing.displaced,
    )


class _Placing:
    """Counts and buffers of one call."""

    def __init__(self, grid: Grid, shared: NDArray[np.bool_] | None) -> None:
        self._grid, self._shared = grid, shared
        self.placed = self.outside = self.displaced = 0
        self._tile_value = np.empty(0, dtype=grid.value.dtype)
        self._tile_offset = np.empty(0, dtype=grid.offset_ms.dtype)
        self._place = np.empty(_ROUND_ROWS, dtype=np.intp)
        self._words = np.empty((3, _ROUND_ROWS), dtype=np.uint32)

    def put(self, series: NDArray[np.integer], measured_at_ms: Instants, value: NDArray[np.floating]) -> None:
        """Put some rows, at least one, into the grid."""
        grid = self._grid
        first_ms, last_ms = int(measured_at_ms.min()), int(measured_at_ms.max())
        missing = np.isnan(value)
        if first_ms < grid.start_ms or last_ms >= grid.end_ms or missing.any():
            within = (measured_at_ms >= grid.start_ms) & (measured_at_ms < grid.end_ms)
            self.outside += len(within) - int(np.count_nonzero(within))
            within &= ~missing
            series, measured_at_ms, value = series[within], measured_at_ms[within], value[within]
            if not len(series):
                return
            first_ms, last_ms = int(measured_at_ms.min()), int(measured_at_ms.max())
        box = Box(
            int(series.min()),
            int(series.max()) + 1,
            (first_ms - grid.start_ms) // grid.step_ms,
            (last_ms - grid.start_ms) // grid.step_ms + 1,
        )
        near = None
        if not box.dense(len(series), grid.step_ms):
            near = usual_box(box, series, measured_at_ms - grid.start_ms, step_ms=grid.step_ms)
        if near is None:
            if not (
                box.dense(len(series), grid.step_ms) and self._put_tile(box, series, measured_at_ms, value)
            ):
                self._put_sorted(series, measured_at_ms, value)
            return
        # A few late rows among many: all rows of a cell go one way, so each may be put by itself.
        usual, core = near
        rest = ~core
        if not self._put_tile(usual, series[core], measured_at_ms[core], value[core]):
            self._put_sorted(series[core], measured_at_ms[core], value[core])
        self._put_sorted(series[rest], measured_at_ms[rest], value[rest])

    def _put_tile(
        self, box: Box, series: NDArray[np.integer], at_ms: Instants, value: NDArray[np.floating]
    ) -> bool:
        """Put rows into a tile and that into the grid; False, with the grid as before, if that is not to be had."""
        if len(self._tile_value) < box.cells:
            self._tile_value = np.empty(box.cells, dtype=self._grid.value.dtype)
            self._tile_offset = np.empty(box.cells, dtype=self._grid.offset_ms.dtype)
        tile_value, tile_offset = self._tile_value[: box.cells], self._tile_offset[: box.cells]
        tile_value.fill(np.nan)
        tile_offset.fill(0)
        for rows, place, offset_ms in self._places(box, series, at_ms):
            tile_value[place] = value[rows].astype(tile_value.dtype, copy=False)
            tile_offset[place] = offset_ms
        empty = np.isnan(tile_value)
        if box.cells - int(np.count_nonzero(empty)) != len(series):
            # Several rows of one cell. The last one was left in it, which is right if no other of them is newer.
            for _, place, offset_ms in self._places(box, series, at_ms):
                if (tile_offset[place] < offset_ms).any():
                    return False
            if self._shared is not None:
                rows_of = np.bincount(series - box.from_series, minlength=box.n_series)
                filled = np.count_nonzero(~empty.reshape(box.n_series, box.n_steps), axis=1)
                self._shared[box.from_series : box.to_series] |= rows_of > filled
        shape = (box.n_series, box.n_steps)
        self._merge(box, tile_value.reshape(shape), tile_offset.reshape(shape), ~empty.reshape(shape))
        return True

    def _places(
        self, box: Box, series: NDArray[np.integer], at_ms: Instants
    ) -> Iterator[tuple[slice, NDArray[np.intp], Offsets]]:
        """Rows by rows the place in the box and the offset in the step; the arrays are used again."""
        start_ms = self._grid.start_ms + box.from_step * self._grid.step_ms
        step_ms, width = np.uint32(self._grid.step_ms), np.uint32(box.n_steps)
        from_series = np.uint32(box.from_series)
        for first in range(0, len(series), _ROUND_ROWS):
            rows = slice(first, first + _ROUND_ROWS)
            n = len(at_ms[rows])
            place, (since, step, cell) = self._place[:n], self._words[:, :n]
            np.subtract(at_ms[rows], start_ms, out=place)
            np.copyto(since, place, casting="unsafe")
            np.floor_divide(since, step_ms, out=step)
            np.copyto(cell, series[rows], casting="unsafe")
            cell -= from_series
            cell *= width
            cell += step
            np.copyto(place, cell)
            step *= step_ms
            since -= step
            yield rows, place, since.astype(self._grid.offset_ms.dtype, copy=False)

    def _merge(self, box: Box, value: Values, offset_ms: Offsets, new: NDArray[np.bool_]) -> None:
        """Put a tile into the grid, cell by cell the newer reading; `new` is changed."""
        part = (slice(box.from_series, box.to_series), slice(box.from_step, box.to_step))
        grid_value, grid_offset = self._grid.value[part], self._grid.offset_ms[part]
        taken = ~np.isnan(grid_value)
        if not taken.any():
            self.placed += int(np.count_nonzero(new))
            grid_value[...] = value
            grid_offset[...] = offset_ms
            return
        taken &= new
        if self._shared is not None:
            self._shared[part[0]] |= taken.any(axis=1)
        older = taken & (offset_ms < grid_offset)
        new &= ~older
        self.displaced += int(np.count_nonzero(taken)) - int(np.count_nonzero(older))
        self.placed += int(np.count_nonzero(new))
        np.copyto(grid_value, value, where=new)
        np.copyto(grid_offset, offset_ms, where=new)

    def _put_sorted(self, series: NDArray[np.integer], at_ms: Instants, value: NDArray[np.floating]) -> None:
        """Put rows that lie far apart, or of which several want one cell; all in the grid's time, none NaN."""
        since = at_ms - self._grid.start_ms
        step = since // self._grid.step_ms
        offset = (since - step * self._grid.step_ms).astype(self._grid.offset_ms.dtype)
        cell = series.astype(np.int64) * self._grid.n_steps + step
        order = np.lexsort((offset, cell))
        last = np.append(np.diff(cell[order]) != 0, True)
        chosen = order[last]
        if self._shared is not None:
            self._shared[series[order[~last]]] = True
        cell, offset, number = cell[chosen], offset[chosen], value[chosen]
        flat_value, flat_offset = self._grid.value.reshape(-1), self._grid.offset_ms.reshape(-1)
        taken = ~np.isnan(flat_value[cell])
        if self._shared is not None:
            self._shared[series[chosen[taken]]] = True
        newer = ~taken | (flat_offset[cell] <= offset)
        self.displaced += int(np.count_nonzero(taken & newer))
        self.placed += int(np.count_nonzero(newer))
        flat_value[cell[newer]] = number[newer]
        flat_offset[cell[newer]] = offset[newer]
