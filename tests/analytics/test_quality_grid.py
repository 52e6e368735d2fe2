"""All checks on a grid = all checks on long rows = plain loops written from the definitions."""

from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.grid import Grid, empty_grid, scatter
from analytics.quality import Check, Checked, Flag, Surroundings, Track, move_times, on_grid, series_flags
from analytics.quality.blocks import _long_runs
from analytics.quality.intervals import flag_intervals
from analytics.quality.on_grid import grid_flags
from analytics.standards.quality_rules import QualityRules
from gateway.contract.quantities import SPECS, Quantity

STEP_MS = 60_000
T0 = 1_700_000_040_000 - 1_700_000_040_000 % STEP_MS
FC, PH, FLOW, ORP = (
    Quantity.FREE_CHLORINE_MG_L,
    Quantity.PH,
    Quantity.FLOW_M3_H,
    Quantity.ORP_MV,
)
NAN = float("nan")


@dataclass
class Row:
    """One series: present readings only."""

    checked: Checked
    at: list[int]
    value: list[float]
    status: list[int]


def limits_of(row: Row) -> tuple[int, int]:
    rules, interval_s = row.checked.rules, row.checked.interval_s or 0
    return round(max(rules.reach_s, 3 * interval_s) * 1000), round(rules.rate_over_s * 1000)


def probes(row: Row) -> list[int]:
    return [n for n in range(len(row.at)) if row.status[n] == 0]


def newest(row: Row, at: int, reach: int) -> float | None:
    """By walking back."""
    for n in reversed(probes(row)):
        if row.at[n] <= at:
            return row.value[n] if at - row.at[n] <= reach else None
    return None


def moves(row: Row) -> list[int]:
    reach, _ = limits_of(row)
    tolerance = row.checked.rules.flat_line_tolerance
    return [
        row.at[n]
        for m, n in pairwise(probes(row))
        if row.at[n] - row.at[m] <= reach and abs(row.value[n] - row.value[m]) > tolerance
    ]


def is_alive(row: Row, others: list[Row], at: int, span: int) -> bool:
    reach, _ = limits_of(row)
    flows = [newest(o, at, reach) for o in others if o.checked.quantity == FLOW]
    if any(flow is not None and flow > 0 for flow in flows):
        return True
    return any(at - span < move <= at for other in others for move in moves(other))


def by_loops(row: Row, others: list[Row], now: int | None) -> tuple[list[int], list[int]]:
    rules, checked = row.checked.rules, row.checked
    reach, over = limits_of(row)
    spec = SPECS[checked.quantity]
    n_rows = len(row.at)
    flag, reason = [1] * n_rows, [0] * n_rows

    def note(n: int, level: int, check: Check) -> None:
        flag[n] = max(flag[n], level)
        reason[n] |= int(check)

    for n in range(n_rows):
        at, value = row.at[n], row.value[n]
        if not spec.low <= value <= spec.high:
            note(n, 4, Check.GROSS_RANGE)
        if row.status[n] > 2:
            note(n, 4, Check.SENSOR_STATUS)
        if now is not None and at > now:
            note(n, 4, Check.TIME)
        if checked.begin_ms is not None and at < checked.begin_ms:
            note(n, 4, Check.TIME)
        done = [c for c in checked.calibrated_at_ms if c <= at]
        if (
            rules.calibration_days is not None
            and done
            and at - done[-1] > rules.calibration_days * 86_400_000
        ):
            note(n, 3, Check.CALIBRATION)
        if rules.reconnect_gap_s is not None and n and at - row.at[n - 1] > rules.reconnect_gap_s * 1000:
            note(n, 3, Check.RECONNECT)
    chain = probes(row)
    in_dropout = False
    for k, n in enumerate(chain):
        at, value = row.at[n], row.value[n]
        p = chain[k - 1] if k else None
        q = chain[k + 1] if k + 1 < len(chain) else None
        near = p is not None and at - row.at[p] <= reach
        if near and q is not None and row.at[q] - at <= reach:
            assert p is not None
            size = abs(value - (row.value[p] + row.value[q]) / 2)
            for level, bound in ((3, rules.spike_suspect), (4, rules.spike_fail)):
                if bound is not None and size > bound:
                    note(n, level, Check.SPIKE)
        if near:
            assert p is not None
            rate = abs(value - row.value[p]) * 60_000 / max(at - row.at[p], over)
            for level, bound in ((3, rules.rate_suspect_per_min), (4, rules.rate_fail_per_min)):
                if bound is not None and rate > bound:
                    note(n, level, Check.RATE_OF_CHANGE)
        for level, span_s in ((3, rules.flat_line_s), (4, rules.flat_line_fail_s)):
            if span_s is None:
                continue
            seen = []
            for j in range(k, -1, -1):
                m = chain[j]
                if j < k and row.at[chain[j + 1]] - row.at[m] > reach:
                    break
                seen.append(row.value[m])
                if max(seen) - min(seen) > rules.flat_line_tolerance:
                    break
                if at - row.at[m] >= span_s * 1000:
                    lives = not rules.flat_line_needs_flow or not others
                    if lives or is_alive(row, others, at, round(span_s * 1000)):
                        note(n, level, Check.FLAT_LINE)
                    break
        if rules.zero_dropout_above is not None:
            if abs(value) > rules.zero_floor:
                in_dropout = False
            else:
                if p is not None and abs(row.value[p]) > rules.zero_floor:
                    interval = checked.interval_s
                    in_time = interval is None or at - row.at[p] <= interval * 1500
                    in_dropout = row.value[p] > rules.zero_dropout_above and in_time
                since = at
                for j in range(k, -1, -1):
                    if abs(row.value[chain[j]]) > rules.zero_floor:
                        break
                    if j < k and row.at[chain[j + 1]] - row.at[chain[j]] > reach:
                        break
                    since = row.at[chain[j]]
                flows = [newest(o, at, reach) for o in others if o.checked.quantity == FLOW]
                known = [flow for flow in flows if flow is not None]
                stands = bool(known) and max(known) <= 0
                pinned_s = rules.zero_pinned_s
                pinned = pinned_s is not None and at - since >= pinned_s * 1000
                if pinned and pinned_s is not None:
                    pinned = is_alive(row, others, at, round(pinned_s * 1000))
                if in_dropout or stands or pinned:
                    note(n, 4, Check.ZERO_DROPOUT)
        if rules.neighbour_suspect is not None:
            for other in others:
                beside = newest(other, at, reach) if other.checked.quantity == checked.quantity else None
                if beside is not None and abs(value - beside) > rules.neighbour_suspect:
                    note(n, 3, Check.NEIGHBOUR)
        if checked.quantity == ORP and rules.orp_low_mv is not None and value < rules.orp_low_mv:
            for other in others:
                chlorine = newest(other, at, reach) if other.checked.quantity == FC else None
                bound = rules.orp_free_chlorine_mg_l
                if chlorine is not None and bound is not None and chlorine > bound:
                    note(n, 3, Check.ORP_CHLORINE)
    return flag, reason


