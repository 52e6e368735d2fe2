"""The long dropout of a real station: found as a dropout from its first hour, and never a chlorine exceedance."""

import csv
import os
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from analytics.exceedance import LimitTable, Rules
from analytics.grid import Grid
from analytics.grid_judge import GridRules, judge_grid
from analytics.quality import (
    Before,
    Check,
    Checked,
    Flag,
    Flagged,
    Surroundings,
    Track,
    move_times,
    series_flags,
)
from analytics.quality.intervals import flag_intervals
from analytics.quality.on_grid import grid_flags
from analytics.ragged import RaggedSpans
from analytics.spans import FAR_MS
from analytics.standards.quality_rules import QualityRules
from gateway.contract.quantities import Quantity

STEP_MS = 1_200_000
#: Free chlorine, then the channels beside it at the same station.
COLUMNS = {
    "B_CL2_VAL": Quantity.FREE_CHLORINE_MG_L,
    "B_PH_VAL": Quantity.PH,
    "B_TURB_VAL": Quantity.TURBIDITY_NTU,
    "B_COND_VAL": Quantity.CONDUCTIVITY_US_CM,
}
CHLORINE = QualityRules(
    zero_dropout_above=0.2,
    zero_floor=0.02,
    zero_pinned_s=21_600.0,
    flat_line_s=21_600.0,
    flat_line_fail_s=86_400.0,
)


@pytest.fixture(scope="module")
def station() -> Grid:
    """Times as if they were UTC: the file has no zone and, but for one empty hour, even steps."""
    default = Path(__file__).parents[3] / "shared" / "data" / "station_b.csv"
    path = Path(os.environ.get("POOLWATCH_STATION_B", default))
    if not path.exists():
        pytest.skip("station_b.csv is not here; POOLWATCH_STATION_B may name it")
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    start = datetime.strptime(rows[0]["TimeStep"], "%m/%d/%Y %H:%M:%S").replace(tzinfo=UTC)
    value = np.array([[float(row[name] or "nan") for row in rows] for name in COLUMNS])
    return Grid(int(start.timestamp() * 1000), STEP_MS, value, np.zeros(value.shape, dtype=np.uint32))


def series(chlorine: QualityRules = CHLORINE) -> list[Checked]:
    return [
        Checked(quantity, chlorine if n == 0 else QualityRules(), pool=0, interval_s=1200.0)
        for n, quantity in enumerate(COLUMNS.values())
    ]


@pytest.fixture(scope="module")
def flagged(station: Grid) -> Flagged:
    return grid_flags(station, series=series())


def instant(grid: Grid, text: str) -> int:
    found = int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)
    assert found >= grid.start_ms
    return found


def test_every_exact_zero_is_a_failed_dropout(station: Grid, flagged: Flagged) -> None:
    zero = station.value[0] == 0.0
    assert np.count_nonzero(zero) == 2055
    assert (flagged.flag[0, zero] == Flag.FAIL).all()
    assert (flagged.reason[0, zero] & Check.ZERO_DROPOUT).all()


def test_it_is_one_dropout_from_the_fall_to_the_repair_and_nothing_else_is(
    station: Grid, flagged: Flagged
) -> None:
    """0.25, then 0.01 for 37 hours, then 0.00: the fall is the dropout's begin, not the first exact zero."""
    found = flag_intervals(flagged, station)
    chosen = (found.series == 0) & (found.check == Check.ZERO_DROPOUT)
    assert found.start_ms[chosen].tolist() == [instant(station, "2006-02-26T07:00")]
    assert found.end_ms[chosen].tolist() == [instant(station, "2006-03-28T10:00")]
    # 2,055 at 0.00, and at 0.01 and 0.02 before and among them 110 + 1 + 1 + 2 + 1.
    assert found.count[chosen].tolist() == [2170]


def test_the_exact_zero_alone_would_be_found_hours_later(station: Grid) -> None:
    """Without a floor the last step is 0.02 to 0.00, no fall from above 0.2: only the pinned zero tells, after 6 h."""
    rules = QualityRules(zero_dropout_above=0.2, zero_pinned_s=21_600.0)
    found = grid_flags(station, series=series(rules))
    first = int(np.flatnonzero(found.reason[0] & Check.ZERO_DROPOUT)[0])
    assert station.start_ms + first * STEP_MS == instant(station, "2006-02-28T02:00")  # 20:00 + 6 h


def low_exceedances(grid: Grid, flag: NDArray[np.uint8]) -> list[tuple[int, int]]:
    """Below the 0.3 mg/L of a pool, of the good readings, confirmed over five minutes and two readings."""
    good = grid.value[:1].copy()
    good[flag[:1] != Flag.GOOD] = np.nan
    limits = LimitTable(
        series=np.array([0]),
        high=np.array([False]),
        value=np.array([0.3]),
        closed=np.array([True]),
        well=np.array([0.32]),
        from_ms=np.array([-FAR_MS]),
        to_ms=np.array([FAR_MS]),
    )
    always = RaggedSpans(np.array([[-FAR_MS, FAR_MS]]), np.array([0, 1]))
    first, age_ms = np.array([0]), np.array([3 * STEP_MS])
    found = judge_grid(
        Grid(grid.start_ms, grid.step_ms, good, grid.offset_ms[:1]),
        GridRules(limits, Rules(300_000, 300_000, age_ms, always, first), first, age_ms, always, first),
        now_ms=grid.end_ms,
    ).exceedances
    return list(zip(found.start_ms.tolist(), found.end_ms.tolist(), strict=True))


def test_the_dropout_is_no_chlorine_exceedance(station: Grid, flagged: Flagged) -> None:
    assert low_exceedances(station, flagged.flag) == []
    # What the flags are for: unflagged, the dead probe would be a month below the limit.
    unflagged = np.where(np.isnan(station.value), Flag.MISSING, Flag.GOOD).astype(np.uint8)
    assert (instant(station, "2006-02-26T06:40"), instant(station, "2006-03-28T10:20")) in low_exceedances(
        station, unflagged
    )


def test_the_live_judge_sees_the_same_day_by_day(station: Grid, flagged: Flagged) -> None:
    """Only today's readings, the last value before, and the other channels: each day's flags equal the whole record's."""
    at_ms = station.start_ms + np.arange(station.n_steps) * STEP_MS
    tracks = [Track(at_ms[~np.isnan(row)], row[~np.isnan(row)]) for row in station.value]
    moved = np.unique(np.concatenate([move_times(track, reach_ms=3 * STEP_MS) for track in tracks[1:]]))
    day = 72
    for first in range(day, station.n_steps, day):
        # Two days of rows, for the day-long flat line; one value before them.
        since = max(first - day - 4, 1)
        rows = slice(since, first + day)
        dropout = bool(flagged.reason[0, since - 1] & Check.ZERO_DROPOUT)
        found = series_flags(
            series()[0],
            measured_at_ms=at_ms[rows],
            value=station.value[0, rows],
            status=np.zeros(first + day - since, dtype=np.uint8),
            before=Before(int(at_ms[since - 1]), float(station.value[0, since - 1]), dropout=dropout),
            around=Surroundings(moved_at_ms=moved),
        )
        assert np.array_equal(found.flag[first - since :], flagged.flag[0, first : first + day])
        assert np.array_equal(found.reason[first - since :], flagged.reason[0, first : first + day])
