"""From readings to grids of blocks of pools: all at once where they fit, else part by part from rows put aside."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from analytics.grid import Grid, empty_grid, scatter
from analytics.offline.block import Block
from analytics.offline.errors import OfflineError
from analytics.offline.plan import SHORTEST_STEP_MS, Plan, Run
from analytics.offline.refusals import Refusals
from analytics.offline.registered import QUANTITIES
from analytics.offline.rows import Problem
from analytics.offline.spill import Records, Spill
from analytics.offline.tables import chosen, instants, numbers

#: A value of float32 and its offset.
CELL_BYTES = 6
#: So many cells are judged at once: it bounds what their flags and findings need.
_CELLS_AT_ONCE = 8_000_000

Statuses = tuple[NDArray[np.intp], NDArray[np.int64], NDArray[np.uint8]]


@dataclass(frozen=True, slots=True)
class Span:
    """What the grids cover: [start, end), some time before what is judged included. [ms]"""

    start_ms: int
    end_ms: int

    def cells(self, n_series: int, step_ms: int) -> int:
        """Cells of so many series."""
        return n_series * (-(-(self.end_ms - self.start_ms) // step_ms) + 1)


def cells_of(plan: Plan, runs: list[Run], span: Span) -> int:
    """Cells of the grids of all runs."""
    first = plan.book.first
    return sum(span.cells(int(first[run.pool_to] - first[run.pool_from]), run.step_ms) for run in runs)


class GridSink:
    """Puts readings into the grids of all pools, one grid a run."""

    def __init__(self, plan: Plan, runs: list[Run], span: Span) -> None:
        first = plan.book.first
        self._runs, self._span = runs, span
        self._first = [int(first[run.pool_from]) for run in runs]
        n_series = [int(first[run.pool_to] - first[run.pool_from]) for run in runs]
        self._n_series = n_series
        self._run_of = np.repeat(np.arange(len(runs), dtype=np.int32), n_series)
        self._shared = [np.zeros(n, dtype=np.bool_) for n in n_series]

    @cached_property
    def grids(self) -> list[Grid]:
        """One a run; made when the first rows are there, so that the next ones are decoded meanwhile."""
        return [
            empty_grid(
                n_series=n, start_ms=self._span.start_ms, end_ms=self._span.end_ms, step_ms=run.step_ms
            )
            for run, n in zip(self._runs, self._n_series, strict=True)
        ]

    @property
    def wants_numbers(self) -> bool:
        """A grid has no place for them."""
        return False

    def add(
        self,
        *,
        series: NDArray[np.integer],
        at_ms: NDArray[np.int64],
        number: NDArray[np.int64] | None,  # noqa: ARG002 - of the protocol
        value: NDArray[np.floating],
    ) -> None:
        """Put rows into their grids."""
        if len(self.grids) == 1:
            scatter(self.grids[0], series=series, measured_at_ms=at_ms, value=value, shared=self._shared[0])
            return
        run = self._run_of[series]
        for index in np.unique(run).tolist():
            rows = run == index
            scatter(
                self.grids[index],
                series=series[rows] - self._first[index],
                measured_at_ms=at_ms[rows],
                value=value[rows],
                shared=self._shared[index],
            )

    def blocks(self, plan: Plan, statuses: Statuses, crowded: list[int]) -> Iterator[Block]:
        """Blocks of pools whose every reading is in its grid; `crowded` gets the others."""
        for run, grid, shared in zip(self._runs, self.grids, self._shared, strict=True):
            yield from _blocks(plan, run, grid, shared, statuses, crowded)


def _blocks(
    plan: Plan,
    run: Run,
    grid: Grid,
    shared: NDArray[np.bool_],
    statuses: Statuses,
    crowded: list[int],
) -> Iterator[Block]:
    first = plan.book.first
    base = int(first[run.pool_from])
    is_crowded = np.zeros(run.pool_to - run.pool_from, dtype=np.bool_)
    is_crowded[plan.book.pool_of[base : int(first[run.pool_to])][shared] - run.pool_from] = True
    crowded += (np.flatnonzero(is_crowded) + run.pool_from).tolist()
    pool = run.pool_from
    while pool < run.pool_to:
        if is_crowded[pool - run.pool_from]:
            pool += 1
            continue
        start, cells = pool, 0
        while pool < run.pool_to and not is_crowded[pool - run.pool_from]:
            cells += int(first[pool + 1] - first[pool]) * grid.n_steps
            if cells > _CELLS_AT_ONCE and pool > start:
                break
            pool += 1
        rows = slice(int(first[start]) - base, int(first[pool]) - base)
        part = Grid(grid.start_ms, grid.step_ms, grid.value[rows], grid.offset_ms[rows])
        yield Block(start, pool, part, _statuses_of(statuses, int(first[start]), int(first[pool])))


def _statuses_of(statuses: Statuses, series_from: int, series_to: int) -> Statuses | None:
    low, high = np.searchsorted(statuses[0], (series_from, series_to))
    if low == high:
        return None
    return statuses[0][low:high] - series_from, statuses[1][low:high], statuses[2][low:high]


def spilled_blocks(
    spill: Spill,
    *,
    plan: Plan,
    span: Span,
    statuses: Statuses,
    refusals: Refusals,
    budget_bytes: int,
    pools: NDArray[np.bool_] | None = None,
) -> Iterator[Block]:
    """Blocks of pools from rows put aside, each reading in a cell of its own.

    A pool whose sensors measured more than once a step gets a grid of a finer step. What no grid can hold apart, a
    second reading of one time or of one second, is refused by its row's number.

    Parameters
    ----------
    spill : Spill
    plan : Plan
    span : Span
    statuses : tuple of arrays
        Series, times and codes of readings that are not normal, ascending by series.
    refusals : Refusals
    budget_bytes : int
        What the grid of one block may need; more than that for one pool is an error.
    pools : ndarray of bool, shape (pools,), or None
        Those that have rows in the spill; None: all.

    Raises
    ------
    OfflineError
        If the grid of one pool alone is too large.
    """
    first = plan.book.first
    for part in range(spill.n_parts):
        low, high = spill.bounds[part], spill.bounds[part + 1]
        if pools is not None and not pools[low:high].any():
            continue
        records = spill.rows(part)
        if pools is not None:
            records = _by_series(records)
        for run in _runs_within(plan, low, high, span, budget_bytes, pools):
            series_from, series_to = int(first[run.pool_from]), int(first[run.pool_to])
            rows = _of_series(records, series_from, series_to, is_sorted=pools is not None)
            if pools is None:
                crowded: list[int] = []
                shared = np.zeros(series_to - series_from, dtype=np.bool_)
                grid = _filled(plan, run, rows, span, shared)
                yield from _blocks(plan, run, grid, shared, statuses, crowded)
            else:
                crowded = list(range(run.pool_from, run.pool_to))
            if crowded and pools is None:
                rows = _by_series(rows)
            for pool in crowded:
                of_pool = _of_series(rows, int(first[pool]), int(first[pool + 1]), is_sorted=True)
                yield _fine_block(plan, pool, of_pool, span, statuses, refusals, budget_bytes)


def _by_series(rows: Records) -> Records:
    found: Records = rows[np.argsort(rows["series"], kind="stable")]
    return found


def _of_series(rows: Records, low: int, high: int, *, is_sorted: bool) -> Records:
    """Rows of the series [low, high)."""
    series = np.ascontiguousarray(rows["series"])
    found: Records
    if is_sorted:
        first, after = np.searchsorted(series, (low, high))
        found = rows[first:after]
    else:
        found = rows[(series >= low) & (series < high)]
    return found


def _runs_within(
    plan: Plan, low: int, high: int, span: Span, budget_bytes: int, pools: NDArray[np.bool_] | None
) -> Iterator[Run]:
    """Runs of a part, cut so that each one's grid keeps within the budget; those of `pools` alone, if given."""
    first = plan.book.first
    for run in plan.runs():
        pool = max(run.pool_from, low)
        end = min(run.pool_to, high)
        while pool < end:
            start, cells = pool, 0
            while pool < end:
                cells += span.cells(int(first[pool + 1] - first[pool]), run.step_ms)
                if pool > start and (cells * CELL_BYTES > budget_bytes or pools is not None):
                    break
                pool += 1
            if pools is None:
                _check_budget(plan, start, cells if pool == start + 1 else 0, budget_bytes)
            if pools is None or pools[start]:
                yield Run(start, pool, run.step_ms)


