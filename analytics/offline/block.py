"""One block of pools on a grid: flags, exceedances, silence. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from analytics.exceedance import ExceedanceColumns, LimitTable, Rules
from analytics.grid import Grid
from analytics.grid_judge import GridRules, judge_grid
from analytics.offline.doubts import doubtful_cells, in_doubt
from analytics.offline.groups import Groups, bound_of, groups_of
from analytics.offline.plan import Plan
from analytics.offline.registered import QUANTITIES, RegisteredSeries
from analytics.probe_quality import checked_probe
from analytics.quality import Flag, Flagged
from analytics.quality.intervals import FlagIntervals, flag_intervals
from analytics.quality.on_grid import grid_flags
from analytics.ragged import RaggedSpans
from analytics.silence import LapseColumns
from analytics.spans import Spans, complement
from analytics.standards.profile import LimitEnd
from gateway.contract.registry import Pool

Positions = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Block:
    """Pools [from, to) with the grid of their series; `statuses` are (series of the grid, time, code)."""

    pool_from: int
    pool_to: int
    grid: Grid
    statuses: tuple[NDArray[np.intp], NDArray[np.int64], NDArray[np.uint8]] | None = None


@dataclass(frozen=True, slots=True)
class JudgedBlock:
    """What a block showed. Series and pools count within the block.

    Attributes
    ----------
    begin_ms : ndarray of int64, shape (pools,)
        When each pool's duties begin: as registered, else its first reading; FAR_MS: it has none. [ms]
    limit_ends : list of LimitEnd
        Of each row of the limit table.
    found : ExceedanceColumns
    in_doubt : ndarray of bool, shape of `found`
        Exceedances of chlorine that the pool's pH makes doubtful.
    lapses : LapseColumns
        By group: no good reading was young enough, whether that is a duty or not.
    bound : RaggedSpans
        By group: when online monitoring can be asked for.
    suspect_group, suspect : ndarray, shapes (n,), (n, 2)
        What readings cover that are not to be believed, or doubtful by the pool's pH.
    intervals : FlagIntervals
    flag_counts : ndarray of int64, shape (series, 10)
        Cells by flag, of what is judged; so are the `intervals`.
    """

    block: Block
    groups: Groups
    begin_ms: NDArray[np.int64]
    limit_ends: list[LimitEnd]
    found: ExceedanceColumns
    in_doubt: NDArray[np.bool_]
    lapses: LapseColumns
    bound: RaggedSpans
    suspect_group: Positions
    suspect: Spans
    intervals: FlagIntervals
    flag_counts: NDArray[np.int64]
    flagged: Flagged


def judge_block(
    block: Block,
    *,
    plan: Plan,
    opening: RaggedSpans,
    first_ms_of_pool: NDArray[np.int64],
    from_ms: int,
    to_ms: int,
) -> JudgedBlock:
    """Judge the probes of a block within [from, to); its grid is changed: only good readings are left in it.

    Parameters
    ----------
    block : Block
    plan : Plan
    opening : RaggedSpans
        By pool of the block.
    first_ms_of_pool : ndarray of int64, shape (pools of the block,)
        The first sample of each pool by people; FAR_MS for none. [ms]
    from_ms, to_ms : int
        What is judged; it is judged as known at `to_ms`. [ms]
    """
    grid, book = block.grid, plan.book
    first = int(book.first[block.pool_from])
    series = book.series[first : int(book.first[block.pool_to])]
    pool_of = book.pool_of[first : int(book.first[block.pool_to])] - block.pool_from
    groups = groups_of(pool_of, book.quantity_of[first : int(book.first[block.pool_to])])
    pools = book.pools[block.pool_from : block.pool_to]
    begin_ms = _begins(pools, grid, pool_of, first_ms_of_pool)

    # A reading from a time at which its sensor was not registered is nobody's neighbour either.
    _leave_out_unregistered(grid, series)
    flagged = _flags(block, series, plan, to_ms=to_ms)
    told = judged_cells(grid, from_ms=from_ms, to_ms=to_ms)
    part = Flagged(flagged.flag[:, told], flagged.reason[:, told])
    age_ms = _ages(groups, block, plan)
    disbelieved = np.flatnonzero((flagged.flag == Flag.SUSPECT) | (flagged.flag == Flag.FAIL))
    suspect = _covered(grid, disbelieved, groups, age_ms)
    within = Grid(
        grid.start_ms + told.start * grid.step_ms, grid.step_ms, grid.value[:, told], grid.offset_ms[:, told]
    )
    intervals = flag_intervals(part, within)
    np.copyto(grid.value, np.nan, where=flagged.flag != Flag.GOOD)
    doubtful = doubtful_cells(grid, series, [plan.whole_rules[one.pool] for one in series])
    doubted = _covered(grid, doubtful, groups, age_ms)

    ends, limits = _limit_table(series, plan)
    profile = plan.profiles[block.pool_from]
    confirmation = profile.confirmation(QUANTITIES[0])
    bound = bound_of(groups, series, begin_ms=begin_ms, duty_of=plan.monitoring)
    rules = GridRules(
        limits=limits,
        confirmation=Rules(
            confirm_ms=confirmation.confirm_ms,
            clear_ms=confirmation.clear_ms,
            gap_ms=np.array([plan.gap_ms(one) for one in series], dtype=np.int64),
            opening=opening,
            pool_of=pool_of,
            begin_ms=np.maximum(begin_ms, from_ms),
        ),
        group=groups.of_series,
        age_ms=age_ms,
        bound=bound,
        pool_of_group=groups.pool,
    )
    verdicts = judge_grid(grid, rules, now_ms=to_ms)
    return JudgedBlock(
        block=block,
        groups=groups,
        begin_ms=begin_ms,
        limit_ends=ends,
        found=verdicts.exceedances,
        in_doubt=in_doubt(grid, doubtful, verdicts.exceedances),
        lapses=_within(verdicts.lapses, from_ms=from_ms, to_ms=to_ms),
        bound=bound,
        suspect_group=np.concatenate((suspect[0], doubted[0])),
        suspect=np.concatenate((suspect[1], doubted[1])),
        intervals=intervals,
        flag_counts=_flag_counts(part.flag),
        flagged=flagged,
    )


def judged_cells(grid: Grid, *, from_ms: int, to_ms: int) -> slice:
    """Steps of a grid that have a part in [from, to); those before only tell how things stood."""
    first = max((from_ms - grid.start_ms) // grid.step_ms, 0)
    return slice(first, max(-(-(min(to_ms, grid.end_ms) - grid.start_ms) // grid.step_ms), first))


def _begins(
    pools: Sequence[Pool], grid: Grid, pool_of: Positions, first_ms_of_pool: NDArray[np.int64]
) -> NDArray[np.int64]:
    begin_ms = first_ms_of_pool.copy()
    if grid.n_steps:
        there = np.empty(grid.n_steps, dtype=np.bool_)
        for row, pool in enumerate(pool_of.tolist()):
            np.isnan(grid.value[row], out=there)
            np.logical_not(there, out=there)
            step = int(there.argmax())
            if there[step]:
                at_ms = grid.start_ms + step * grid.step_ms + int(grid.offset_ms[row, step])
                begin_ms[pool] = min(begin_ms[pool], at_ms)
    registered = [pool.from_ms for pool in pools]
    return np.array(
        [int(seen) if known is None else known for seen, known in zip(begin_ms, registered, strict=True)],
        dtype=np.int64,
    )


def _flags(block: Block, series: Sequence[RegisteredSeries], plan: Plan, *, to_ms: int) -> Flagged:
    """Quality of each cell."""
    grid, status = block.grid, None
    if block.statuses is not None and len(block.statuses[0]):
        row, at_ms, code = block.statuses
        step, offset = np.divmod(at_ms - grid.start_ms, grid.step_ms)
        # A reading that gave way to a newer one of its step is not in the grid.
        there = (step >= 0) & (step < grid.n_steps)
        there[there] &= grid.offset_ms[row[there], step[there]] == offset[there]
        status = np.zeros(grid.value.shape, dtype=np.uint8)
        status[row[there], step[there]] = code[there]
    checked = [
        replace(
            checked_probe(
                plan.book.pools[one.pool], plan.profiles[one.pool], one.entries, QUANTITIES[one.quantity]
            ),
            pool=one.pool,
        )
        for one in series
    ]
    return grid_flags(grid, series=checked, status=status, now_ms=to_ms)


def _flag_counts(flag: NDArray[np.uint8]) -> NDArray[np.int64]:
    return np.stack([np.bincount(row, minlength=10) for row in flag]) if len(flag) else np.zeros((0, 10), int)


def _ages(groups: Groups, block: Block, plan: Plan) -> NDArray[np.int64]:
    """How old a reading may be: as the duty of monitoring says, else as an online value in force."""
    ages = []
    for pool, quantity in zip(
        (groups.pool + block.pool_from).tolist(), groups.quantity.tolist(), strict=True
    ):
        duty = plan.monitoring(pool, quantity)
        ages.append(
            plan.whole_rules[pool].online_age_ms(QUANTITIES[quantity]) if duty is None else duty.age_ms
        )
    return np.array(ages, dtype=np.int64)


def _covered(
    grid: Grid, cells: Positions, groups: Groups, age_ms: NDArray[np.int64]
) -> tuple[Positions, Spans]:
    """Group and span that readings cover: until the next reading of their series, at most their allowed age."""
    row, step = np.divmod(cells, max(grid.n_steps, 1))
    group = groups.of_series[row]
    start_ms = grid.measured_at_ms(row, step)
    end_ms = start_ms + age_ms[group]
    waiting = np.arange(len(cells))
    next_step = step.copy()
    while len(waiting):
        next_step[waiting] += 1
        waiting = waiting[next_step[waiting] < grid.n_steps]
        waiting = waiting[grid.start_ms + next_step[waiting] * grid.step_ms < end_ms[waiting]]
        there = ~np.isnan(grid.value[row[waiting], next_step[waiting]])
        found = waiting[there]
        end_ms[found] = np.minimum(end_ms[found], grid.measured_at_ms(row[found], next_step[found]))
        waiting = waiting[~there]
    return group, np.column_stack((start_ms, end_ms))


def _leave_out_unregistered(grid: Grid, series: Sequence[RegisteredSeries]) -> None:
    """Readings from a time at which their sensor was not registered say nothing."""
    for row, one in enumerate(series):
        for start_ms, end_ms in complement(one.spans, from_ms=grid.start_ms, to_ms=grid.end_ms).tolist():
            first, last = (
                (start_ms - grid.start_ms) // grid.step_ms,
                (end_ms - 1 - grid.start_ms) // grid.step_ms,
            )
            at_ms = grid.measured_at_ms(np.array([row]), np.arange(first, last + 1))
            grid.value[row, first : last + 1][(at_ms >= start_ms) & (at_ms < end_ms)] = np.nan


def _limit_table(series: Sequence[RegisteredSeries], plan: Plan) -> tuple[list[LimitEnd], LimitTable]:
    rows = []
    for row, one in enumerate(series):
        quantity = QUANTITIES[one.quantity]
        hysteresis = plan.profiles[one.pool].confirmation(quantity).hysteresis
        # Between two entries of a sensor there are no readings to judge.
        from_ms, until_ms = int(one.spans[0, 0]), int(one.spans[-1, 1])
        rows += [(row, end, hysteresis, from_ms, until_ms) for end in plan.rules[one.pool].ends(quantity)]
    return [row[1] for row in rows], LimitTable.of(rows)


def _within(lapses: LapseColumns, *, from_ms: int, to_ms: int) -> LapseColumns:
    """What of them lies in a span; an open one stays open."""
    some = (lapses.end_ms > from_ms) & (lapses.start_ms < to_ms)
    return LapseColumns(lapses.group[some], np.maximum(lapses.start_ms[some], from_ms), lapses.end_ms[some])
