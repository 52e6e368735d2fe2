"""What the peers start from: long rows sorted by series and time, limits by series, opening hours by pool; what they give.

The job, for every one of them: an exceedance of one end of a limit is raised by readings beyond the end, in an unbroken
run that lasts at least 5 min, and ends with readings inside by the hysteresis, in an unbroken run of at least 5 min; both
count from their first reading. More than 15 min without a reading forgets runs, and ends an exceedance if the pool closed
in that time, when it closed. A lapse is time with no reading younger than 15 min. Both are cut by opening hours.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.history import PROBED, History

CONFIRM_MS = CLEAR_MS = 300_000
GAP_MS = AGE_MS = 900_000


@dataclass(frozen=True, slots=True)
class LongRows:
    """Columns by reading (sorted by series and time), by series, and by opening interval; NaN: no such end. [ms]"""

    series: NDArray[np.int32]
    at_ms: NDArray[np.int64]
    value: NDArray[np.float32]
    pool_of: NDArray[np.int64]
    low: NDArray[np.float32]
    high: NDArray[np.float32]
    low_well: NDArray[np.float32]
    high_well: NDArray[np.float32]
    opening_pool: NDArray[np.int64]
    opens_ms: NDArray[np.int64]
    closes_ms: NDArray[np.int64]
    begin_ms: int
    now_ms: int


@dataclass(frozen=True, slots=True)
class Counts:
    """Pieces in open time, and their length until now; all four have to agree between those who judge."""

    exceedances: int
    exceeded_ms: int
    lapses: int
    lapsed_ms: int


def ends_of(quantity: int) -> tuple[float, float, float, float]:
    """Low, high, and where a reading is well inside either; NaN for no such end."""
    probed = PROBED[quantity]
    low = np.nan if probed.low is None else probed.low
    high = np.nan if probed.high is None else probed.high
    return low, high, low + probed.hysteresis, high - probed.hysteresis


def long_rows(history: History) -> LongRows:
    """The readings of a history, one row each."""
    grid = history.grid
    series, step = np.nonzero(~np.isnan(grid.value))
    ends = np.array([ends_of(quantity) for quantity in range(len(PROBED))])
    low, high, low_well, high_well = ends[history.quantity_of].astype(np.float32).T.copy()
    opening = history.opening
    return LongRows(
        series=series.astype(np.int32),
        at_ms=grid.measured_at_ms(series, step),
        value=grid.value[series, step].astype(np.float32),
        pool_of=history.pool_of.astype(np.int64),
        low=low,
        high=high,
        low_well=low_well,
        high_well=high_well,
        opening_pool=np.repeat(np.arange(len(opening)), np.diff(opening.first)),
        opens_ms=opening.spans[:, 0].copy(),
        closes_ms=opening.spans[:, 1].copy(),
        begin_ms=grid.start_ms,
        now_ms=history.now_ms,
    )
