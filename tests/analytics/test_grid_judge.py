"""One pass for exceedances and lapses together, and judging some of the series again, as one live tick does."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.exceedance import Rules
from analytics.grid import Grid
from analytics.grid_judge import GridRules, GridVerdicts, judge_grid
from analytics.ragged import RaggedSpans
from analytics.spans import FAR_MS
from tests.analytics.cities import City, grid_of, judge_slow, rules_of, table_of
from tests.analytics.drawn_cities import cities


def rows(
    found: GridVerdicts, series: list[int], groups: list[int]
) -> tuple[list[tuple[float, ...]], list[tuple[int, ...]]]:
    """Verdicts with the city's own numbers of series and groups."""
    exceeded = found.exceedances
    pieces = sorted(
        zip(
            (series[row] for row in exceeded.series.tolist()),
            exceeded.start_ms.tolist(),
            exceeded.end_ms.tolist(),
            np.nan_to_num(exceeded.worst_value, nan=-1.0).tolist(),
            exceeded.unverified_since_ms.tolist(),
            strict=True,
        )
    )
    late = found.lapses
    lapses = zip(
        (groups[group] for group in late.group.tolist()),
        late.start_ms.tolist(),
        late.end_ms.tolist(),
        strict=True,
    )
    return list(pieces), list(lapses)


@settings(max_examples=150, deadline=None)
@given(city=cities())
def test_one_pass_equals_the_loops(city: City) -> None:
    found = judge_grid(grid_of(city), rules_of(city), now_ms=city.now_ms)
    slow = judge_slow(city)
    assert len(found.exceedances.series) == sum(len(pieces) for pieces in slow.exceedances)
    expected = [(group, lapse.start_ms) for group, lapses in enumerate(slow.lapses) for lapse in lapses]
    assert list(zip(found.lapses.group.tolist(), found.lapses.start_ms.tolist(), strict=True)) == expected


@settings(max_examples=150, deadline=None)
@given(city=cities(), drawn=st.sets(st.integers(0, 5)))
def test_some_groups_judged_apart_are_judged_as_in_the_whole(city: City, drawn: set[int]) -> None:
    groups = sorted(group for group in drawn if group < len(city.age_ms))
    series = [row for row, group in enumerate(city.group) if group in groups]
    if not series:
        return
    grid, rules = grid_of(city), rules_of(city)
    chosen = np.array(series, dtype=np.intp)
    apart = judge_grid(grid.of_series(chosen), rules.of_series(chosen), now_ms=city.now_ms)
    whole = judge_grid(grid, rules, now_ms=city.now_ms)
    pieces, lapses = rows(whole, list(range(len(city.group))), list(range(len(city.age_ms))))
    expected = (
        [piece for piece in pieces if piece[0] in series],
        [lapse for lapse in lapses if lapse[0] in groups],
    )
    assert rows(apart, series, groups) == expected


def _always(grid: Grid, *, age_ms: int) -> GridRules:
    """One series each in a group and a pool of its own, always open, without limits."""
    n = grid.n_series
    always = RaggedSpans.of([np.array([(0, 10**12)], dtype=np.int64)] * n)
    numbers = np.arange(n)
    ages = np.full(n, age_ms, dtype=np.int64)
    rules = Rules(0, 0, ages, always, numbers)
    return GridRules(table_of([]), rules, numbers, ages, always, numbers)


def test_a_pool_that_was_never_measured_is_overdue_after_the_allowed_age() -> None:
    empty = Grid(0, 60_000, np.empty((2, 0), dtype=np.float32), np.empty((2, 0), dtype=np.uint16))
    found = judge_grid(empty, _always(empty, age_ms=900_000), now_ms=3_600_000)
    assert found.lapses.start_ms.tolist() == [900_000, 900_000]
    assert found.lapses.end_ms.tolist() == [FAR_MS, FAR_MS]


def test_a_grid_too_coarse_for_an_allowed_age_is_refused() -> None:
    grid = Grid(0, 60_000, np.zeros((1, 3), dtype=np.float32), np.zeros((1, 3), dtype=np.uint16))
    with pytest.raises(ValueError, match="60000"):
        judge_grid(grid, _always(grid, age_ms=60_000), now_ms=180_000)


def test_a_copy_of_rows_is_not_the_grid() -> None:
    grid = Grid(0, 60_000, np.zeros((3, 2), dtype=np.float32), np.zeros((3, 2), dtype=np.uint16))
    part = grid.of_series(np.array([2, 0]))
    part.value[:] = 9.0
    assert grid.value.sum() == 0.0
    assert part.n_series == 2
