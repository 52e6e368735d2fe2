"""The dense pass over the grid: which cells are not well inside every limit, or are gaps. Pure.

Everything after this works on those few cells only, whatever the number of readings stored.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analytics.grid import Grid

Positions = NDArray[np.intp]

#: Cells of whole series whose few unusual ones are worked on together.
CELLS_AT_ONCE = 4_000_000
#: Cells of a tile: values, two masks and what is written of them stay in a core's second-level cache.
_TILE_CELLS = 65_536


@dataclass(frozen=True, slots=True)
class Unusual:
    """Cells that a screen lets through, by series and step, and their stretches without a usual cell between.

    Attributes
    ----------
    from_series, to_series : int
        The run of series that was screened: [from, to).
    cell : ndarray of intp, shape (n,)
        Ascending; `place` says where it lies. Cells side by side differ by one, and those of two
        series by more.
    value : ndarray of the grid's dtype, shape (n,)
        NaN for gaps.
    gap : ndarray of intp, shape (gaps,)
        Positions of the gaps in the arrays above.
    first, last : ndarray of intp, shape (blocks,)
        Positions of each block's first and last cell; a block never leaves its series.
    """

    from_series: int
    to_series: int
    cell: Positions
    value: NDArray[np.floating]
    gap: Positions
    first: Positions
    last: Positions
    n_steps: int

    def place(self, position: Positions) -> tuple[Positions, Positions]:
        """Series and step of the cells at positions."""
        cell = self.cell[position]
        series = cell // (self.n_steps + 1)
        return series, cell - series * (self.n_steps + 1)


def screen(
    grid: Grid,
    *,
    inside_from: NDArray[np.floating],
    inside_to: NDArray[np.floating],
    cells_at_once: int = CELLS_AT_ONCE,
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
    if not n_steps:
        none = np.empty(0, dtype=np.intp)
        yield Unusual(0, n_series, none, np.empty(0, dtype=grid.value.dtype), none, none, none, 0)
        return
    rows_of_part = max(cells_at_once // n_steps, 1)
    rows_of_tile = max(_TILE_CELLS // n_steps, 1)
    # A column more that is never unusual keeps the stretches of neighbouring series apart.
    width = n_steps + 1
    has_low = inside_from > -np.inf
    within = np.zeros((rows_of_tile, width), dtype=np.bool_)
    unusual = np.zeros((rows_of_tile, width), dtype=np.bool_)
    for part in range(0, n_series, rows_of_part):
        part_end = min(part + rows_of_part, n_series)
        cells, values = [], []
        for row in range(part, part_end, rows_of_tile):
            end = min(row + rows_of_tile, part_end)
            value = grid.value[row:end]
            usual, above = unusual[: end - row, :n_steps], within[: end - row, :n_steps]
            # NaN compares false, so a gap is never within. Many quantities have an upper end only.
            np.less_equal(value, inside_to[row:end, None], out=usual)
            if has_low[row:end].any():
                np.greater_equal(value, inside_from[row:end, None], out=above)
                np.logical_and(usual, above, out=usual)
            np.logical_not(usual, out=usual)
            cell = np.flatnonzero(unusual[: end - row])
            # While the tile is in the cache. In the grid itself each series has one column less.
            values.append(value.reshape(-1)[cell - cell // width if rows_of_tile > 1 else cell])
            cell += row * width
            cells.append(cell)
        cell = np.concatenate(cells)
        found = np.concatenate(values)
        first, last = stretches(cell)
        yield Unusual(
            from_series=part,
            to_series=part_end,
            cell=cell,
            value=found,
            gap=np.flatnonzero(np.isnan(found)),
            first=first,
            last=last,
            n_steps=n_steps,
        )


def stretches(cell: Positions) -> tuple[Positions, Positions]:
    """Positions of the first and the last of each stretch of ascending numbers that differ by one."""
    if not len(cell):
        return cell, cell
    breaks = np.flatnonzero(cell[1:] - cell[:-1] != 1)
    first = np.empty(len(breaks) + 1, dtype=np.intp)
    last = np.empty(len(breaks) + 1, dtype=np.intp)
    first[0], last[-1] = 0, len(cell) - 1
    np.add(breaks, 1, out=first[1:])
    last[:-1] = breaks
    return first, last
