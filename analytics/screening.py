"""The dense pass over the grid: which cells are not well inside every limit, or are gaps. Pure.

Everything after this works on those few cells only, whatever the number of readings stored.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analytics.grid import Grid

#: Cells of a tile: values, two masks and what is written of them stay in a core's second-level cache.
_TILE_CELLS = 131_072


@dataclass(frozen=True, slots=True)
class Unusual:
    """Cells that a screen lets through, by series and step, and their stretches without a usual cell between.

    Attributes
    ----------
    from_series, to_series : int
        The run of series that was screened: [from, to).
    series, step : ndarray of int64, shape (n,)
        Indices into the grid.
    value : ndarray of the grid's dtype, shape (n,)
        NaN for gaps.
    first, last : ndarray of intp, shape (blocks,)
        Positions of each block's first and last cell in the arrays above; a block never leaves its series.
    """

    from_series: int
    to_series: int
    series: NDArray[np.int64]
    step: NDArray[np.int64]
    value: NDArray[np.floating]
    first: NDArray[np.intp]
    last: NDArray[np.intp]


def screen(
    grid: Grid,
    *,
    inside_from: NDArray[np.floating],
    inside_to: NDArray[np.floating],
    cells_at_once: int = 2_000_000,
) -> Iterator[Unusual]:
    """Find the cells outside [inside_from, inside_to], gaps included.

    Parameters
    ----------
    grid : Grid
    inside_from, inside_to : ndarray, shape (series,), of the grid's dtype
        Ends of what is usual, themselves usual; -inf and inf where a series has no limit.
    cells_at_once : int
        About so many cells, in whole series, give one result: it bounds the memory.

    Yields
    ------
    Unusual
        One for each run of whole series, in their order.
    """
    n_series, n_steps = grid.value.shape
    if not n_series or not n_steps:
        return
    rows_of_part = max(cells_at_once // n_steps, 1)
    rows_of_tile = max(_TILE_CELLS // n_steps, 1)
    width = n_steps + 1
    # A column more that is never unusual keeps the stretches of neighbouring series apart.
    above = np.zeros((rows_of_tile, width), dtype=np.bool_)
    unusual = np.zeros((rows_of_tile, width), dtype=np.bool_)
    for part in range(0, n_series, rows_of_part):
        part_end = min(part + rows_of_part, n_series)
        found = []
        for row in range(part, part_end, rows_of_tile):
            end = min(row + rows_of_tile, part_end)
            value = grid.value[row:end]
            usual, within = unusual[: end - row, :n_steps], above[: end - row, :n_steps]
            # NaN compares false, so a gap is never within.
            np.greater_equal(value, inside_from[row:end, None], out=usual)
            np.less_equal(value, inside_to[row:end, None], out=within)
            np.logical_and(usual, within, out=usual)
            np.logical_not(usual, out=usual)
            cells = np.flatnonzero(unusual[: end - row])
            cells += row * width
            found.append(cells)
        cell = found[0] if len(found) == 1 else np.concatenate(found)
        yield _unusual(grid, cell, width, from_series=part, to_series=part_end)


def _unusual(grid: Grid, cell: NDArray[np.intp], width: int, *, from_series: int, to_series: int) -> Unusual:
    series = cell // width
    breaks = np.flatnonzero(np.diff(cell) != 1)
    count = 1 if len(cell) else 0
    first = np.concatenate((np.zeros(count, dtype=np.intp), breaks + 1))
    last = np.concatenate((breaks, np.full(count, len(cell) - 1, dtype=np.intp)))
    return Unusual(
        from_series=from_series,
        to_series=to_series,
        series=series,
        step=cell - series * width,
        value=grid.value.reshape(-1)[cell - series],
        first=first,
        last=last,
    )