def _check_budget(plan: Plan, pool: int, cells: int, budget_bytes: int) -> None:
    if cells * CELL_BYTES > budget_bytes:
        raise OfflineError(
            f"pool {plan.book.pools[pool].pool_id}: its readings lie so far apart, or so close together, that a grid "
            f"needs {cells * CELL_BYTES / 2**20:.0f} MiB; judge a shorter time with --from and --to"
        )


def _filled(plan: Plan, run: Run, rows: Records, span: Span, shared: NDArray[np.bool_] | None = None) -> Grid:
    first = plan.book.first
    grid = empty_grid(
        n_series=int(first[run.pool_to] - first[run.pool_from]),
        start_ms=span.start_ms,
        end_ms=span.end_ms,
        step_ms=run.step_ms,
        dtype=np.float64 if rows.dtype["value"].itemsize > 4 else np.float32,  # noqa: PLR2004 - bytes of float32
    )
    scatter(
        grid,
        series=rows["series"] - first[run.pool_from],
        measured_at_ms=np.ascontiguousarray(rows["at_ms"]),
        value=np.ascontiguousarray(rows["value"]),
        shared=shared,
    )
    return grid


def _fine_block(
    plan: Plan,
    pool: int,
    rows: Records,
    span: Span,
    statuses: Statuses,
    refusals: Refusals,
    budget_bytes: int,
) -> Block:
    """One pool on a grid whose step is no longer than the smallest distance of two readings of its sensors."""
    rows = rows[np.lexsort((rows["number"], rows["at_ms"], rows["series"]))]
    rows = _without(rows, _same(rows, 1), plan, refusals, Problem.SAME_TIME)
    near = np.diff(rows["at_ms"])[np.diff(rows["series"]) == 0]
    smallest = int(near.min()) if len(near) else plan.step_ms(pool)
    step_ms = min(max(smallest // SHORTEST_STEP_MS * SHORTEST_STEP_MS, SHORTEST_STEP_MS), plan.step_ms(pool))
    if smallest < step_ms:
        rows = _without(rows, _same(rows, step_ms), plan, refusals, Problem.SAME_SECOND)
    first = plan.book.first
    _check_budget(plan, pool, span.cells(int(first[pool + 1] - first[pool]), step_ms), budget_bytes)
    grid = _filled(plan, Run(pool, pool + 1, step_ms), rows, span)
    return Block(pool, pool + 1, grid, _statuses_of(statuses, int(first[pool]), int(first[pool + 1])))


def _same(rows: Records, step_ms: int) -> NDArray[np.bool_]:
    """Rows, sorted by series and time, that share their step with the next one."""
    step = rows["at_ms"] // step_ms
    same = np.zeros(len(rows), dtype=np.bool_)
    same[:-1] = (np.diff(step) == 0) & (np.diff(rows["series"]) == 0)
    return same


def _without(
    rows: Records, refused: NDArray[np.bool_], plan: Plan, refusals: Refusals, problem: Problem
) -> Records:
    faulty = rows[refused]
    if len(faulty):
        series, book = faulty["series"].astype(np.intp), plan.book
        texts = {
            "pool_id": chosen([book.pools[one.pool].pool_id for one in book.series], series),
            "sensor_id": chosen([one.sensor.sensor_id for one in book.series], series),
            "quantity": chosen([QUANTITIES[one.quantity].value for one in book.series], series),
            "measured_at": instants(faulty["at_ms"]),
            "value": numbers(faulty["value"]),
        }
        refusals.refuse_rows(
            np.ascontiguousarray(faulty["number"]), np.full(len(faulty), problem, dtype=np.uint8), texts
        )
    kept: Records = rows[~refused]
    return kept
