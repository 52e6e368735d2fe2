"""The minute grid: series-major `(series, time)`, explicit gaps, each reading's own time beside it. Pure."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analytics.spans import Instants

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

    `placed` cells hold a reading of these rows; `replaced` rows share their cell with a newer one of these rows or of
    before, and are not in the grid; `outside` rows lie before or after the grid. placed + replaced + outside = rows.
    """

    placed: int
    replaced: int
    outside: int


def scatter(
    grid: Grid, *, series: NDArray[np.integer], measured_at_ms: Instants, value: NDArray[np.floating]
) -> Scattered:
    """Put long rows, in any order, into their cells; the newest of a step wins, on a tie the last row given.

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
    """
    step, offset = np.divmod(measured_at_ms - grid.start_ms, grid.step_ms)
    within = (step >= 0) & (step < grid.n_steps)
    n_outside = len(step) - int(np.count_nonzero(within))
    chosen = np.flatnonzero(within & ~np.isnan(value))
    cell = series[chosen].astype(np.int64) * grid.n_steps + step[chosen]
    order = np.lexsort((offset[chosen], cell))
    last = np.append(np.diff(cell[order]) != 0, True)[: len(order)]
    chosen, cell = chosen[order[last]], cell[order[last]]
    flat_value, flat_offset = grid.value.reshape(-1), grid.offset_ms.reshape(-1)
    newer = np.isnan(flat_value[cell]) | (flat_offset[cell] <= offset[chosen])
    chosen, cell = chosen[newer], cell[newer]
    flat_value[cell] = value[chosen]
    flat_offset[cell] = offset[chosen]
    placed = len(chosen)
    return Scattered(placed=placed, replaced=len(step) - placed - n_outside, outside=n_outside)
