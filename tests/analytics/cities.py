"""Small cities of pools for tests, judged by the vectorised core and by plain loops."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from analytics.exceedance import LimitTable, Rules
from analytics.grid import Grid, empty_grid, scatter
from analytics.grid_judge import GridRules, judge_grid
from analytics.ragged import RaggedSpans
from analytics.screening import CELLS_AT_ONCE
from analytics.spans import FAR_MS, merged
from tests.analytics import brute_force
from tests.analytics.brute_force import End, Lapse, Piece, Reading, Span

MINUTE_MS = 60_000
STEP_MS = MINUTE_MS
START_MS = 1_781_452_800_000
ALWAYS: list[Span] = [(START_MS - 10**9, START_MS + 10**9)]

Dtype = type[np.float32] | type[np.float64]


class Row(NamedTuple):
    """A row of a limit table."""

    series: int
    end: End


@dataclass(frozen=True)
class City:
    """Everything that is judged at once: `readings` by series in the order of arrival; `rows` and `group` ascend."""

    readings: list[list[Reading]]
    rows: list[Row]
    pool_of: list[int]
    group: list[int]
    gap_ms: list[int]
    age_ms: list[int]
    opening: list[list[Span]]
    bound: list[list[Span]]
    begin_ms: list[int]
    confirm_ms: int
    clear_ms: int
    n_steps: int
    now_ms: int
    dtype: Dtype = np.float64
    start_ms: int = START_MS

    @property
    def pool_of_group(self) -> list[int]:
        """The pool of each group."""
        return [self.pool_of[self.group.index(group)] for group in range(len(self.age_ms))]


class Judged(NamedTuple):
    """Exceedances by row of the limit table, lapses by group."""

    exceedances: list[list[Piece]]
    lapses: list[list[Lapse]]


def minutes(*values: float | None, first: int = 0, offset_ms: int = 0) -> list[Reading]:
    """One reading a minute; None: none."""
    return [
        (START_MS + (first + step) * MINUTE_MS + offset_ms, value)
        for step, value in enumerate(values)
        if value is not None
    ]


def grid_of(city: City) -> Grid:
    """The readings on the minute grid."""
    grid = empty_grid(
        n_series=len(city.readings),
        start_ms=city.start_ms,
        end_ms=city.start_ms + city.n_steps * STEP_MS,
        step_ms=STEP_MS,
        dtype=city.dtype,
    )
    rows = [(series, at, value) for series, part in enumerate(city.readings) for at, value in part]
    scatter(
        grid,
        series=np.array([row[0] for row in rows], dtype=np.intp),
        measured_at_ms=np.array([row[1] for row in rows], dtype=np.int64),
        value=np.array([row[2] for row in rows], dtype=city.dtype),
    )
    return grid


def table_of(rows: Sequence[Row]) -> LimitTable:
    """The rows as columns."""
    return LimitTable(
        series=np.array([row.series for row in rows], dtype=np.intp),
        high=np.array([row.end.high for row in rows], dtype=np.bool_),
        value=np.array([row.end.value for row in rows], dtype=np.float64),
        closed=np.array([row.end.closed for row in rows], dtype=np.bool_),
        well=np.array([row.end.well for row in rows], dtype=np.float64),
        from_ms=_ints([row.end.from_ms for row in rows]),
        to_ms=_ints([row.end.to_ms for row in rows]),
    )


def _ragged(parts: Sequence[Sequence[Span]]) -> RaggedSpans:
    return RaggedSpans.of([merged(np.array(part, dtype=np.int64).reshape(-1, 2)) for part in parts])


def _ints(numbers: Sequence[int]) -> NDArray[np.int64]:
    return np.array(numbers, dtype=np.int64)


def rules_of(city: City) -> GridRules:
    """By what the core judges a city."""
    return GridRules(
        limits=table_of(city.rows),
        confirmation=Rules(
            confirm_ms=city.confirm_ms,
            clear_ms=city.clear_ms,
            gap_ms=_ints(city.gap_ms),
            opening=_ragged(city.opening),
            pool_of=np.array(city.pool_of, dtype=np.intp),
            begin_ms=_ints(city.begin_ms),
        ),
        group=np.array(city.group, dtype=np.intp),
        age_ms=_ints(city.age_ms),
        bound=_ragged(city.bound),
        pool_of_group=np.array(city.pool_of_group, dtype=np.intp),
    )


def judge_fast(city: City, *, cells_at_once: int = CELLS_AT_ONCE) -> Judged:
    """The core, in parts of so many cells."""
    verdicts = judge_grid(grid_of(city), rules_of(city), now_ms=city.now_ms, cells_at_once=cells_at_once)
    found, late = verdicts.exceedances, verdicts.lapses
    pieces: list[list[Piece]] = [[] for _ in city.rows]
    for row, start, end, worst, since in zip(
        found.limit_row.tolist(),
        found.start_ms.tolist(),
        found.end_ms.tolist(),
        found.worst_value.tolist(),
        found.unverified_since_ms.tolist(),
        strict=True,
    ):
        pieces[row].append(
            Piece(start, _unless_far(end), None if math.isnan(worst) else worst, _unless_far(since))
        )
    assert found.series.tolist() == [city.rows[row].series for row in found.limit_row.tolist()]
    lapses: list[list[Lapse]] = [[] for _ in city.age_ms]
    for owner, start, end in zip(
        late.group.tolist(), late.start_ms.tolist(), late.end_ms.tolist(), strict=True
    ):
        lapses[owner].append(Lapse(start, _unless_far(end)))
    return Judged(pieces, lapses)


def _unless_far(at_ms: int) -> int | None:
    return None if at_ms == FAR_MS else at_ms


def judge_slow(city: City) -> Judged:
    """Plain loops over the same readings, rounded to the grid's numbers as the limits are."""

    def rounded(value: float) -> float:
        return float(city.dtype(value))

    kept = [
        brute_force.newest_of_each_step(
            [(at, rounded(value)) for at, value in part if not math.isnan(value)], step_ms=STEP_MS
        )
        for part in city.readings
    ]
    pieces = []
    for series, end in city.rows:
        pool = city.pool_of[series]
        pieces.append(
            brute_force.exceedances(
                kept[series],
                End(end.high, rounded(end.value), end.closed, rounded(end.well), end.from_ms, end.to_ms),
                confirm_ms=city.confirm_ms,
                clear_ms=city.clear_ms,
                gap_ms=city.gap_ms[series],
                opening=city.opening[pool],
                now_ms=city.now_ms,
                begin_ms=city.begin_ms[pool],
            )
        )
    lapses = []
    for group, pool in enumerate(city.pool_of_group):
        facts = [at for series, part in enumerate(kept) if city.group[series] == group for at, _ in part]
        lapses.append(
            brute_force.lapses(
                facts,
                age_ms=city.age_ms[group],
                bound=city.bound[group],
                opening=city.opening[pool],
                now_ms=city.now_ms,
            )
        )
    return Judged(pieces, lapses)
