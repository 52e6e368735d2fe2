"""What one live tick of a city costs in the core: new readings come, and what they touch is judged again.

Usage: python benchmarks/tick.py

The hot window is a grid of a day: 3,000 pools with 5 quantities each, one reading a minute, and room for the minute to
come. A tick puts one reading into each changed series, takes these series' rows out, flags them, and judges exceedances
and lapses over the whole day again. Prints the times, what the window takes in memory, and one JSON object.
"""

import json
import time
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from analytics.exceedance import LimitTable, Rules
from analytics.grid import Grid, scatter
from analytics.grid_judge import GridRules, GridVerdicts, judge_grid
from analytics.quality import Checked, Flag
from analytics.quality.on_grid import grid_flags
from analytics.ragged import RaggedSpans
from analytics.spans import FAR_MS
from analytics.standards.profile import load_profile, rules_for
from benchmarks.curve import Load
from benchmarks.history import MINUTE_MS, START_MS, make_history
from gateway.contract.quantities import Quantity
from gateway.contract.registry import PoolKind

_QUANTITIES = (
    Quantity.FREE_CHLORINE_MG_L,
    Quantity.PH,
    Quantity.WATER_TEMP_C,
    Quantity.COMBINED_CHLORINE_MG_L,
    Quantity.TURBIDITY_NTU,
)
#: Which of the made-up histories each quantity gets; temperature has no limit that is judged.
_LIKE = (0, 1, 1, 2, 3)
_CITY = Load(n_series=15_000, hours=24, n_changed=150)
_REPEATS = 15


@dataclass(slots=True)
class City:
    """A hot window with its rules, and one more minute of room."""

    grid: Grid
    rules: GridRules
    checked: list[Checked]

    @property
    def bytes_held(self) -> int:
        """Memory of the window's values and times."""
        return self.grid.value.nbytes + self.grid.offset_ms.nbytes


@cache
def _day(hours: int) -> Grid:
    """Histories of 400 series; a city repeats them, which changes no cost."""
    return make_history(n_series=400, n_minutes=hours * 60).grid


def city_of(load: Load) -> City:
    """A city with so many series and hours, judged by changzhou-2022."""
    n_series = load.n_series - load.n_series % len(_QUANTITIES)
    n_pools = n_series // len(_QUANTITIES)
    day = _day(load.hours)
    series = np.arange(n_series)
    like = (series // len(_QUANTITIES) * 4 + np.array(_LIKE)[series % len(_QUANTITIES)]) % day.n_series
    value = np.full((n_series, day.n_steps + 1), np.nan, dtype=np.float32)
    offset_ms = np.zeros(value.shape, dtype=np.uint16)
    for row, source in enumerate(like.tolist()):
        value[row, :-1], offset_ms[row, :-1] = day.value[source], day.offset_ms[source]
    profile = load_profile("changzhou-2022")
    kind_rules = rules_for(profile, PoolKind.INDOOR)
    limits = LimitTable.of(
        (row, end, profile.confirmation(quantity).hysteresis, -FAR_MS, FAR_MS)
        for row in range(n_series)
        for quantity in (_QUANTITIES[row % len(_QUANTITIES)],)
        for end in kind_rules.ends(quantity)
    )
    age_ms = np.full(n_series, kind_rules.online_age_ms(Quantity.PH), dtype=np.int64)
    hours = [
        (START_MS + (day_number * 1440 + 360) * MINUTE_MS, START_MS + (day_number * 1440 + 1320) * MINUTE_MS)
        for day_number in range(-1, load.hours // 24 + 2)
    ]
    opening = RaggedSpans.of([np.array(hours, dtype=np.int64)] * n_pools)
    bound = RaggedSpans.of([np.array([(START_MS, FAR_MS)], dtype=np.int64)] * n_series)
    pool_of = series // len(_QUANTITIES)
    confirm_ms, clear_ms = round(profile.confirm_s * 1000), round(profile.clear_s * 1000)
    rules = GridRules(
        limits=limits,
        confirmation=Rules(confirm_ms, clear_ms, age_ms, opening, pool_of),
        group=series,
        age_ms=age_ms,
        bound=bound,
        pool_of_group=pool_of,
    )
    checked = [
        Checked(quantity, profile.quality_rules(quantity), pool=row // len(_QUANTITIES), interval_s=60.0)
        for row in range(n_series)
        for quantity in (_QUANTITIES[row % len(_QUANTITIES)],)
    ]
    return City(Grid(START_MS, MINUTE_MS, value, offset_ms), rules, checked)


def tick(city: City, changed: NDArray[np.intp], *, value: NDArray[np.float32], now_ms: int) -> GridVerdicts:
    """One reading of each changed series comes; these series are flagged and judged again, the whole window."""
    scatter(city.grid, series=changed, measured_at_ms=np.full(len(changed), now_ms - 1), value=value)
    part = city.grid.of_series(changed)
    flagged = grid_flags(part, series=[city.checked[row] for row in changed.tolist()], now_ms=now_ms)
    part.value[flagged.flag > Flag.GOOD] = np.nan
    return judge_grid(part, city.rules.of_series(changed), now_ms=now_ms)


def _times_ms(city: City, n_changed: int) -> list[float]:
    rng = np.random.default_rng(7)
    now_ms = city.grid.end_ms
    n_pools = city.grid.n_series // len(_QUANTITIES)
    times = []
    for _ in range(_REPEATS):
        pools = np.sort(rng.choice(n_pools, size=max(n_changed // len(_QUANTITIES), 1), replace=False))
        changed = (pools[:, None] * len(_QUANTITIES) + np.arange(len(_QUANTITIES))).reshape(-1)
        value = city.grid.value[changed, -2]
        began_s = time.process_time()
        tick(city, changed, value=np.where(np.isnan(value), np.float32(0.6), value), now_ms=now_ms)
        times.append((time.process_time() - began_s) * 1000)
        city.grid.value[changed, -1] = np.nan
    return times


def measure_ms(load: Load) -> float:
    """Processor time of one tick under a load, the median of several. [ms]"""
    return float(np.median(_times_ms(city_of(load), load.n_changed)))


def run() -> dict[str, float]:
    """Measure and print the tick of a city of 3,000 pools; figures by name."""
    city = city_of(_CITY)
    times = _times_ms(city, _CITY.n_changed)
    figures = {
        "tick_ms": float(np.median(times)),
        "tick_max_ms": max(times),
        "hot_window_mb": city.bytes_held / 1e6,
    }
    print(
        f"tick: {_CITY.n_series:,} series x {_CITY.hours} h in memory ({figures['hot_window_mb']:.0f} MB), "
        f"{_CITY.n_changed} changed: median {figures['tick_ms']:.1f} ms, most {figures['tick_max_ms']:.1f} ms"
    )
    return figures


if __name__ == "__main__":
    print(json.dumps(run()))
