"""From flags to intervals and counts: what each check found, when, and how many readings. Pure."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analytics.grid import Grid
from analytics.quality.vocabulary import Check, Flagged
from analytics.spans import Instants


@dataclass(frozen=True, slots=True)
class FlagIntervals:
    """One row for each interval, by series, then check, then time; columns of shape (n,).

    Attributes
    ----------
    series : ndarray of int64
        Row of the grid.
    check : ndarray of uint16
        One bit of `Check`.
    flag : ndarray of uint8
        Worst flag of the readings in it, by whatever check.
    start_ms, end_ms : ndarray of int64
        Times of the first and the last reading [ms]; of a gap the start of its first step and the end of its last.
    count : ndarray of int64
        Readings in it; of a gap steps.
    """

    series: NDArray[np.int64]
    check: NDArray[np.uint16]
    flag: NDArray[np.uint8]
    start_ms: Instants
    end_ms: Instants
    count: NDArray[np.int64]


def flag_intervals(flagged: Flagged, grid: Grid) -> FlagIntervals:
    """Maximal runs of cells that a check found; readings it did not find end a run, gaps do not.

    Parameters
    ----------
    flagged : Flagged
        Of `grid_flags`, shape (series, time).
    grid : Grid
        The same grid.
    """
    reason, flag = flagged.reason.reshape(-1), flagged.flag.reshape(-1)
    noted = np.flatnonzero(reason)
    why = reason[noted]
    parts = []
    for check in Check:
        cells = noted[(why & check) != 0]
        if len(cells):
            parts.append(_runs(cells, noted, why, flag, check, grid))
    if not parts:
        none = np.empty(0, dtype=np.int64)
        return FlagIntervals(none, none.astype(np.uint16), none.astype(np.uint8), none, none, none)
    series, checks, flags, start_ms, end_ms, count = (
        np.concatenate(part) for part in zip(*parts, strict=True)
    )
    order = np.lexsort((start_ms, checks, series))
    return FlagIntervals(
        series[order], checks[order], flags[order], start_ms[order], end_ms[order], count[order]
    )


def _runs(
    cells: NDArray[np.int64],
    noted: NDArray[np.int64],
    why: NDArray[np.uint16],
    flag: NDArray[np.uint8],
    check: Check,
    grid: Grid,
) -> tuple[NDArray[np.int64], NDArray[np.uint16], NDArray[np.uint8], Instants, Instants, NDArray[np.int64]]:
    row = cells // grid.n_steps
    apart = cells[1:] - cells[:-1] - 1
    if check != Check.GAP:
        # Cells between two found ones that are gaps: how many gap cells lie before each.
        missing = noted[(why & Check.GAP) != 0]
        before = np.searchsorted(missing, cells)
        apart -= before[1:] - before[:-1]
    first = np.concatenate(([0], np.flatnonzero((apart > 0) | (row[1:] != row[:-1])) + 1))
    last = np.append(first[1:], len(cells)) - 1
    start, end = cells[first], cells[last]
    start_ms = grid.measured_at_ms(row[first], start - row[first] * grid.n_steps)
    end_ms = grid.measured_at_ms(row[last], end - row[last] * grid.n_steps)
    if check == Check.GAP:
        end_ms += grid.step_ms
    worst = np.maximum.reduceat(flag[cells], first)
    kind = np.full(len(first), check, dtype=np.uint16)
    return row[first], kind, worst, start_ms, end_ms, last - first + 1
