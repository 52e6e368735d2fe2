"""Made-up histories of a city's probes on the minute grid, for the benchmarks: the same seed gives the same readings.

Of the readings 2 % lie outside a limit in episodes of 5 to 120 minutes and 0.5 % are isolated outliers; 1 % of the cells
are missing, half of them one by one, half in silences of 5 to 120 minutes. Resolution 0.01. Probes measure once a minute,
each at its own second with some jitter.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analytics.grid import Grid
from analytics.ragged import RaggedSpans
from analytics.spans import Spans, merged

MINUTE_MS = 60_000
DAY_MINUTES = 1440
#: A Monday, 00:00 in China (UTC+8, no daylight saving).
START_MS = 1_781_452_800_000
OUTSIDE_SHARE, MISSING_SHARE, OUTLIER_SHARE = 0.02, 0.01, 0.005
SHORTEST_EPISODE_MIN, LONGEST_EPISODE_MIN = 5, 120
_JITTER_MS = 400
#: Opening hours by share of the pools: minutes of the day. Most are open 06:00-22:00 every day.
_HOURS: tuple[tuple[float, tuple[tuple[int, int], ...]], ...] = (
    (0.80, ((360, 1320),)),
    (0.10, ((540, 1260),)),
    (0.08, ((360, 720), (840, 1320))),
    (0.02, ((0, 1440),)),
)


@dataclass(frozen=True, slots=True)
class Probed:
    """A quantity: its limit's ends (None: open), hysteresis, usual level and spread in its unit."""

    name: str
    low: float | None
    high: float | None
    hysteresis: float
    level: float
    wave: float
    noise: float
    beyond: float


#: Limits of the profile changzhou-2022, all ends closed; levels as of a well-kept pool.
PROBED = (
    Probed("free_chlorine_mg_l", 0.3, 1.0, 0.02, 0.62, 0.12, 0.03, 0.25),
    Probed("ph", 7.0, 7.8, 0.05, 7.40, 0.12, 0.04, 0.3),
    Probed("combined_chlorine_mg_l", None, 0.4, 0.0, 0.18, 0.05, 0.02, 0.3),
    Probed("turbidity_ntu", None, 1.0, 0.0, 0.35, 0.12, 0.05, 2.0),
)


@dataclass(frozen=True, slots=True)
class History:
    """Readings of `n_pools` pools, each with the quantities of `PROBED`: series = pool * len(PROBED) + quantity.

    `now_ms` is the end of the grid; `opening` has the opening intervals by pool, from the day before to the day after.
    """

    grid: Grid
    opening: RaggedSpans
    pool_of: NDArray[np.intp]
    quantity_of: NDArray[np.intp]

    @property
    def now_ms(self) -> int:
        """End of the grid."""
        return self.grid.end_ms

    def part(self, n_series: int) -> "History":
        """The first series, in whole pools."""
        n_pools = max(n_series // len(PROBED), 1)
        n_series = n_pools * len(PROBED)
        grid = self.grid
        return History(
            grid=Grid(grid.start_ms, grid.step_ms, grid.value[:n_series], grid.offset_ms[:n_series]),
            opening=RaggedSpans.of([self.opening[pool] for pool in range(n_pools)]),
            pool_of=self.pool_of[:n_series],
            quantity_of=self.quantity_of[:n_series],
        )


def make_history(
    *, n_series: int, n_minutes: int, seed: int = 1, dtype: type[np.floating] = np.float32
) -> History:
    """A history of at least one pool and about `n_series` series."""
    n_pools = max(n_series // len(PROBED), 1)
    n_series = n_pools * len(PROBED)
    rng = np.random.default_rng(seed)
    value = np.empty((n_series, n_minutes), dtype=dtype)
    offset_ms = np.empty((n_series, n_minutes), dtype=np.uint16)
    day = np.sin(np.arange(n_minutes) * (2 * np.pi / DAY_MINUTES))
    for series in range(n_series):
        value[series], measured = _readings(rng, PROBED[series % len(PROBED)], day)
        jitter = rng.integers(-_JITTER_MS, _JITTER_MS + 1, n_minutes)
        offset = rng.integers(_JITTER_MS, MINUTE_MS - _JITTER_MS) + jitter
        offset_ms[series] = np.where(measured, offset, 0)
    return History(
        grid=Grid(START_MS, MINUTE_MS, value, offset_ms),
        opening=RaggedSpans.of([_hours(rng, n_minutes) for _ in range(n_pools)]),
        pool_of=np.repeat(np.arange(n_pools), len(PROBED)),
        quantity_of=np.tile(np.arange(len(PROBED)), n_pools),
    )


def _readings(
    rng: np.random.Generator, probed: Probed, day: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Values of one series, and which cells hold one."""
    n = len(day)
    value = probed.level + probed.wave * rng.uniform(-1, 1) * day + rng.normal(0, probed.noise, n)
    for first, after in _episodes(rng, n, OUTSIDE_SHARE):
        outside = _outside(rng, probed, 1)
        wander = np.abs(rng.normal(0, probed.noise / 2, after - first))
        value[first:after] = outside + np.where(outside > probed.level, wander, -wander)
    single = rng.random(n) < OUTLIER_SHARE
    value[single] = _outside(rng, probed, int(single.sum()))
    value = np.maximum(np.round(value, 2), 0.0)
    missing = rng.random(n) < MISSING_SHARE / 2
    for first, after in _episodes(rng, n, MISSING_SHARE / 2):
        missing[first:after] = True
    value[missing] = np.nan
    return value, ~missing


def _episodes(rng: np.random.Generator, n: int, share: float) -> list[tuple[int, int]]:
    """Stretches that make up about a share of n minutes."""
    mean = (SHORTEST_EPISODE_MIN + LONGEST_EPISODE_MIN) / 2
    first = rng.integers(0, n, rng.poisson(share * n / mean))
    lasts = rng.integers(SHORTEST_EPISODE_MIN, LONGEST_EPISODE_MIN + 1, len(first))
    return list(zip(first.tolist(), np.minimum(first + lasts, n).tolist(), strict=True))


def _outside(rng: np.random.Generator, probed: Probed, n: int) -> NDArray[np.float64]:
    """Values beyond either end of the limit, at least by 0.01."""
    ends = [(end, sign) for end, sign in ((probed.low, -1.0), (probed.high, 1.0)) if end is not None]
    end, sign = np.array(ends)[rng.integers(len(ends), size=n)].T
    return np.asarray(end + sign * rng.uniform(0.01, probed.beyond, n))


def _hours(rng: np.random.Generator, n_minutes: int) -> Spans:
    """Opening intervals of a pool."""
    share = np.cumsum([part for part, _ in _HOURS])
    hours = _HOURS[int(np.searchsorted(share, rng.random()))][1]
    days = range(-1, n_minutes // DAY_MINUTES + 2)
    minutes = [(day * DAY_MINUTES + start, day * DAY_MINUTES + end) for day in days for start, end in hours]
    return merged(np.array(minutes, dtype=np.int64) * MINUTE_MS + START_MS)
