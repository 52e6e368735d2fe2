"""All quality checks on the grid, on one core, beside `ioos_qc` where that is installed.

Usage: python benchmarks/quality.py [--pools N]

`ioos_qc` is no dependency of poolwatch: for the comparison install it beside poolwatch in an environment of its own.
"""

import argparse
import importlib
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analytics.grid import Grid
from analytics.quality import Check, Checked, Flag, Flagged, checks
from analytics.quality.on_grid import grid_flags
from analytics.standards.quality_rules import QualityRules
from gateway.contract.quantities import SPECS, Quantity
from ingest.store.records import StatusCode

_STEP_MS = 60_000
_T0 = 1_704_067_200_000
_DAYS = 30
_N_STEPS = _DAYS * 1440
_DAY_MS = 86_400_000
#: Values are multiples of 0.01: no size of a spike or of a rate lies on a threshold, where float32 and float64 may differ.
_SPIKE = (0.3025, 1.0025)
_RATE_PER_MIN = (0.505, 2.005)
_FLAT_S = (7200, 14_400)
_TOLERANCE = 0.005
_ADJACENT_MS = 90_000

#: Level, jitter and resolution of each channel of a pool.
_CHANNELS = (
    (Quantity.FREE_CHLORINE_MG_L, 0.6, 0.006, 0.01),
    (Quantity.PH, 7.4, 0.006, 0.01),
    (Quantity.WATER_TEMP_C, 27.5, 0.06, 0.1),
    (Quantity.ORP_MV, 720.0, 1.5, 1.0),
    (Quantity.FLOW_M3_H, 80.0, 0.3, 0.1),
)


def _rules(quantity: Quantity) -> QualityRules:
    """All checks that a profile could ask for of this quantity."""
    is_chlorine = quantity == Quantity.FREE_CHLORINE_MG_L
    scale = {Quantity.ORP_MV: 100.0, Quantity.FLOW_M3_H: 20.0, Quantity.WATER_TEMP_C: 4.0}.get(quantity, 1.0)
    return QualityRules(
        spike_suspect=_SPIKE[0] * scale,
        spike_fail=_SPIKE[1] * scale,
        rate_suspect_per_min=_RATE_PER_MIN[0] * scale,
        rate_fail_per_min=_RATE_PER_MIN[1] * scale,
        flat_line_s=_FLAT_S[0],
        flat_line_fail_s=_FLAT_S[1],
        flat_line_tolerance=_TOLERANCE,
        zero_dropout_above=0.2 if is_chlorine else None,
        zero_floor=0.02 if is_chlorine else 0.0,
        zero_pinned_s=21_600.0 if is_chlorine else None,
        reconnect_gap_s=300.0,
        neighbour_suspect=0.3 if is_chlorine else None,
        calibration_days=20.0,
        orp_low_mv=650.0 if quantity == Quantity.ORP_MV else None,
        orp_free_chlorine_mg_l=0.4 if quantity == Quantity.ORP_MV else None,
    )