def as_long(row: Row, others: list[Row], now: int | None, dtype: type[Any]) -> tuple[list[int], list[int]]:
    def track(one: Row) -> Track:
        chosen = probes(one)
        return Track(
            np.array([one.at[n] for n in chosen], dtype=np.int64),
            np.array([one.value[n] for n in chosen], dtype=dtype),
        )

    def of(quantity: Quantity) -> list[Track]:
        return [track(o) for o in others if o.checked.quantity == quantity]

    moved = [
        move_times(track(o), tolerance=o.checked.rules.flat_line_tolerance, reach_ms=limits_of(o)[0])
        for o in others
    ]
    found = series_flags(
        row.checked,
        measured_at_ms=np.array(row.at, dtype=np.int64),
        value=np.array(row.value, dtype=dtype),
        status=np.array(row.status, dtype=np.uint8),
        around=Surroundings(
            flow=of(FLOW),
            moved_at_ms=np.sort(np.concatenate(moved)) if moved else None,
            free_chlorine=of(FC),
            neighbours=of(row.checked.quantity),
        ),
        now_ms=now,
    )
    return found.flag.tolist(), found.reason.tolist()


def as_grid(rows: list[Row], n_steps: int, dtype: type[Any]) -> tuple[Grid, np.ndarray[Any, Any]]:
    grid = empty_grid(
        n_series=len(rows), start_ms=T0, end_ms=T0 + n_steps * STEP_MS, step_ms=STEP_MS, dtype=dtype
    )
    status = np.zeros(grid.value.shape, dtype=np.uint8)
    for s, row in enumerate(rows):
        at = np.array(row.at, dtype=np.int64)
        scatter(
            grid,
            series=np.full(len(at), s),
            measured_at_ms=at,
            value=np.array(row.value, dtype=dtype),
        )
        status[s, (at - T0) // STEP_MS] = row.status
    return grid, status


# Halves, quarters and eighths are exact in float32 and in float64, so that no comparison turns on rounding.
LEVELS = {
    FC: [0.0, 0.0, 0.0, 0.125, 0.5, 0.5, 0.625, 1.0, 30.0, -0.125],
    PH: [7.0, 7.0, 7.0, 7.125, 7.25, 8.0, 15.0],
    FLOW: [0.0, 0.0, 0.0, 100.0, 100.0, 101.0],
    ORP: [500.0, 500.0, 700.0, 701.0],
}


def some_rules(rng: Random) -> QualityRules:
    def some(*values: float) -> float | None:
        return rng.choice([None, *values])

    return QualityRules(
        spike_suspect=some(0.0, 0.125, 0.3125),
        spike_fail=some(0.5),
        rate_suspect_per_min=some(0.0, 0.25),
        rate_fail_per_min=some(0.5),
        rate_over_s=rng.choice([1.0, 60.0, 120.0]),
        reach_s=rng.choice([60.0, 90.0, 240.0, 900.0]),
        flat_line_s=some(0.0, 120.0, 300.0, 2400.0),
        flat_line_fail_s=some(600.0),
        flat_line_tolerance=rng.choice([0.0, 0.125, 0.25]),
        flat_line_needs_flow=rng.choice([False, True]),
        zero_dropout_above=some(0.0, 0.25),
        zero_floor=rng.choice([0.0, 0.125]),
        zero_pinned_s=some(0.0, 180.0, 600.0),
        reconnect_gap_s=some(60.0, 180.0),
        neighbour_suspect=some(0.0, 0.125),
        calibration_days=some(0.0, 0.01),
        orp_low_mv=some(650.0),
        orp_free_chlorine_mg_l=some(0.25),
    )


def some_pools(seed: int) -> tuple[list[Row], int, int | None]:
    """A few series of a few pools, with stretches of one value, so that flat lines and long gaps happen."""
    rng = Random(seed)
    n_steps = rng.randint(1, 80)
    now = rng.choice([None, T0 + rng.randint(0, n_steps * STEP_MS)])
    jitter = rng.random() < 0.5
    rows = []
    for _ in range(rng.randint(1, 5)):
        quantity = rng.choice([FC, FC, PH, FLOW, ORP])
        cells: list[float | None] = []
        while len(cells) < n_steps:
            cells += [rng.choice([None, *LEVELS[quantity]])] * rng.choice([1, 1, 2, 3, 12, 30])
        kept = [step for step in range(n_steps) if cells[step] is not None]
        rows.append(
            Row(
                Checked(
                    quantity=quantity,
                    rules=some_rules(rng),
                    pool=rng.choice([1, 1, 1, 2, None]),
                    interval_s=rng.choice([None, 10.0, 60.0, 100.0]),
                    begin_ms=rng.choice([None, T0 - 5, T0 + 90_000]),
                    calibrated_at_ms=rng.choice([(), (T0 - 1_000_000,), (T0, T0 + 1_200_000)]),
                ),
                at=[T0 + step * STEP_MS + (rng.randrange(STEP_MS) if jitter else 0) for step in kept],
                value=[cell for cell in cells[:n_steps] if cell is not None],
                status=[rng.choice([0] * 12 + [1, 3, 5]) for _ in kept],
            )
        )
    return rows, n_steps, now


@settings(max_examples=400, deadline=None)
@given(seed=st.integers(0, 2**63), dtype=st.sampled_from([np.float32, np.float64]))
def test_grid_and_long_rows_and_loops_agree(seed: int, dtype: type[Any]) -> None:
    rows, n_steps, now = some_pools(seed)
    grid, status = as_grid(rows, n_steps, dtype)
    found = grid_flags(grid, series=[row.checked for row in rows], status=status, now_ms=now)
    for s, row in enumerate(rows):
        others = [
            other
            for other in rows
            if other is not row and row.checked.pool is not None and other.checked.pool == row.checked.pool
        ]
        flag, reason = by_loops(row, others, now)
        assert as_long(row, others, now, dtype) == (flag, reason)
        column = (np.array(row.at, dtype=np.int64) - T0) // STEP_MS
        assert found.flag[s, column].tolist() == flag
        assert found.reason[s, column].tolist() == reason
        rest = np.ones(n_steps, dtype=np.bool_)
        rest[column] = False
        assert (found.flag[s, rest] == Flag.MISSING).all()
        assert (found.reason[s, rest] == Check.GAP).all()


@settings(max_examples=100, deadline=None)
@given(breaks=st.lists(st.booleans(), max_size=200), min_cells=st.integers(24, 60))
def test_long_runs_by_words_are_those_by_cells(breaks: list[bool], min_cells: int) -> None:
    breaks = [True, *breaks]
    mask = np.array(breaks + [True] * (-len(breaks) % 8), dtype=np.bool_)
    start, end = _long_runs(mask, (min_cells - 8) // 8)
    at = [n for n, is_break in enumerate(mask) if is_break] + [len(mask)]
    expected = [(a, b) for a, b in pairwise(at) if b - a >= min_cells]
    found = [(a, b) for a, b in zip(start.tolist(), end.tolist(), strict=True) if b - a >= min_cells]
    assert found == expected


def realistic(n_series: int, n_steps: int, *, seed: int) -> Grid:
    rng = np.random.default_rng(seed)
    value = (0.6 + rng.normal(0.0, 0.01, (n_series, n_steps))).round(2)
    value[rng.random(value.shape) < 0.005] = 3.0
    value[rng.random(value.shape) < 0.01] = NAN
    for s in range(n_series):
        first = int(rng.integers(0, n_steps - 300))
        value[s, first : first + 250] = (0.0, 0.6)[s % 2]
    return Grid(T0, STEP_MS, value.astype(np.float32), np.zeros(value.shape, dtype=np.uint16))


def test_rows_of_many_blocks_and_in_any_order_are_flagged_as_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks, buffers and groups leave no trace: each row by itself gives the same."""
    monkeypatch.setattr(on_grid, "BLOCK_CELLS", 20_000)
    monkeypatch.setattr(on_grid, "_MOST_FLAT", 500)
    grid = realistic(60, 3001, seed=7)
    rules = QualityRules(
        spike_suspect=0.3,
        rate_fail_per_min=0.5,
        flat_line_s=7200.0,
        zero_dropout_above=0.2,
        reconnect_gap_s=60.0,
    )
    series = [Checked(FC if s % 3 else PH, rules, interval_s=60.0 + s % 2) for s in range(60)]
    whole = grid_flags(grid, series=series)
    for s in range(60):
        alone = Grid(T0, STEP_MS, grid.value[s : s + 1], grid.offset_ms[s : s + 1])
        one = grid_flags(alone, series=series[s : s + 1])
        assert np.array_equal(whole.flag[s], one.flag[0])
        assert np.array_equal(whole.reason[s], one.reason[0])
    assert (whole.reason & Check.FLAT_LINE).any()
    assert (whole.reason & Check.ZERO_DROPOUT).any()


def test_intervals_by_hand() -> None:
    #        0    1    2    3    4    5     6    7
    value = [0.5, 0.0, NAN, 0.0, 0.5, 30.0, NAN, NAN]
    offset_ms = np.where(np.isnan(value), 0, 500).astype(np.uint16).reshape(1, 8)
    grid = Grid(T0, STEP_MS, np.array([value], dtype=np.float32), offset_ms)
    checked = Checked(FC, QualityRules(zero_dropout_above=0.2))
    found = flag_intervals(grid_flags(grid, series=[checked]), grid)
    rows = list(
        zip(
            found.check.tolist(),
            found.flag.tolist(),
            ((found.start_ms - T0) // 1000).tolist(),
            ((found.end_ms - T0) // 1000).tolist(),
            found.count.tolist(),
            strict=True,
        )
    )
    assert rows == [
        (Check.GAP, 9, 120, 180, 1),
        (Check.GAP, 9, 360, 480, 2),
        (Check.GROSS_RANGE, 4, 300, 300, 1),
        (Check.ZERO_DROPOUT, 4, 60, 180, 2),
    ]
    assert found.series.tolist() == [0, 0, 0, 0]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**63))
def test_intervals_count_every_reason_once(seed: int) -> None:
    rows, n_steps, now = some_pools(seed)
    grid, status = as_grid(rows, n_steps, np.float64)
    flagged = grid_flags(grid, series=[row.checked for row in rows], status=status, now_ms=now)
    found = flag_intervals(flagged, grid)
    assert (found.end_ms >= found.start_ms).all()
    for check in Check:
        for s in range(len(rows)):
            chosen = (found.check == check) & (found.series == s)
            assert found.count[chosen].sum() == np.count_nonzero(flagged.reason[s] & check)
            assert (found.start_ms[chosen][1:] > found.end_ms[chosen][:-1]).all() or check == Check.GAP


def test_what_does_not_fit_the_grid_is_refused() -> None:
    grid = realistic(2, 301, seed=1)
    with pytest.raises(ValueError, match="1 series for 2 rows"):
        grid_flags(grid, series=[Checked(FC)])
    with pytest.raises(ValueError, match="status has the shape"):
        grid_flags(grid, series=[Checked(FC)] * 2, status=np.zeros((2, 3), dtype=np.uint8))


@pytest.mark.parametrize("shape", [(0, 0), (3, 0), (0, 5)])
def test_a_grid_of_nothing(shape: tuple[int, int]) -> None:
    grid = Grid(T0, STEP_MS, np.empty(shape, dtype=np.float32), np.empty(shape, dtype=np.uint16))
    found = grid_flags(grid, series=[Checked(FC)] * shape[0])
    assert found.flag.shape == found.reason.shape == shape
    assert len(flag_intervals(found, grid).series) == 0
