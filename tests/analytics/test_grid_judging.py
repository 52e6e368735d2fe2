"""Whole histories: the vectorised core and plain loops, against each other and against cases done by hand."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.spans import FAR_MS
from tests.analytics.brute_force import End, Lapse, Piece, Reading, Span
from tests.analytics.cities import (
    ALWAYS,
    MINUTE_MS,
    START_MS,
    City,
    Dtype,
    Judged,
    Row,
    judge_fast,
    judge_slow,
    minutes,
)
from tests.analytics.drawn_cities import cities

HIGH = End(high=True, value=1.0, closed=True, well=0.98, from_ms=-FAR_MS, to_ms=FAR_MS)
LOW = End(high=False, value=0.3, closed=True, well=0.32, from_ms=-FAR_MS, to_ms=FAR_MS)


def at(minute: float) -> int:
    """An instant, in minutes from the start."""
    return START_MS + round(minute * MINUTE_MS)


def one_pool(
    readings: list[Reading],
    *ends: End,
    opening: list[Span] | None = None,
    now: float = 60,
    gap: int = 15,
    dtype: Dtype = np.float64,
) -> City:
    """One series of one pool that is always open, confirmed and cleared after five minutes."""
    return City(
        readings=[readings],
        rows=[Row(0, end) for end in ends or (HIGH,)],
        pool_of=[0],
        group=[0],
        gap_ms=[gap * MINUTE_MS],
        age_ms=[15 * MINUTE_MS],
        opening=[ALWAYS if opening is None else opening],
        bound=[[(START_MS, FAR_MS)]],
        begin_ms=[-FAR_MS],
        confirm_ms=300_000,
        clear_ms=300_000,
        n_steps=120,
        now_ms=at(now),
        dtype=dtype,
    )


def both(city: City) -> Judged:
    """What loops and core agree on."""
    judged = judge_fast(city)
    assert judged == judge_slow(city)
    return judged


# Against the loops


@settings(max_examples=400, deadline=None)
@given(city=cities())
def test_the_core_equals_plain_loops(city: City) -> None:
    assert judge_fast(city) == judge_slow(city)


@settings(max_examples=100, deadline=None)
@given(city=cities(), cells=st.sampled_from([1, 61, 100, 181]))
def test_one_screen_in_parts_for_both_equals_plain_loops(city: City, cells: int) -> None:
    assert judge_fast(city, cells_at_once=cells) == judge_slow(city)


# By hand: the loops and the core are both held to these


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("closed", ["closed", "open"])
@pytest.mark.parametrize("end", [HIGH, LOW, replace(HIGH, value=0.7, well=0.7), replace(LOW, well=0.3)])
def test_a_reading_on_a_closed_limit_passes_and_one_step_beyond_fails(
    dtype: Dtype, closed: str, end: End
) -> None:
    end = replace(end, closed=closed == "closed")
    on_limit = float(dtype(end.value))
    beyond = float(np.nextafter(dtype(end.value), dtype(np.inf if end.high else -np.inf)))
    inside = float(np.nextafter(dtype(end.value), dtype(0.5)))
    found = [
        both(one_pool(minutes(*[value] * 6), end, now=5, dtype=dtype)).exceedances[0]
        for value in (inside, on_limit, beyond)
    ]
    assert found[0] == []
    assert found[1] == ([] if end.closed else [Piece(at(0), None, on_limit, None)])
    assert found[2] == [Piece(at(0), None, beyond, None)]


def test_confirmed_after_exactly_five_minutes_and_cleared_at_the_first_well_inside() -> None:
    short = minutes(*[2.0] * 5, *[0.5] * 6)
    short[4] = (at(5) - 1, 2.0)
    assert both(one_pool(short)).exceedances == [[]]
    exact = minutes(*[2.0] * 5, 2.5, *[0.5] * 6)
    assert both(one_pool(exact, now=11)).exceedances == [[Piece(at(0), at(6), 2.5, None)]]
    assert both(one_pool(exact[:-1], now=10)).exceedances == [[Piece(at(0), None, 2.5, None)]]


def test_the_hysteresis_band_breaks_a_clearing_and_a_run() -> None:
    cleared_late = minutes(*[2.0] * 6, *[0.5] * 3, 0.99, *[0.5] * 6)
    assert both(one_pool(cleared_late, now=15)).exceedances == [[Piece(at(0), at(10), 2.0, None)]]
    assert both(one_pool(minutes(*[2.0] * 4, 0.99, *[2.0] * 4), now=8)).exceedances == [[]]


def test_two_readings_are_needed() -> None:
    lone = one_pool(minutes(2.0), now=1)
    assert both(replace(lone, confirm_ms=0)).exceedances == [[]]
    pair = one_pool(minutes(2.0, 2.0), now=1)
    assert both(replace(pair, confirm_ms=0)).exceedances == [[Piece(at(0), None, 2.0, None)]]


def test_a_gap_forgets_a_run_but_not_an_exceedance() -> None:
    torn = minutes(*[2.0] * 4) + minutes(*[2.0] * 4, first=30)
    assert both(one_pool(torn, now=33)).exceedances == [[]]
    silent = minutes(*[2.0] * 6)
    assert both(one_pool(silent, now=20)).exceedances == [[Piece(at(0), None, 2.0, None)]]
    assert both(one_pool(silent, now=21)).exceedances == [[Piece(at(0), None, 2.0, at(5))]]
    torn_clearing = silent + minutes(*[0.5] * 4, first=30) + minutes(*[0.5] * 6, first=50)
    assert both(one_pool(torn_clearing, now=55)).exceedances == [[Piece(at(0), at(50), 2.0, None)]]


def test_a_gap_with_closed_time_resets_and_a_night_that_was_measured_does_not() -> None:
    opening = [(at(-60), at(10)), (at(20), at(100))]
    silent = minutes(*[2.0] * 6) + minutes(*[2.0] * 3, first=30)
    assert both(one_pool(silent, opening=opening, now=32)).exceedances == [[Piece(at(0), at(10), 2.0, None)]]
    measured = minutes(*[2.0] * 33)
    assert both(one_pool(measured, opening=opening, now=32)).exceedances == [
        [Piece(at(0), at(10), 2.0, None), Piece(at(20), None, 2.0, None)]
    ]
    last_reading_at_closing = minutes(*[2.0] * 11)
    assert both(one_pool(last_reading_at_closing, opening=opening, now=30)).exceedances == [
        [Piece(at(0), at(10), 2.0, None)]
    ]


def test_a_gap_up_to_the_instant_of_closing_holds_no_closed_time() -> None:
    neither = [0.99] * 12
    for closes, pieces in (
        (30, [Piece(at(0), at(30), 2.0, None), Piece(at(40), None, 0.99, None)]),
        (29.9, [Piece(at(0), at(29.9), 2.0, None)]),
    ):
        city = one_pool(
            minutes(*[2.0] * 6) + minutes(*neither, first=30),
            opening=[(at(-60), at(closes)), (at(40), at(100))],
            now=41,
        )
        assert both(city).exceedances == [pieces]


def test_raised_in_closed_time_begins_when_the_pool_opens() -> None:
    opening = [(at(8), at(100))]
    assert both(one_pool(minutes(*[2.0] * 7, *[1.5] * 3), opening=opening, now=9)).exceedances == [
        [Piece(at(8), None, 1.5, None)]
    ]
    no_reading_yet = one_pool(minutes(*[2.0] * 8), opening=opening, now=8)
    assert both(no_reading_yet).exceedances == [[Piece(at(8), None, None, None)]]
    assert both(replace(no_reading_yet, now_ms=at(8) - 1)).exceedances == [[]]


def test_a_limit_judges_readings_of_its_own_time_only() -> None:
    readings = minutes(*[2.0] * 30)
    since = replace(HIGH, from_ms=at(10) + 1)
    assert both(one_pool(readings, since, now=29)).exceedances == [[Piece(at(11), None, 2.0, None)]]
    until = replace(HIGH, to_ms=at(10) - 1)
    assert both(one_pool(readings, until, now=29)).exceedances == [[Piece(at(0), at(10) - 1, 2.0, None)]]
    too_short = replace(HIGH, from_ms=at(10), to_ms=at(15))
    assert both(one_pool(readings, too_short, now=29)).exceedances == [[]]


def test_lapses_by_hand() -> None:
    readings = minutes(0.5) + minutes(0.5, first=20) + minutes(0.5, first=35)
    lapses = both(one_pool(readings, now=50)).lapses
    assert lapses == [[Lapse(at(15), at(20)), Lapse(at(50), None)]]
    assert both(one_pool([], now=14)).lapses == [[]]
    opening = [(at(-60), at(17)), (at(19), at(55))]
    lapses = both(one_pool(readings, opening=opening, now=60)).lapses
    assert lapses == [[Lapse(at(15), at(17)), Lapse(at(19), at(20)), Lapse(at(50), at(55))]]


def test_nothing_to_judge() -> None:
    city = one_pool([], now=0)
    assert both(city) == Judged([[]], [[]])
    assert both(replace(city, n_steps=0)) == Judged([[]], [[]])
    assert both(replace(city, rows=[])) == Judged([], [[]])