def realistic_values(
    n_series: int, *, level: float, jitter: float, resolution: float, seed: int
) -> NDArray[np.float32]:
    """A month of minutes: a daily swing, 2 % outside in episodes, stretches that do not move, outliers, gaps."""
    rng = np.random.default_rng(seed)
    minute = np.arange(_N_STEPS)
    value = level * (1 + 0.05 * np.sin(minute / 229.0 + rng.random((n_series, 1)) * 6))
    value += rng.normal(0.0, jitter, value.shape)
    for row in value:
        for _ in range(_N_STEPS * 2 // 100 // 60):
            first, length = rng.integers(0, _N_STEPS - 120), rng.integers(5, 120)
            row[first : first + length] += level * rng.choice([-0.6, 0.6])
        for _ in range(3):
            first, length = rng.integers(0, _N_STEPS - 400), rng.integers(60, 400)
            row[first : first + length] = row[first]
    value[rng.random(value.shape) < 0.005] += level
    value = np.round(value / resolution) * resolution
    if level < 1:
        for row in value[::5]:
            first = rng.integers(0, _N_STEPS - 400)
            row[first : first + 300] = 0.0
    value[rng.random(value.shape) < 0.009] = np.nan
    for row in value:
        for _ in range(2):
            first = rng.integers(0, _N_STEPS - 30)
            row[first : first + rng.integers(6, 30)] = np.nan
    return value.astype(np.float32)


def realistic_status(n_series: int) -> NDArray[np.uint8]:
    """Maintenance and faults: an hour or so of every fourth series."""
    rng = np.random.default_rng(11)
    status = np.zeros((n_series, _N_STEPS), dtype=np.uint8)
    for row in status[::4]:
        first = rng.integers(0, _N_STEPS - 90)
        row[first : first + rng.integers(20, 90)] = rng.choice([StatusCode.MAINTENANCE, StatusCode.FAULT])
    return status


def realistic_grid(n_pools: int) -> tuple[Grid, list[Checked]]:
    """Pools of five channels, row by row; every tenth pool has a second chlorine sensor."""
    rows, series = [], []
    for number, (_, level, jitter, resolution) in enumerate(_CHANNELS):
        values = realistic_values(n_pools, level=level, jitter=jitter, resolution=resolution, seed=number)
        rows.append(values)
    again = realistic_values(n_pools // 10 + 1, level=0.6, jitter=0.006, resolution=0.01, seed=9)
    table = []
    for pool in range(n_pools):
        members = [(quantity, rows[number][pool]) for number, (quantity, *_) in enumerate(_CHANNELS)]
        if pool % 10 == 0:
            members.append((Quantity.FREE_CHLORINE_MG_L, again[pool // 10]))
        for quantity, values in members:
            table.append(values)
            checked = Checked(
                quantity,
                _rules(quantity),
                pool=pool,
                interval_s=60.0,
                begin_ms=_T0,
                calibrated_at_ms=(_T0 - 15 * _DAY_MS,)
                if pool % 20 == 0
                else (_T0 - _DAY_MS, _T0 + 14 * _DAY_MS),
            )
            series.append(checked)
    value = np.array(table)
    offset_ms = np.random.default_rng(5).integers(0, 2000, value.shape).astype(np.uint16)
    offset_ms[np.isnan(value)] = 0
    return Grid(_T0, _STEP_MS, value, offset_ms), series


def _seconds(call: Callable[[], object], *, repeats: int) -> float:
    """Best of several."""
    best = np.inf
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - began)
    return float(best)


def _qartod() -> Any | None:
    """`ioos_qc`'s checks, None where it is not installed."""
    try:
        return importlib.import_module("ioos_qc.qartod")
    except ImportError:
        return None


def _ioos(qartod: Any, values: NDArray[np.float32], *, flat: bool) -> list[dict[str, NDArray[np.uint8]]]:
    """What a user of `ioos_qc` would write: check after check for series after series."""
    spec = SPECS[Quantity.FREE_CHLORINE_MG_L]
    at_s = np.arange(_N_STEPS) * 60.0 + _T0 / 1000
    found = []
    for row in values:
        one = {
            "range": qartod.gross_range_test(row, (spec.low, spec.high)),
            "spike": qartod.spike_test(row, *_SPIKE),
            "rate": qartod.rate_of_change_test(row, at_s, _RATE_PER_MIN[0] / 60, _RATE_PER_MIN[1] / 60),
        }
        if flat:
            one["flat"] = qartod.flat_line_test(row, at_s, *_FLAT_S, _TOLERANCE)
        found.append({name: np.ma.getdata(flag).astype(np.uint8) for name, flag in one.items()})
    return found


def _common(*, flat: bool) -> QualityRules:
    """The checks that both have, with `ioos_qc`'s definition: a neighbour is the adjacent cell."""
    return QualityRules(
        spike_suspect=_SPIKE[0],
        spike_fail=_SPIKE[1],
        rate_suspect_per_min=_RATE_PER_MIN[0],
        rate_fail_per_min=_RATE_PER_MIN[1],
        reach_s=_ADJACENT_MS / 1000,
        flat_line_s=_FLAT_S[0] if flat else None,
        flat_line_fail_s=_FLAT_S[1] if flat else None,
        flat_line_tolerance=_TOLERANCE,
    )


def _each_check(values: NDArray[np.float32], at_ms: NDArray[np.int64]) -> dict[str, NDArray[np.uint8]]:
    """Our flags of each check, a neighbour being the adjacent cell."""
    spec = SPECS[Quantity.FREE_CHLORINE_MG_L]
    return {
        "range": checks.gross_range(values, low=spec.low, high=spec.high),
        "spike": checks.spike(values, at_ms=at_ms, suspect=_SPIKE[0], fail=_SPIKE[1], reach_ms=_ADJACENT_MS),
        "rate": checks.rate_of_change(
            values,
            at_ms=at_ms,
            suspect_per_min=_RATE_PER_MIN[0],
            fail_per_min=_RATE_PER_MIN[1],
            reach_ms=_ADJACENT_MS,
        ),
        "flat": checks.flat_line(
            values,
            at_ms=at_ms,
            suspect_ms=_FLAT_S[0] * 1000,
            fail_ms=_FLAT_S[1] * 1000,
            tolerance=_TOLERANCE,
        ),
    }


def _differing(grid: Grid, found: Flagged, theirs: Sequence[dict[str, NDArray[np.uint8]]]) -> tuple[int, int]:
    """How many flags differ where the definitions are the same, of how many; each check by itself.

    `ioos_qc` calls a rate or a flat line good where it cannot be evaluated. Its flat line looks over missing cells, so that
    is compared where none is within the longer window.
    """
    bits = {
        "range": Check.GROSS_RANGE,
        "spike": Check.SPIKE,
        "rate": Check.RATE_OF_CHANGE,
        "flat": Check.FLAT_LINE,
    }
    at_ms = _T0 + np.arange(_N_STEPS) * _STEP_MS
    differing = compared = 0
    for number, their in enumerate(theirs):
        row = grid.value[number]
        missing = np.cumsum(np.isnan(row))
        ours = _each_check(row, at_ms)
        for name, flag in their.items():
            here = np.ones(len(row), dtype=np.bool_)
            if name == "flat":
                window = _FLAT_S[1] // 60
                here[:window] = missing[:window] == 0
                here[window:] = missing[window:] == missing[:-window]
            mine = (
                ours[name]
                if name == "spike"
                else np.where(ours[name] == Flag.NOT_EVALUATED, Flag.GOOD, ours[name])
            )
            bad = (flag == Flag.SUSPECT) | (flag == Flag.FAIL)
            on_grid = (found.reason[number] & bits[name]) != 0
            differing += int(np.count_nonzero(here & ((mine != flag) | (on_grid != bad))))
            compared += int(np.count_nonzero(here))
    return differing, compared


def _compare(qartod: Any, values: NDArray[np.float32], *, flat: bool, repeats: int) -> float:
    """How many times faster on the checks that both have; refuses to say so where flags differ."""
    grid = Grid(_T0, _STEP_MS, values, np.zeros(values.shape, dtype=np.uint16))
    series = [Checked(Quantity.FREE_CHLORINE_MG_L, _common(flat=flat))] * len(values)
    ours = values.size / _seconds(lambda: grid_flags(grid, series=series), repeats=repeats)
    theirs: list[dict[str, NDArray[np.uint8]]] = []
    measured = values[:2] if flat else values[:6]
    took_s = _seconds(lambda: theirs.extend(_ioos(qartod, measured, flat=flat)), repeats=1 if flat else 3)
    differing, compared = _differing(grid, grid_flags(grid, series=series), theirs[: len(measured)])
    name = "range, spike, rate" + (", flat line" if flat else "")
    print(
        f"  {name:32s} {ours / 1e6:8.1f} M readings/s; ioos_qc {measured.size / took_s / 1e6:5.2f}: "
        f"x {ours * took_s / measured.size:.0f}; {differing} of {compared} flags differ"
    )
    assert differing == 0
    return float(ours * took_s / measured.size)


def run(*, n_pools: int = 40, repeats: int = 5) -> dict[str, float]:
    """Measure, print a table, return the figures."""
    grid, series = realistic_grid(n_pools)
    room = Flagged(np.empty(grid.value.shape, np.uint8), np.empty(grid.value.shape, np.uint16))
    status = realistic_status(grid.n_series)
    now_ms = grid.end_ms - _DAY_MS // 24
    per_s = grid.value.size / _seconds(
        lambda: grid_flags(grid, series=series, status=status, now_ms=now_ms, out=room), repeats=repeats
    )
    found = {check.name: np.count_nonzero(room.reason & check) / room.flag.size for check in Check}
    print(f"{grid.value.size / 1e6:.1f} M readings, float32, all checks")
    print("  found: " + ", ".join(f"{name} {share:.3%}" for name, share in found.items()))
    print(f"  {'all checks together':32s} {per_s / 1e6:8.1f} M readings/s")
    figures = {"quality_readings_per_s": per_s}
    qartod = _qartod()
    if qartod is None:
        print("  ioos_qc is not installed here: no comparison")
        return figures
    rows = [row for row, one in enumerate(series) if one.quantity == Quantity.FREE_CHLORINE_MG_L]
    chlorine = grid.value[rows].astype(np.float32)
    figures["x_ioos_qc"] = _compare(qartod, chlorine, flat=False, repeats=repeats)
    figures["x_ioos_qc_flat_line"] = _compare(qartod, chlorine, flat=True, repeats=repeats)
    return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pools", type=int, default=40)
    print(json.dumps(run(n_pools=parser.parse_args().pools)))
