"""Checks of single rows of a grid: those between calendar times, and those of two channels. Pure."""

import numpy as np
from numpy.typing import NDArray

from analytics.quality.board import Board, Cells
from analytics.quality.formulae import run_starts
from analytics.quality.vocabulary import SLACK, Check, Flag, Flagged, Thresholds
from gateway.contract.quantities import Quantity


class Marks:
    """Flags and reasons of a grid's cells while they are found; the worst flag stays."""

    def __init__(self, out: Flagged) -> None:
        self.flag = out.flag.reshape(-1)
        self.reason = out.reason.reshape(-1)

    def put(self, cells: Cells, level: Flag, check: Check) -> None:
        """A check found these cells."""
        self.flag[cells] = np.maximum(self.flag[cells], int(level))
        self.reason[cells] |= int(check)


class RowChecks:
    """Time, calibration, neighbour, ORP and chlorine; the cells' gaps are marked already."""

    def __init__(self, board: Board, marks: Marks) -> None:
        self._board = board
        self._marks = marks

    def future(self, now_ms: int) -> None:
        """Readings of all rows that are later than now."""
        grid = self._board.grid
        first = max((now_ms + 1 - grid.start_ms) // grid.step_ms, 0)
        if first >= grid.n_steps:
            return
        flag = self._marks.flag.reshape(grid.value.shape)[:, first:]
        reason = self._marks.reason.reshape(grid.value.shape)[:, first:]
        later = flag != Flag.MISSING
        # Only in the first of these steps can a reading be of the past.
        later[:, 0] &= (
            grid.start_ms + first * grid.step_ms + grid.offset_ms[:, first].astype(np.int64) > now_ms
        )
        np.maximum(flag, np.uint8(Flag.FAIL), out=flag, where=later)
        reason |= later * np.uint16(Check.TIME)

    def run(self, row: int, limit: Thresholds) -> None:
        """All others of a row."""
        one, grid = self._board.series[row], self._board.grid
        if one.begin_ms is not None and one.begin_ms > grid.start_ms:
            self._mark_between(row, grid.start_ms, one.begin_ms, Flag.FAIL, Check.TIME)
        if limit.overdue_ms is not None:
            until = [*one.calibrated_at_ms[1:], grid.end_ms]
            for since_ms, until_ms in zip(one.calibrated_at_ms, until, strict=False):
                due_ms = since_ms + limit.overdue_ms + 1
                if due_ms < min(until_ms, grid.end_ms):
                    self._mark_between(row, due_ms, until_ms, Flag.SUSPECT, Check.CALIBRATION)
        if limit.neighbour is not None:
            for other in self._board.others(row, one.quantity):
                self._check_neighbour(row, other, limit.neighbour)
        if limit.orp_low_mv is not None and limit.orp_free_chlorine_mg_l is not None:
            rows = self._board.others(row, Quantity.FREE_CHLORINE_MG_L)
            if rows:
                low = np.flatnonzero(grid.value[row] < grid.value.dtype.type(limit.orp_low_mv))
                self._check_orp(row, low, rows, limit.orp_free_chlorine_mg_l)

    def _mark_between(self, row: int, from_ms: int, until_ms: int, level: Flag, check: Check) -> None:
        """Mark the readings of a row with from <= measured_at < until."""
        grid = self._board.grid
        first = max((from_ms - grid.start_ms) // grid.step_ms, 0)
        after = min(-((grid.start_ms - until_ms) // grid.step_ms), grid.n_steps)
        if first >= after:
            return
        cells = slice(row * grid.n_steps + first, row * grid.n_steps + after)
        chosen = self._marks.flag[cells] != Flag.MISSING
        # Only in the first and the last step can a reading lie outside.
        for column in (first, after - 1):
            at_ms = grid.start_ms + column * grid.step_ms + int(grid.offset_ms[row, column])
            chosen[column - first] &= from_ms <= at_ms < until_ms
        np.maximum(self._marks.flag[cells], np.uint8(level), out=self._marks.flag[cells], where=chosen)
        self._marks.reason[cells] |= chosen * np.uint16(check)

    def _check_neighbour(self, row: int, other: int, bound: float) -> None:
        board, grid = self._board, self._board.grid
        filled = _filled(board, other)
        apart = np.abs(grid.value[row] - filled) > bound * SLACK
        # The newest of the other one may stand a step earlier when it was measured later within the step.
        apart[1:] |= np.abs(grid.value[row, 1:] - filled[:-1]) > bound * SLACK
        columns = np.flatnonzero(apart)
        cells = row * grid.n_steps + columns
        usable = board.usable(cells)
        columns, cells = columns[usable], cells[usable]
        newest = board.newest(np.full(len(cells), other), cells=cells, at_ms=board.row_at_ms(row, columns))
        size = np.abs(np.subtract(board.value[cells], newest, dtype=np.float64))
        self._marks.put(cells[size > bound], Flag.SUSPECT, Check.NEIGHBOUR)

    def _check_orp(self, row: int, columns: Cells, chlorine: list[int], bound: float) -> None:
        board = self._board
        cells = row * board.grid.n_steps + columns
        usable = board.usable(cells)
        columns, cells = columns[usable], cells[usable]
        at_ms = board.row_at_ms(row, columns)
        for other in chlorine:
            newest = board.newest(np.full(len(cells), other), cells=cells, at_ms=at_ms)
            self._marks.put(cells[newest > bound], Flag.SUSPECT, Check.ORP_CHLORINE)


def _filled(board: Board, row: int) -> NDArray[np.floating]:
    """A row with each cell that is not usable filled with the usable one before it; NaN before the first."""
    usable = np.zeros(board.grid.n_steps, dtype=np.bool_)
    usable[board.usable_columns(row)] = True
    source = run_starts(usable)
    filled: NDArray[np.floating] = board.grid.value[row, source]
    filled[~usable[source]] = np.nan
    return filled
