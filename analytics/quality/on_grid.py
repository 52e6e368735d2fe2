"""All checks of many series on a grid: few dense passes, exact arithmetic where those leave a doubt. Pure."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from analytics.grid import Grid
from analytics.quality.blocks import BLOCK_CELLS, Block, buffers_for
from analytics.quality.board import Board, Cells
from analytics.quality.formulae import (
    Chain,
    Zeros,
    distances,
    dropouts,
    rate_size,
    run_starts,
    spike_size,
    still,
)
from analytics.quality.row_checks import Marks, RowChecks
from analytics.quality.vocabulary import Check, Checked, Flag, Flagged, Thresholds
from ingest.store.records import StatusCode

#: Flat cells that wait to be asked about their pool, so that memory stays bounded.
_MOST_FLAT = 65_536
_LEVELS = (Flag.SUSPECT, Flag.FAIL)


def grid_flags(
    grid: Grid,
    *,
    series: Sequence[Checked],
    status: NDArray[np.uint8] | None = None,
    now_ms: int | None = None,
    out: Flagged | None = None,
) -> Flagged:
    """All checks of all series of a grid; equal to `series_flags` of each row's readings.

    Parameters
    ----------
    grid : Grid
        A cell is a reading; NaN is a gap.
    series : sequence of Checked, one for each row
        Rows of one `pool` are each other's context: flow, whether another channel moved, neighbours of one quantity, and
        free chlorine for ORP.
    status : ndarray of uint8, shape (series, time), C order, or None
        `StatusCode` of each cell's reading; None: all normal. The code of a gap is not looked at.
    now_ms : int or None
        Readings later than this cannot be true. None: not asked.
    out : Flagged or None
        Arrays of the grid's shape, C order, to write into.

    Returns
    -------
    flagged : Flagged
        Flags and reasons, shape (series, time); MISSING for its gap in a cell without a reading.

    Raises
    ------
    ValueError
        If `series` or `status` does not fit the grid.
    """
    if len(series) != grid.n_series:
        raise ValueError(f"{len(series)} series for {grid.n_series} rows: give one `Checked` for each row")
    if status is not None and status.shape != grid.value.shape:
        raise ValueError(f"status has the shape {status.shape}, the grid {grid.value.shape}")
    if out is None:
        shape = grid.value.shape
        out = Flagged(np.empty(shape, dtype=np.uint8), np.empty(shape, dtype=np.uint16))
    out.flag.fill(Flag.GOOD)
    out.reason.fill(0)
    if out.flag.size:
        with np.errstate(invalid="ignore"):
            _Checking(Board(grid, series=series, status=status), out).run(now_ms)
    return out


class _Checking:
    """One grid being checked."""

    def __init__(self, board: Board, out: Flagged) -> None:
        self._board = board
        self._marks = Marks(out)
        self._flat: dict[tuple[int, Flag], list[Cells]] = {}
        self._n_flat = 0

    def run(self, now_ms: int | None) -> None:
        board = self._board
        groups: dict[Thresholds, list[int]] = {}
        for row, limit in enumerate(board.limits):
            groups.setdefault(limit, []).append(row)
        n_steps = board.grid.n_steps
        per_block = max(BLOCK_CELLS // n_steps, 1)
        buffers = buffers_for(per_block * n_steps, board.grid.value.dtype)
        for limit, members in groups.items():
            rows = np.array(members, dtype=np.int64)
            for first in range(0, len(rows), per_block):
                self._check_block(Block(board, rows[first : first + per_block], buffers), limit)
        self._settle()
        row_checks = RowChecks(board, self._marks)
        if now_ms is not None:
            row_checks.future(now_ms)
        for row, limit in enumerate(board.limits):
            row_checks.run(row, limit)

    def _check_block(self, block: Block, limit: Thresholds) -> None:
        outside, above = block.mask(), block.second_mask()
        dtype = block.value.dtype.type
        np.less(block.value, dtype(limit.low), out=outside)
        np.greater(block.value, dtype(limit.high), out=above)
        outside |= above
        self._marks.put(block.cells(np.flatnonzero(outside)), Flag.FAIL, Check.GROSS_RANGE)
        gone = block.cells(np.flatnonzero(block.absent))
        self._marks.flag[gone] = Flag.MISSING
        self._marks.reason[gone] = Check.GAP
        if limit.reconnect_ms is not None:
            again = block.cells(block.far_apart(limit.reconnect_ms))
            self._marks.put(again, Flag.SUSPECT, Check.RECONNECT)
        if self._board.status is not None:
            self._check_status(block, self._board.status)
        block.fill()
        self._check_steps(block, limit)
        self._check_flat(block, limit)
        if limit.above is not None:
            self._check_zeros(block, limit)

    def _check_status(self, block: Block, status: NDArray[np.uint8]) -> None:
        codes = block.rows_of(status)
        special_cells = block.mask()
        np.not_equal(codes, StatusCode.NORMAL, out=special_cells)
        special = np.flatnonzero(special_cells)
        special = special[~block.absent[special]]
        if len(special):
            said = special[codes[special] > StatusCode.LABORATORY]
            self._marks.put(block.cells(said), Flag.FAIL, Check.SENSOR_STATUS)
            block.leave_out(special)

    def _check_steps(self, block: Block, limit: Thresholds) -> None:
        """Spike and rate: both need one step above the smallest threshold."""
        lowest = min(limit.least_spike, limit.least_rate_step)
        if lowest == np.inf:
            return
        events = block.mask()
        np.greater(block.step, block.step.dtype.type(lowest), out=events)
        place = np.flatnonzero(events)
        before, known = block.before(place)
        place, before = place[known], before[known]
        if limit.least_rate_step != np.inf:
            self._check_rates(block, limit, place, before)
        if limit.least_spike != np.inf:
            near = block.second_mask()
            near[...] = False
            near[place] = True
            near[before] = True
            self._check_spikes(block, limit, np.flatnonzero(near))

    def _check_rates(self, block: Block, limit: Thresholds, place: Cells, before: Cells) -> None:
        distance_ms = block.key_ms(place) - block.key_ms(before)
        size = rate_size(
            block.value[place], before=block.value[before], distance_ms=distance_ms, over_ms=limit.over_ms
        )
        size[distance_ms > limit.reach_ms] = np.nan
        self._grade(block, place, size, limit.rate_per_min, Check.RATE_OF_CHANGE)

    def _check_spikes(self, block: Block, limit: Thresholds, place: Cells) -> None:
        before, has_before = block.before(place)
        after, has_after = block.after(place)
        inner = has_before & has_after
        place, before, after = place[inner], before[inner], after[inner]
        size = spike_size(block.value[place], before=block.value[before], after=block.value[after])
        over = size > limit.least_spike
        place, before, after, size = place[over], before[over], after[over], size[over]
        at = block.key_ms(place)
        size[at - block.key_ms(before) > limit.reach_ms] = np.nan
        size[block.key_ms(after) - at > limit.reach_ms] = np.nan
        self._grade(block, place, size, limit.spike, Check.SPIKE)

    def _grade(
        self,
        block: Block,
        place: Cells,
        size: NDArray[np.float64],
        bounds: tuple[float | None, float | None],
        check: Check,
    ) -> None:
        for bound, level in zip(bounds, _LEVELS, strict=True):
            if bound is not None:
                self._marks.put(block.cells(place[size > bound]), level, check)

    def _check_flat(self, block: Block, limit: Thresholds) -> None:
        spans = [span for span in limit.flat_ms if span is not None]
        if not spans:
            return
        step_ms = self._board.grid.step_ms
        min_cells = max(-(-(min(spans) + 1) // step_ms), 1)
        start, end = block.still_runs(
            tolerance=limit.tolerance, breaks=block.far_apart(limit.reach_ms), min_cells=min_cells
        )
        if not len(start):
            return
        length = end - start
        number = np.repeat(np.arange(len(start)), length)
        place = np.arange(int(length.sum())) + (start - np.cumsum(length) + length)[number]
        present = ~block.absent[place]
        place, number = place[present], number[present]
        if not len(place):
            return
        key_ms = block.key_ms(place)
        links = Chain(place, block.value[place], key_ms, distances(key_ms))
        begins = np.ones(len(place), dtype=np.bool_)
        begins[1:] = number[1:] != number[:-1]
        starts = run_starts(begins)
        for span_ms, level in zip(limit.flat_ms, _LEVELS, strict=True):
            if span_ms is not None:
                flat = still(links, starts=starts, span_ms=span_ms, tolerance=limit.tolerance)
                cells = block.cells(place[flat])
                if not limit.needs_life:
                    self._marks.put(cells, level, Check.FLAT_LINE)
                elif len(cells):
                    self._flat.setdefault((span_ms, level), []).append(cells)
                    self._n_flat += len(cells)
        if self._n_flat > _MOST_FLAT:
            self._settle()

    def _settle(self) -> None:
        """Mark the flat cells whose pool lived; all at once, for their number is small and each look-up costs."""
        for (span_ms, level), parts in self._flat.items():
            cells = np.sort(np.concatenate(parts), kind="stable")
            lives = self._board.alive(cells, span_ms=span_ms, unknown=True)
            self._marks.put(cells[lives], level, Check.FLAT_LINE)
        self._flat.clear()
        self._n_flat = 0

    def _check_zeros(self, block: Block, limit: Thresholds) -> None:
        zero, other = block.mask(), block.second_mask()
        floor = block.value.dtype.type(limit.floor)
        np.less_equal(block.value, floor, out=zero)
        np.greater_equal(block.value, -floor, out=other)
        zero &= other
        place = np.flatnonzero(zero)
        if not len(place):
            return
        begins = np.ones(len(place), dtype=np.bool_)
        begins[1:] = place[1:] - place[:-1] != 1
        begins |= place % block.n_steps == 0
        present = ~block.absent[place]
        place, begins = place[present], begins[present]
        first = np.flatnonzero(begins)
        at = block.key_ms(place)
        fell = np.zeros(len(place), dtype=np.bool_)
        before, known = block.before(place[first])
        fell[first] = known & (block.before_value(place[first]) > block.value.dtype.type(limit.above or 0.0))
        if limit.one_interval_ms is not None:
            fell[first] &= at[first] - block.key_ms(np.maximum(before, 0)) <= limit.one_interval_ms
        cells = block.cells(place)
        zeros = Zeros(at, begins, fell, distances(at) <= limit.reach_ms)
        found = dropouts(
            zeros,
            pinned_ms=limit.pinned_ms,
            stands=self._board.flows(cells, self._board.at_ms(cells))[1],
            alive=lambda chosen, span_ms: self._board.alive(cells[chosen], span_ms=span_ms, unknown=False),
        )
        self._marks.put(cells[found], Flag.FAIL, Check.ZERO_DROPOUT)
