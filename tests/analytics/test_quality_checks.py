"""Each check by itself: one table of edge cases over all of them, examples by hand, and the one merge."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.quality import (
    Before,
    Check,
    Checked,
    Flag,
    Surroundings,
    Track,
    look_back_ms,
    series_flags,
    worst,
)
from analytics.quality import checks as c
from analytics.standards.quality_rules import QualityRules
from gateway.contract.quantities import Quantity

NAN = float("nan")
MIN = 60_000
FC = Quantity.FREE_CHLORINE_MG_L
Run = Callable[[Any, Any], Any]

#: Every check with every threshold off or as far off as it goes, at zero, and at an ordinary value.
CHECKS: dict[str, dict[str, Run]] = {
    "gap": {"on": lambda v, _: c.gap(v)},
    "gross_range": {
        "off": lambda v, _: c.gross_range(v, low=NAN, high=NAN),
        "zero": lambda v, _: c.gross_range(v, low=0.0, high=0.0),
        "on": lambda v, _: c.gross_range(v, low=0.0, high=20.0),
    },
    "spike": {
        "off": lambda v, t: c.spike(v, at_ms=t, suspect=None, fail=NAN),
        "zero": lambda v, t: c.spike(v, at_ms=t, suspect=0.0, fail=None),
        "on": lambda v, t: c.spike(v, at_ms=t, suspect=0.3, fail=1.0),
    },
    "rate_of_change": {
        "off": lambda v, t: c.rate_of_change(v, at_ms=t, suspect_per_min=NAN, fail_per_min=None),
        "zero": lambda v, t: c.rate_of_change(v, at_ms=t, suspect_per_min=0.0, fail_per_min=None),
        "on": lambda v, t: c.rate_of_change(v, at_ms=t, suspect_per_min=0.3, fail_per_min=1.0),
    },
    "flat_line": {
        "off": lambda v, t: c.flat_line(v, at_ms=t, suspect_ms=None, fail_ms=None),
        "zero": lambda v, t: c.flat_line(v, at_ms=t, suspect_ms=0, fail_ms=None),
        "on": lambda v, t: c.flat_line(v, at_ms=t, suspect_ms=2 * MIN, fail_ms=4 * MIN, tolerance=0.1),
    },
    "zero_dropout": {
        "off": lambda v, t: c.zero_dropout(v, at_ms=t, above=None),
        "zero": lambda v, t: c.zero_dropout(v, at_ms=t, above=0.0),
        "on": lambda v, t: c.zero_dropout(v, at_ms=t, above=0.2, floor=0.02, pinned_ms=3 * MIN),
    },
    "reconnect": {
        "zero": lambda v, t: c.reconnect(v, at_ms=t, gap_ms=0),
        "on": lambda v, t: c.reconnect(v, at_ms=t, gap_ms=2 * MIN),
    },
    "sensor_status": {"on": lambda v, _: c.sensor_status(v, status=np.zeros(v.shape, dtype=np.uint8))},
    "calibration": {
        "off": lambda v, t: c.calibration(v, at_ms=t, calibrated_at_ms=(), overdue_ms=0),
        "zero": lambda v, t: c.calibration(v, at_ms=t, calibrated_at_ms=(0,), overdue_ms=0),
        "on": lambda v, t: c.calibration(v, at_ms=t, calibrated_at_ms=(0,), overdue_ms=9 * MIN),
    },
    "neighbour": {
        "off": lambda v, _: c.neighbour(v, other=v, suspect=None),
        "zero": lambda v, _: c.neighbour(v, other=v, suspect=0.0),
        "on": lambda v, _: c.neighbour(v, other=np.full_like(v, 0.5), suspect=0.2),
    },
    "orp_chlorine": {
        "zero": lambda v, _: c.orp_chlorine(v, free_chlorine_mg_l=v, low_mv=0.0, above_mg_l=0.0),
        "on": lambda v, _: c.orp_chlorine(v, free_chlorine_mg_l=v, low_mv=650.0, above_mg_l=0.4),
    },
    "plausible_time": {
        "off": lambda v, t: c.plausible_time(v, at_ms=t, begin_ms=None, now_ms=None),
        "on": lambda v, t: c.plausible_time(v, at_ms=t, begin_ms=0, now_ms=9 * MIN),
    },
}
#: What a check without thresholds may not say, and what one that sees nothing odd says.
QUIET = {Flag.GOOD, Flag.NOT_EVALUATED}
EDGES: dict[str, tuple[list[float], list[int]]] = {
    "empty": ([], []),
    "one": ([0.5], [1]),
    "all missing": ([NAN] * 3, [0, 1, 2]),
    "first missing": ([NAN, 0.5, 0.5], [0, 1, 2]),
    "last missing": ([0.5, 0.5, NAN], [0, 1, 2]),
    "single gap": ([0.5, 0.5, NAN, 0.5, 0.5], [0, 1, 2, 3, 4]),
    "only ends": ([0.5, NAN, NAN, 0.5], [0, 1, 2, 3]),
    "one time twice": ([0.5, 0.5, 0.5], [0, 1, 1]),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize(("name", "setting"), [(n, s) for n, settings_ in CHECKS.items() for s in settings_])
def test_edge_cases_of_every_check(name: str, setting: str, edge: str, dtype: type[Any]) -> None:
    numbers, minutes = EDGES[edge]
    value, at_ms = np.array(numbers, dtype=dtype), np.array(minutes, dtype=np.int64) * MIN
    run = CHECKS[name][setting]
    flag = run(value, at_ms)
    assert flag.dtype == np.uint8
    assert flag.shape == value.shape
    # Missing is missing and nothing else is, in every check alike.
    assert ((flag == Flag.MISSING) == np.isnan(value)).all()
    assert set(flag.tolist()) <= set(Flag)
    if setting == "off":
        assert set(flag[~np.isnan(value)].tolist()) <= QUIET
    # Several series at once are each flagged as alone.
    if name != "calibration":
        both = run(np.stack([value, value[::-1]]), np.stack([at_ms, at_ms]))
        assert both[0].tolist() == flag.tolist()
        assert both[1].tolist() == run(np.ascontiguousarray(value[::-1]), at_ms).tolist()
    assert worst([flag, flag]).tolist() == flag.tolist()


def flagged(name: str, setting: str, values: list[float]) -> list[int]:
    at_ms = np.arange(len(values), dtype=np.int64) * MIN
    found: list[int] = CHECKS[name][setting](np.array(values), at_ms).tolist()
    return found


@pytest.mark.parametrize(
    ("name", "setting", "values", "expected"),
    [
        ("gap", "on", [0.5, NAN], [1, 9]),
        ("gross_range", "on", [-0.1, 0.0, 20.0, 20.1], [4, 1, 1, 4]),
        ("gross_range", "zero", [0.0, 0.1, -0.1], [1, 4, 4]),  # a threshold of 0 is one
        ("spike", "on", [0.5, 0.5, 0.9, 0.5, 3.0, 0.5], [2, 1, 3, 4, 4, 2]),  # 0.4; then 1.45 down, 2.5 up
        ("spike", "on", [0.5, NAN, 0.9, NAN, 0.5], [2, 9, 3, 9, 2]),  # gaps are skipped
        ("spike", "zero", [0.5, 0.5, 0.625, 0.75], [2, 3, 1, 2]),
        ("rate_of_change", "on", [0.5, 0.9, 0.9, 2.0], [2, 3, 1, 4]),
        ("rate_of_change", "on", [0.5, NAN, 0.9, NAN, NAN, 2.0], [2, 9, 1, 9, 9, 3]),  # 0.2 and 0.37 a minute
        ("rate_of_change", "zero", [0.5, 0.5, 0.6], [2, 1, 3]),
        ("flat_line", "on", [0.5, 0.5, 0.5, 0.55, 0.5, 0.7], [2, 1, 3, 3, 4, 1]),
        ("flat_line", "on", [0.5, 0.56, 0.62, 0.68], [2, 1, 1, 1]),  # small steps add up
        ("flat_line", "zero", [0.5, 0.6], [3, 3]),  # after no time at all
        ("zero_dropout", "on", [0.5, 0.01, 0.0, 0.02, 0.03], [1, 4, 4, 4, 1]),
        ("zero_dropout", "on", [0.2, 0.0, 0.0], [1, 1, 1]),
        ("reconnect", "on", [0.5, NAN, NAN, 0.5, 0.5], [2, 9, 9, 3, 1]),
        ("reconnect", "on", [0.5, NAN, 0.5], [2, 9, 1]),  # two minutes are not more than two
        ("calibration", "on", [0.5] * 11, [1] * 10 + [3]),
        ("calibration", "off", [0.5], [2]),
        ("neighbour", "on", [0.5, 0.7, 0.71, NAN], [1, 1, 3, 9]),
        ("neighbour", "zero", [0.5, 0.6], [1, 1]),
        ("plausible_time", "on", [0.5] * 11, [1] * 10 + [4]),
    ],
)
def test_by_hand(name: str, setting: str, values: list[float], expected: list[int]) -> None:
    assert flagged(name, setting, values) == expected


def test_status_orp_and_flow_by_hand() -> None:
    value = np.array([7.0, 7.0, NAN])
    status = np.array([2, 5, 5], dtype=np.uint8)
    assert c.sensor_status(value, status=status).tolist() == [1, 4, 9]
    orp = np.array([600.0, 600.0, 600.0, 700.0, NAN])
    chlorine = np.array([0.5, 0.4, NAN, 0.5, 0.5])
    found = c.orp_chlorine(orp, free_chlorine_mg_l=chlorine, low_mv=650.0, above_mg_l=0.4)
    assert found.tolist() == [3, 1, 2, 1, 9]
    zero, at_ms = np.zeros(5), np.arange(5, dtype=np.int64) * MIN
    lives = np.array([True, True, True, False, True])
    pinned = c.zero_dropout(zero, at_ms=at_ms, above=0.2, pinned_ms=2 * MIN, alive=lives)
    assert pinned.tolist() == [1, 1, 4, 1, 4]
    assert c.zero_dropout(zero, at_ms=at_ms, above=0.2, stands=~lives).tolist() == [1, 1, 1, 4, 1]
    assert c.flat_line(zero, at_ms=at_ms, suspect_ms=2 * MIN, fail_ms=None, alive=lives).tolist() == [
        2,
        1,
        3,
        1,
        3,
    ]
    early = c.plausible_time(zero, at_ms=at_ms, begin_ms=MIN, now_ms=None)
    assert early.tolist() == [4, 1, 1, 1, 1]


def test_a_neighbour_out_of_reach_says_nothing() -> None:
    value, at_ms = np.array([0.5, 3.0, 0.5]), np.array([0, 10, 11]) * MIN
    assert c.spike(value, at_ms=at_ms, suspect=0.1, fail=None, reach_ms=9 * MIN).tolist() == [2, 2, 2]
    found = c.rate_of_change(value, at_ms=at_ms, suspect_per_min=0.1, fail_per_min=None, reach_ms=9 * MIN)
    assert found.tolist() == [2, 2, 3]
    assert c.spike(value, at_ms=at_ms, suspect=0.1, fail=None, reach_ms=10 * MIN).tolist() == [2, 3, 2]


def test_the_merge_keeps_the_worst_and_the_missing() -> None:
    order = [Flag.NOT_EVALUATED, Flag.GOOD, Flag.SUSPECT, Flag.FAIL, Flag.MISSING]
    for low, lower in enumerate(order):
        for higher in order[low:]:
            one, other = np.array([lower], dtype=np.uint8), np.array([higher], dtype=np.uint8)
            assert worst([one, other]).tolist() == worst([other, one]).tolist() == [higher]


RULES = QualityRules(
    spike_suspect=0.25,
    rate_suspect_per_min=0.25,
    reach_s=300.0,
    flat_line_s=240.0,
    zero_dropout_above=0.25,
    reconnect_gap_s=120.0,
)


@settings(max_examples=200, deadline=None)
@given(
    values=st.lists(st.sampled_from([0.0, 0.0, 0.5, 0.5, 1.0, NAN]), max_size=30), cut_at=st.integers(0, 30)
)
def test_a_window_with_what_was_before_it_flags_as_the_whole(values: list[float], cut_at: int) -> None:
    """Streaming is batch: rows back to `look_back_ms`, and `before`, give the flags of the whole record."""
    checked = Checked(FC, RULES, interval_s=60.0)
    at_ms, value = np.arange(len(values), dtype=np.int64) * MIN, np.array(values, dtype=np.float64)
    status = np.zeros(len(values), dtype=np.uint8)
    whole = series_flags(checked, measured_at_ms=at_ms, value=value, status=status)
    first = max(min(cut_at, len(values)) - look_back_ms(checked) // MIN - 1, 0)
    earlier = [n for n in range(first) if not np.isnan(value[n])]
    before = None
    if earlier:
        last = earlier[-1]
        dropout = bool(whole.reason[last] & Check.ZERO_DROPOUT)
        before = Before(int(at_ms[last]), float(value[last]), dropout=dropout)
    part = series_flags(
        checked, measured_at_ms=at_ms[first:], value=value[first:], status=status[first:], before=before
    )
    wanted = min(cut_at, len(values))
    assert part.flag[wanted - first :].tolist() == whole.flag[wanted:].tolist()
    assert part.reason[wanted - first :].tolist() == whole.reason[wanted:].tolist()


def test_only_the_spike_looks_at_a_later_reading() -> None:
    at_ms, status = np.arange(3, dtype=np.int64) * MIN, np.zeros(3, dtype=np.uint8)
    checked = Checked(FC, QualityRules(spike_fail=0.3))
    value = np.array([0.5, 1.5, 0.5])
    newest = series_flags(checked, measured_at_ms=at_ms[:2], value=value[:2], status=status[:2])
    assert newest.flag.tolist() == [1, 1]
    later = series_flags(checked, measured_at_ms=at_ms, value=value, status=status)
    assert later.flag.tolist() == [1, 4, 1]
    assert later.reason.tolist() == [0, Check.SPIKE, 0]


def test_a_decline_to_zero_is_no_dropout_and_one_pinned_for_hours_is() -> None:
    """DESIGN 12.9: 0.5 to 0 in steps of 0.05 a minute, then zero for seven hours in a pool whose pH goes on moving."""
    value = np.concatenate((np.arange(10, 0, -1) * 0.05, np.zeros(420)))
    at_ms = np.arange(len(value), dtype=np.int64) * MIN
    rules = QualityRules(zero_dropout_above=0.2, zero_floor=0.02, zero_pinned_s=21_600.0)
    checked = Checked(FC, rules, interval_s=60.0)
    status = np.zeros(len(value), dtype=np.uint8)
    around = Surroundings(moved_at_ms=at_ms)
    found = series_flags(checked, measured_at_ms=at_ms, value=value, status=status, around=around)
    # Zero from minute 10 on: six hours later, at minute 370, it is no measurement any more.
    assert found.flag.tolist() == [1] * 370 + [4] * 60
    alone = series_flags(checked, measured_at_ms=at_ms, value=value, status=status)
    assert alone.flag.tolist() == [1] * 430
    stands = Surroundings(flow=[Track(at_ms, np.zeros(len(value)))])
    dry = series_flags(checked, measured_at_ms=at_ms, value=value, status=status, around=stands)
    assert dry.flag.tolist() == [1] * 10 + [4] * 420
