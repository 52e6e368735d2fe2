"""Flags: missing, status, plausible range, the exact zero of chlorine (DESIGN 12.9), the same edge cases everywhere."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.quality import Before, Flag, flags
from ingest.store.records import StatusCode

NAN = float("nan")
FC = "free_chlorine_mg_l"


def flag(
    values: list[float],
    *,
    quantity: str = FC,
    status: list[int] | None = None,
    step_ms: int = 10_000,
    interval_s: float | None = 10.0,
    before: Before | None = None,
) -> list[int]:
    found: list[int] = flags(
        quantity,
        measured_at_ms=np.arange(len(values), dtype=np.int64) * step_ms,
        value=np.array(values, dtype=np.float64),
        status=np.array(status if status is not None else [0] * len(values), dtype=np.uint8),
        interval_s=interval_s,
        before=before,
    ).tolist()
    return found


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], []),
        ([NAN], [9]),
        ([NAN, NAN], [9, 9]),
        ([0.5], [1]),
        ([NAN, 0.5, NAN], [9, 1, 9]),
        ([0.0], [1]),  # nothing speaks for a dropout
        ([0.5, 0.0, 0.0, 0.0, 0.4], [1, 3, 3, 3, 1]),
        ([0.5, NAN, 0.0], [1, 9, 1]),  # 20 s are more than one interval of 10 s
        ([0.2, 0.0], [1, 1]),  # above 0.2, not at it
        ([0.5, 0.3, 0.15, 0.05, 0.0, 0.0], [1, 1, 1, 1, 1, 1]),  # a decline to zero is real
        ([0.5, 0.0, 0.1, 0.0], [1, 3, 1, 1]),
        ([-0.1, 20.0, 20.1], [4, 1, 4]),
    ],
)
def test_free_chlorine_by_hand(values: list[float], expected: list[int]) -> None:
    assert flag(values) == expected


def test_a_zero_long_after_is_no_dropout() -> None:
    assert flag([0.5, 0.0], step_ms=15_000) == [1, 3]
    assert flag([0.5, 0.0], step_ms=15_001) == [1, 1]


def test_what_was_before_the_window_counts() -> None:
    assert flag([0.0, 0.0], before=Before(-10_000, 0.5, dropout=False)) == [3, 3]
    assert flag([0.0, 0.0], before=Before(-10_000, 0.0, dropout=True)) == [3, 3]
    assert flag([0.0, 0.0], before=Before(-10_000, 0.0, dropout=False)) == [1, 1]
    assert flag([0.5, 0.0], before=Before(-10_000, 0.0, dropout=True)) == [1, 3]


def test_people_and_other_quantities_may_read_zero() -> None:
    assert flag([0.5, 0.0], status=[0, StatusCode.MANUAL]) == [1, 1]
    assert flag([0.5, 0.0], status=[0, StatusCode.LABORATORY]) == [1, 1]
    assert flag([0.5, 0.0], quantity="turbidity_ntu") == [1, 1]


@pytest.mark.parametrize("status", list(StatusCode))
def test_only_three_statuses_are_results(status: StatusCode) -> None:
    expected = Flag.GOOD if status <= StatusCode.LABORATORY else Flag.FAIL
    assert flag([7.2], quantity="ph", status=[status]) == [expected]
    assert flag([NAN], quantity="ph", status=[status]) == [Flag.MISSING]


@settings(max_examples=300, deadline=None)
@given(values=st.lists(st.sampled_from([0.0, 0.0, 0.1, 0.5, NAN]), max_size=20), cut_at=st.integers(0, 20))
def test_dropouts_against_a_loop_and_cut_in_two(values: list[float], cut_at: int) -> None:
    expected: list[int] = []
    last: tuple[int, float] | None = None
    dropout = False
    lasts: list[Before | None] = [None]
    for index, value in enumerate(values):
        if np.isnan(value):
            expected.append(9)
        elif value == 0.0:
            if last is not None and last[1] != 0.0:
                dropout = last[1] > 0.2 and index - last[0] == 1
            expected.append(3 if dropout else 1)
            last = (index, value)
        else:
            dropout = False
            expected.append(1)
            last = (index, value)
        lasts.append(None if last is None else Before(last[0] * 10_000, last[1], dropout))
    assert flag(values) == expected
    rest = values[cut_at:]
    found = flags(
        FC,
        measured_at_ms=(np.arange(len(rest), dtype=np.int64) + cut_at) * 10_000,
        value=np.array(rest, dtype=np.float64),
        status=np.zeros(len(rest), dtype=np.uint8),
        interval_s=10.0,
        before=lasts[min(cut_at, len(values))],
    )
    assert found.tolist() == expected[cut_at:]
