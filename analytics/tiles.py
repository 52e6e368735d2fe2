"""Boxes of series and steps: where rows that are put into a grid together lie close enough for a tile. Pure."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: A tile may have so many cells for each row; sparser rows are sorted instead.
_CELLS_PER_ROW = 4
#: So many rows of a part tell where most of it lies.
_SAMPLED_ROWS = 512
#: Places in a tile are computed with 32 bits.
_UINT32_END = 2**32


@dataclass(frozen=True, slots=True)
class Box:
    """Series and steps, [from, to) each, that some rows lie in."""

    from_series: int
    to_series: int
    from_step: int
    to_step: int

    @property
    def n_series(self) -> int:
        """Number of series."""
        return self.to_series - self.from_series

    @property
    def n_steps(self) -> int:
        """Number of steps."""
        return self.to_step - self.from_step

    @property
    def cells(self) -> int:
        """Number of cells."""
        return self.n_series * self.n_steps

    def dense(self, n_rows: int, step_ms: int) -> bool:
        """Whether it is worth a tile for so many rows, and its times fit into 32 bits."""
        return self.cells <= _CELLS_PER_ROW * n_rows and self.n_steps * step_ms < _UINT32_END


def usual_box(
    box: Box, series: NDArray[np.integer], since_ms: NDArray[np.int64], *, step_ms: int
) -> tuple[Box, NDArray[np.bool_]] | None:
    """A dense box that holds nearly all of some rows, and which ones; None if there is none by time or by series.

    Parameters
    ----------
    box : Box
        Holds all of the rows.
    series : ndarray of integer, shape (n,)
    since_ms : ndarray of int64, shape (n,)
        Time of each row since the start of the grid. [ms]
    step_ms : int
        Length of a step. [ms]
    """
    every = max(len(series) // _SAMPLED_ROWS, 1)
    low, high = _middle(since_ms[::every] // step_ms)
    by_time = Box(box.from_series, box.to_series, max(low, box.from_step), min(high + 1, box.to_step))
    low, high = _middle(series[::every])
    by_series = Box(max(low, box.from_series), min(high + 1, box.to_series), box.from_step, box.to_step)
    for part in (by_time, by_series):
        if part is by_time:
            core = (since_ms >= part.from_step * step_ms) & (since_ms < part.to_step * step_ms)
        else:
            core = (series >= part.from_series) & (series < part.to_series)
        n_rows = int(np.count_nonzero(core))
        if n_rows > len(series) // 2 and part.dense(n_rows, step_ms):
            return part, core
    return None


def _middle(sample: NDArray[np.integer]) -> tuple[int, int]:
    """The range of nine tenths of a sample, and as much again to both sides."""
    low, high = np.quantile(sample, (0.05, 0.95), method="nearest")
    reach = int(high) - int(low)
    return int(low) - reach, int(high) + reach
