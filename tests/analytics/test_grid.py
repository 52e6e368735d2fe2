"""The grid against a plain loop: newest wins, on a tie the last row given, nothing is interpolated."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from analytics.grid import Grid, Scattered, empty_grid, scatter

START_MS = 1_781_452_800_000
STEP_MS = 60_000
Row = tuple[int, int, float]


def plain_loop(grid: Grid, rows: list[Row]) -> Scattered:
    """Put rows one by one into a grid, which is changed."""
    placed: dict[tuple[int, int], int] = {}
    outside = 0
    before = {(int(row), int(step)) for row, step in np.argwhere(~np.isnan(grid.value))}
    displaced = set()
    for series, at_ms, value in rows:
        step, offset = (at_ms - grid.start_ms) // grid.step_ms, (at_ms - grid.start_ms) % grid.step_ms
        if not 0 <= step < grid.n_steps:
            outside += 1
            continue
        if math.isnan(value):
            continue
        there = not np.isnan(grid.value[series, step])
        if there and grid.offset_ms[series, step] > offset:
            continue
        if (series, step) in before:
            displaced.add((series, step))
        grid.value[series, step] = value
        grid.offset_ms[series, step] = offset
        placed[series, step] = 1
    return Scattered(
        placed=len(placed),
        replaced=len(rows) - len(placed) - outside,
        outside=outside,
        displaced=len(displaced),
    )


def columns(
    rows: list[Row], *, wide: bool
) -> tuple[NDArray[np.integer], NDArray[np.int64], NDArray[np.floating]]:
    return (
        np.array([row[0] for row in rows], dtype=np.int64 if wide else np.int32),
        np.array([row[1] for row in rows], dtype=np.int64),
        np.array([row[2] for row in rows], dtype=np.float64 if wide else np.float32),
    )


def assert_as_loop(
    batches: list[list[Row]], *, n_series: int, n_steps: int, step_ms: int, wide: bool
) -> None:
    end_ms = START_MS + n_steps * step_ms
    dtype = np.float64 if wide else np.float32
    grid, expected = (
        empty_grid(n_series=n_series, start_ms=START_MS, end_ms=end_ms, step_ms=step_ms, dtype=dtype)
        for _ in range(2)
    )
    readings: set[tuple[int, int]] = set()
    shared, expected_shared = np.zeros(n_series, dtype=np.bool_), np.zeros(n_series, dtype=np.bool_)
    for rows in batches:
        series, at_ms, value = columns(rows, wide=wide)
        found = scatter(grid, series=series, measured_at_ms=at_ms, value=value, shared=shared)
        assert found == plain_loop(expected, rows)
        for row, at, number in rows:
            cell = (row, (at - grid.start_ms) // step_ms)
            if 0 <= cell[1] < grid.n_steps and not math.isnan(number):
                expected_shared[row] |= cell in readings
                readings.add(cell)
        np.testing.assert_array_equal(shared, expected_shared)
        np.testing.assert_array_equal(grid.value, expected.value)
        np.testing.assert_array_equal(grid.offset_ms, expected.offset_ms)


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[list[Row]], int, int, int]:
    """Batches of rows over few series and steps, so that cells are shared, in order or not."""
    n_series, n_steps = draw(st.integers(1, 5)), draw(st.integers(1, 8))
    step_ms = draw(st.sampled_from((1, 7, 1000, STEP_MS, 65_536, 65_537, 3_600_000)))
    start_ms = START_MS - START_MS % step_ms
    instant = st.integers(-step_ms, n_steps * step_ms + step_ms).map(lambda since: start_ms + since)
    number = st.one_of(st.integers(0, 9).map(float), st.just(math.nan))
    row = st.tuples(st.integers(0, n_series - 1), instant, number)
    batches = []
    for _ in range(draw(st.integers(1, 3))):
        rows = draw(st.lists(row, max_size=40))
        order = draw(st.sampled_from(("given", "series", "time")))
        if order == "series":
            rows.sort(key=lambda one: (one[0], one[1]))
        elif order == "time":
            rows.sort(key=lambda one: one[1])
        batches.append(rows)
    return batches, n_series, n_steps, step_ms


@settings(max_examples=300, deadline=None)
@given(history=histories(), wide=st.booleans())
def test_any_order_is_as_the_plain_loop(
    *, history: tuple[list[list[Row]], int, int, int], wide: bool
) -> None:
    batches, n_series, n_steps, step_ms = history
    assert_as_loop(batches, n_series=n_series, n_steps=n_steps, step_ms=step_ms, wide=wide)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_series=st.integers(1, 40),
    n_steps=st.integers(1, 60),
    order=st.sampled_from(("series", "time", "late", "disorder", "several a step")),
    missing=st.sampled_from((0.0, 0.1, 0.9)),
)
def test_many_rows_in_the_orders_of_files(
    seed: int, n_series: int, n_steps: int, order: str, missing: float
) -> None:
    rng = np.random.default_rng(seed)
    times = 3 if order == "several a step" else 1
    series, step = np.divmod(np.arange(n_series * n_steps * times), n_steps * times)
    since = step * (STEP_MS // times) + rng.integers(0, STEP_MS // times, len(step))
    kept = rng.random(len(step)) >= missing
    series, since = series[kept], since[kept]
    position = since.astype(np.float64)
    if order == "series":
        position = np.arange(len(series), dtype=np.float64)
    elif order == "late":
        position[rng.random(len(position)) < 0.02] = n_steps * STEP_MS
    elif order == "disorder":
        position = rng.random(len(position))
    chosen = np.argsort(position, kind="stable")
    value = rng.integers(0, 100, len(series)).astype(np.float64)
    rows = list(
        zip(series[chosen].tolist(), (START_MS + since[chosen]).tolist(), value.tolist(), strict=True)
    )
    half = len(rows) // 3
    assert_as_loop(
        [rows[:half], rows[half:]], n_series=n_series, n_steps=n_steps, step_ms=STEP_MS, wide=False
    )


def test_more_rows_than_one_tile_holds() -> None:
    # 3 series of 60,000 steps of 1 s, each reading given three times in disorder: the last given stays.
    rng = np.random.default_rng(7)
    n_series, n_steps = 3, 60_000
    series = np.tile(np.repeat(np.arange(n_series), n_steps), 3)
    at_ms = START_MS + np.tile(np.arange(n_steps) * 1000 + 5, 3 * n_series)
    order = rng.permutation(len(series))
    value = np.arange(len(series), dtype=np.float64)
    grid = empty_grid(
        n_series=n_series, start_ms=START_MS, end_ms=START_MS + n_steps * 1000, step_ms=1000, dtype=np.float64
    )
    found = scatter(grid, series=series[order], measured_at_ms=at_ms[order], value=value)
    last = np.empty((n_series, n_steps))
    for number, row in enumerate(order.tolist()):
        last[series[row], (at_ms[row] - START_MS) // 1000] = number
    np.testing.assert_array_equal(grid.value, last)
    assert (grid.offset_ms == 5).all()
    # Cells filled in one round and again in a later one are placed each time, and displaced once less.
    assert found.placed - found.displaced == n_series * n_steps
    assert found.placed + found.replaced == len(series)


@pytest.mark.parametrize("by", ["time", "series"])
def test_a_few_late_rows_among_many(by: str) -> None:
    rng = np.random.default_rng(11)
    n_series, n_steps = (40, 5_000) if by == "time" else (2_000, 100)
    if by == "time":
        series, step = np.tile(np.arange(n_series), 50), np.repeat(np.arange(4_000, 4_050), n_series)
    else:
        series, step = np.repeat(np.arange(1_000, 1_020), n_steps), np.tile(np.arange(n_steps), 20)
    late = rng.integers(0, len(series), 60)
    series[late], step[late] = rng.integers(0, n_series, 60), rng.integers(0, n_steps, 60)
    at_ms = START_MS + step * STEP_MS + rng.integers(0, STEP_MS, len(step))
    value = np.arange(len(series), dtype=np.float64)
    rows = list(zip(series.tolist(), at_ms.tolist(), value.tolist(), strict=True))
    assert_as_loop([rows], n_series=n_series, n_steps=n_steps, step_ms=STEP_MS, wide=True)


def test_a_gap_stays_a_gap() -> None:
    # Readings in the first and the third minute: nothing is put between them.
    grid = empty_grid(n_series=1, start_ms=START_MS, end_ms=START_MS + 3 * STEP_MS, step_ms=STEP_MS)
    found = scatter(
        grid,
        series=np.array([0, 0]),
        measured_at_ms=np.array([START_MS + 59_999, START_MS + 2 * STEP_MS]),
        value=np.array([0.5, 0.7]),
    )
    assert found == Scattered(placed=2, replaced=0, outside=0, displaced=0)
    np.testing.assert_array_equal(grid.value, np.array([[0.5, np.nan, 0.7]], dtype=np.float32))
    assert grid.offset_ms.tolist() == [[59_999, 0, 0]]
    assert grid.measured_at_ms(np.array([0]), np.array([2])).tolist() == [START_MS + 2 * STEP_MS]


def test_no_rows() -> None:
    grid = empty_grid(n_series=2, start_ms=START_MS, end_ms=START_MS + STEP_MS, step_ms=STEP_MS)
    none = np.empty(0, dtype=np.int64)
    assert scatter(grid, series=none, measured_at_ms=none, value=none.astype(np.float32)) == Scattered(
        0, 0, 0
    )
    assert np.isnan(grid.value).all()


def test_an_empty_span_has_no_steps() -> None:
    grid = empty_grid(n_series=2, start_ms=START_MS, end_ms=START_MS, step_ms=STEP_MS)
    found = scatter(grid, series=np.array([1]), measured_at_ms=np.array([START_MS]), value=np.array([1.0]))
    assert (grid.n_steps, grid.end_ms) == (0, START_MS)
    assert found == Scattered(placed=0, replaced=0, outside=1)


def test_the_start_is_a_multiple_of_the_step() -> None:
    grid = empty_grid(n_series=1, start_ms=START_MS + 1, end_ms=START_MS + 1, step_ms=STEP_MS)
    assert (grid.start_ms, grid.n_steps) == (START_MS, 1)


@pytest.mark.parametrize("series", [-1, 2])
def test_a_series_that_is_not_there(series: int) -> None:
    grid = empty_grid(n_series=2, start_ms=START_MS, end_ms=START_MS + STEP_MS, step_ms=STEP_MS)
    with pytest.raises(IndexError, match="within 0 to 1"):
        scatter(grid, series=np.array([series]), measured_at_ms=np.array([START_MS]), value=np.array([1.0]))


def test_columns_of_different_lengths() -> None:
    grid = empty_grid(n_series=2, start_ms=START_MS, end_ms=START_MS + STEP_MS, step_ms=STEP_MS)
    with pytest.raises(ValueError, match="one of each a row"):
        scatter(
            grid, series=np.array([0, 1]), measured_at_ms=np.array([START_MS]), value=np.array([1.0, 2.0])
        )
