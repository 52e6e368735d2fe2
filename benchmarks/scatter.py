"""How fast long rows are put into the grid: ours, plain NumPy indexing, and a pandas pivot, on one core.

Usage: python benchmarks/scatter.py [--rows N]

Rows come as files have them: all of a series, then the next (series-major), or all series of a minute, then the next
minute (time-major), each at its own second of the minute; and time-major with one row in a hundred late by up to a day.
"""

import argparse
import importlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from analytics.grid import Grid, empty_grid, scatter

START_MS, STEP_MS = 1_781_452_800_000, 60_000
_SERIES = (1_000, 3_000, 15_000)
_REPEATS = 4
#: pandas needs minutes and gigabytes for what takes us a second.
_PANDAS_ROWS = 2_000_000
_LATE_MIN = 1440


@dataclass(frozen=True, slots=True)
class LongRows:
    """Rows of a history and the grid's shape."""

    series: NDArray[np.int32]
    at_ms: NDArray[np.int64]
    value: NDArray[np.float32]
    n_series: int
    n_steps: int

    def empty(self) -> Grid:
        """A grid for them."""
        end_ms = START_MS + self.n_steps * STEP_MS
        return empty_grid(n_series=self.n_series, start_ms=START_MS, end_ms=end_ms, step_ms=STEP_MS)


def long_rows(order: str, *, n_series: int, n_rows: int, seed: int = 1) -> LongRows:
    """Rows in an order of `series`, `time` or `late`."""
    rng = np.random.default_rng(seed)
    n_steps = max(n_rows // n_series, 1)
    offset = rng.integers(1000, STEP_MS - 1000, n_series)
    if order == "series":
        series = np.repeat(np.arange(n_series, dtype=np.int32), n_steps)
        step = np.tile(np.arange(n_steps), n_series)
    else:
        series = np.tile(np.arange(n_series, dtype=np.int32), n_steps)
        step = np.repeat(np.arange(n_steps), n_series)
    at_ms = START_MS + step * STEP_MS + offset[series]
    if order == "late":
        late = rng.random(len(series)) < 0.01
        place = np.arange(len(series)) + late * rng.integers(0, _LATE_MIN * n_series, len(series))
        moved = np.argsort(place, kind="stable")
        series, at_ms = series[moved], at_ms[moved]
    return LongRows(series, at_ms, rng.random(len(series), dtype=np.float32), n_series, n_steps)


def plain_numpy(grid: Grid, rows: LongRows) -> None:
    """What one writes first; right only where no two readings share a step and none lies outside."""
    step, offset = np.divmod(rows.at_ms - START_MS, STEP_MS)
    grid.value[rows.series, step] = rows.value
    grid.offset_ms[rows.series, step] = offset


def ours(grid: Grid, rows: LongRows) -> None:
    """Exact for any rows."""
    scatter(grid, series=rows.series, measured_at_ms=rows.at_ms, value=rows.value)


def _best(
    into: Callable[[Grid, LongRows], None], rows: LongRows, expected: NDArray[np.floating] | None
) -> float:
    """Rows a second of the best of some runs, each into an empty grid whose memory is there already."""
    grid = rows.empty()
    best = float("inf")
    for _ in range(_REPEATS):
        grid.value.fill(np.nan)
        grid.offset_ms.fill(0)
        begin = time.perf_counter()
        into(grid, rows)
        best = min(best, time.perf_counter() - begin)
    if expected is not None:
        np.testing.assert_array_equal(grid.value, expected)
    return len(rows.series) / best


def _pandas_rate(pandas: ModuleType, rows: LongRows) -> float:
    """Rows a second of a pivot of some of the rows."""
    n = min(_PANDAS_ROWS, len(rows.series))
    frame = pandas.DataFrame(
        {"series": rows.series[:n], "at": rows.at_ms[:n].astype("datetime64[ms]"), "value": rows.value[:n]}
    )
    begin = time.perf_counter()
    frame["minute"] = frame["at"].dt.floor("min")
    frame.pivot_table(index="series", columns="minute", values="value", aggfunc="last")
    return n / (time.perf_counter() - begin)


def run(*, n_rows: int = 25_000_000) -> dict[str, float]:
    """Measure; `scatter_rows_per_s` is the slowest of the orders and sizes with every reading in time."""
    try:
        pandas: ModuleType | None = importlib.import_module("pandas")
    except ImportError:
        pandas = None
    print(f"{'order':8}{'series':>8}{'rows':>13}{'ours':>9}{'NumPy':>9}{'pandas':>9}   million rows/s")
    rates: dict[str, float] = {}
    for order in ("series", "time", "late"):
        for n_series in _SERIES:
            rows = long_rows(order, n_series=n_series, n_rows=n_rows)
            expected = rows.empty()
            plain_numpy(expected, rows)
            mine = _best(ours, rows, expected.value)
            plain = _best(plain_numpy, rows, None)
            pivot = _pandas_rate(pandas, rows) if pandas is not None and n_series == _SERIES[0] else None
            rates[f"{order}_{n_series}"] = mine
            peer = "" if pivot is None else f"{pivot / 1e6:.1f}"
            print(f"{order:8}{n_series:8,}{len(rows.series):13,}{mine / 1e6:9.1f}{plain / 1e6:9.1f}{peer:>9}")
    slowest = min(rate for name, rate in rates.items() if not name.startswith("late"))
    return {
        "scatter_rows_per_s": slowest,
        "scatter_late_rows_per_s": min(rate for name, rate in rates.items() if name.startswith("late")),
    }


def main() -> None:
    """Print the table, and as the last line the figures as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=25_000_000)
    print(json.dumps(run(n_rows=parser.parse_args().rows)))


if __name__ == "__main__":
    main()
