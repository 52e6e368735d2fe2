"""One pass over a grid → exceedances and lapses of online monitoring of all its series. Pure."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from analytics.exceedance import ExceedanceColumns, LimitTable, Rules, exceedances_among
from analytics.grid import Grid
from analytics.ragged import RaggedSpans
from analytics.screening import CELLS_AT_ONCE, screen
from analytics.silence import LapseColumns, SilentSpans, lapses_of, silent_among

Positions = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class GridRules:
    """By what a grid is judged.

    Attributes
    ----------
    limits : LimitTable
    confirmation : Rules
        How exceedances are confirmed; opening hours by pool.
    group : ndarray of intp, shape (series,)
        The (pool, quantity) that a series monitors; ascending.
    age_ms : ndarray of int64, shape (groups,)
        Allowed age of a reading. [ms]
    bound : RaggedSpans
        By group, when online monitoring binds.
    pool_of_group : ndarray of intp, shape (groups,)
    """

    limits: LimitTable
    confirmation: Rules
    group: Positions
    age_ms: NDArray[np.int64]
    bound: RaggedSpans
    pool_of_group: Positions

    def of_series(self, series: Positions) -> "GridRules":
        """The rules of a grid that has only some of the series, ascending.

        Series and groups are numbered anew in their order; pools keep their numbers. Give all series of a group, or it is
        judged by a part of its readings.
        """
        renumbered = np.full(len(self.group), -1, dtype=np.intp)
        renumbered[series] = np.arange(len(series))
        groups, group = np.unique(self.group[series], return_inverse=True)
        chosen = renumbered[self.limits.series] >= 0
        limits = self.limits
        return replace(
            self,
            limits=LimitTable(
                series=renumbered[limits.series[chosen]],
                high=limits.high[chosen],
                value=limits.value[chosen],
                closed=limits.closed[chosen],
                well=limits.well[chosen],
                from_ms=limits.from_ms[chosen],
                to_ms=limits.to_ms[chosen],
            ),
            confirmation=replace(
                self.confirmation,
                gap_ms=self.confirmation.gap_ms[series],
                pool_of=self.confirmation.pool_of[series],
            ),
            group=group,
            age_ms=self.age_ms[groups],
            bound=self.bound.take(groups),
            pool_of_group=self.pool_of_group[groups],
        )


@dataclass(frozen=True, slots=True)
class GridVerdicts:
    """What `judge_grid` finds."""

    exceedances: ExceedanceColumns
    lapses: LapseColumns


def judge_grid(
    grid: Grid, rules: GridRules, *, now_ms: int, cells_at_once: int = CELLS_AT_ONCE
) -> GridVerdicts:
    """Exceedances and lapses of online monitoring up to now, in open time.

    Parameters
    ----------
    grid : Grid
        Good readings up to now; gaps, and readings that are not good, are NaN.
    rules : GridRules
    now_ms : int
        What lasts until then is open. [ms]
    cells_at_once : int
        See `screen`.

    Returns
    -------
    verdicts : GridVerdicts

    Raises
    ------
    ValueError
        If a `gap_ms` or an allowed age is below two steps of the grid: choose a finer one.
    """
    inside_from, inside_to = rules.limits.usual(grid.n_series, grid.value.dtype)
    exceeded: list[ExceedanceColumns] = []
    silent: list[SilentSpans] = []
    age_ms = rules.age_ms[rules.group]
    for unusual in screen(grid, inside_from=inside_from, inside_to=inside_to, cells_at_once=cells_at_once):
        exceeded += exceedances_among(
            grid, unusual, limits=rules.limits, rules=rules.confirmation, now_ms=now_ms
        )
        silent.append(silent_among(grid, unusual, age_ms=age_ms))
    lapses = lapses_of(
        SilentSpans.joined(silent),
        group=rules.group,
        age_ms=rules.age_ms,
        bound=rules.bound,
        opening=rules.confirmation.opening,
        pool_of_group=rules.pool_of_group,
        now_ms=now_ms,
    )
    return GridVerdicts(ExceedanceColumns.joined(exceeded), lapses)
