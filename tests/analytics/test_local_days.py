"""Local days through changes of the clock, sessions past midnight, months and seasons."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.compliance.local_days import (
    LocalDays,
    Period,
    Sessions,
    local_day_of,
    local_days,
    period_start,
    sessions,
)
from analytics.ragged import RaggedSpans
from analytics.spans import FAR_MS, merged
from gateway.contract.errors import ContractError

HOUR_MS = 3_600_000
#: Days of 10 ms, to be gone through one by one.
DAY, N_DAYS = 10, 4
SHORT_DAYS = LocalDays(
    first_day=np.datetime64("2026-07-01"),
    n_days=N_DAYS,
    edges_ms=np.array(
        [[-DAY + DAY * i for i in range(N_DAYS + 3)], [-DAY + DAY * i + 3 for i in range(N_DAYS + 3)]]
    ),
    zone=np.array([0, 1, 0]),
)


def at(text: str, zone: str = "Asia/Shanghai") -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


def lengths_h(zone: str, first: date, n_days: int) -> list[float]:
    days = local_days([zone], first=first, last=first + timedelta(days=n_days - 1))
    return [float(length) for length in np.diff(days.edges_ms[0])[1 : n_days + 1] / HOUR_MS]


def opening(*pools: list[tuple[int, int]]) -> RaggedSpans:
    return RaggedSpans.of([merged(np.array(pool, dtype=np.int64).reshape(-1, 2)) for pool in pools])


def rows(found: Sessions, pool: int = 0) -> list[tuple[str, int, int, bool]]:
    return [
        (str(found.day[row]), int(found.spans[row, 0]), int(found.spans[row, 1]), bool(found.begins[row]))
        for row in range(found.first[pool], found.first[pool + 1])
    ]


def test_days_are_as_long_as_the_clock_makes_them() -> None:
    assert lengths_h("Asia/Shanghai", date(2026, 3, 28), 3) == [24, 24, 24]
    assert lengths_h("Europe/Tallinn", date(2026, 3, 28), 3) == [24, 23, 24]
    assert lengths_h("Europe/Tallinn", date(2026, 10, 24), 3) == [24, 25, 24]
    # Havana leaves midnight out in spring, and repeats it in autumn: the day's first second is what counts.
    assert lengths_h("America/Havana", date(2026, 3, 7), 3) == [24, 23, 24]
    assert lengths_h("America/Havana", date(2026, 10, 31), 3) == [24, 25, 24]


@settings(max_examples=60)
@given(
    st.sampled_from(["Asia/Shanghai", "Europe/Tallinn", "America/Havana", "Australia/Lord_Howe"]),
    st.integers(0, 2 * 366 * 24 * 60),
)
def test_an_instant_lies_in_the_day_that_the_wall_shows(zone: str, minute: int) -> None:
    instant = datetime(2025, 1, 1, tzinfo=UTC) + timedelta(minutes=minute)
    wall = instant.astimezone(ZoneInfo(zone)).date()
    at_ms = round(instant.timestamp() * 1000)
    assert local_day_of(at_ms, zone_name=zone) == wall
    days = local_days([zone], first=wall, last=wall)
    assert days.edges_ms[0, 1] <= at_ms < days.edges_ms[0, 2]


def test_zones_of_many_pools_are_shared() -> None:
    zones = ["Europe/Tallinn", "Asia/Shanghai", "Europe/Tallinn"]
    days = local_days(zones, first=date(2026, 7, 1), last=date(2026, 7, 2))
    assert days.edges_ms.shape == (2, 5)
    assert days.edges_ms[days.zone, 1].tolist() == [at("2026-07-01", zone) for zone in zones]


def test_what_is_no_zone_or_no_range_is_refused() -> None:
    with pytest.raises(ContractError, match="Asia/Changzhou"):
        local_days(["Asia/Changzhou"], first=date(2026, 7, 1), last=date(2026, 7, 1))
    with pytest.raises(ValueError, match="before the first"):
        local_days(["Asia/Shanghai"], first=date(2026, 7, 2), last=date(2026, 7, 1))
    days = local_days(["Asia/Shanghai"], first=date(2026, 7, 1), last=date(2026, 7, 1))
    with pytest.raises(ValueError, match="2 pools"):
        sessions(opening([], []), days, until_ms=FAR_MS)


def test_a_session_past_midnight_belongs_to_the_day_it_opened() -> None:
    days = local_days(["Asia/Shanghai"], first=date(2026, 7, 1), last=date(2026, 7, 2))
    spans = [
        (at(f"2026-0{month}-{day:02} 18:00"), at(f"2026-0{month}-{day + 1:02} 02:00"))
        for month, day in ((7, 1), (7, 2))
    ]
    before = (at("2026-06-30 18:00"), at("2026-07-01 02:00"))
    found = sessions(opening([before, *spans]), days, until_ms=FAR_MS)
    assert rows(found) == [("2026-07-01", *spans[0], True), ("2026-07-02", *spans[1], True)]


def test_a_pool_that_never_closes_has_whole_days() -> None:
    days = local_days(["Europe/Tallinn"], first=date(2026, 3, 28), last=date(2026, 3, 30))
    found = sessions(opening([(-FAR_MS, FAR_MS)]), days, until_ms=FAR_MS)
    assert [(end - start) / HOUR_MS for _, start, end, _ in rows(found)] == [24, 23, 24]
    assert found.begins.tolist() == [True, False, False]


def test_a_session_that_holds_a_whole_day_is_cut_also_at_the_edge_of_the_range() -> None:
    days = local_days(["Asia/Shanghai"], first=date(2026, 7, 3), last=date(2026, 7, 3))
    # From Wednesday evening over all of Thursday, 2 July, until Friday 10:00: Friday's part is Friday's.
    long = (at("2026-07-01 18:00"), at("2026-07-03 10:00"))
    short = (at("2026-07-03 20:00"), at("2026-07-04 23:00"))
    found = sessions(opening([long, short]), days, until_ms=FAR_MS)
    assert rows(found) == [
        ("2026-07-03", at("2026-07-03 00:00"), long[1], True),
        ("2026-07-03", *short, True),
    ]


def test_the_future_does_not_count() -> None:
    days = local_days(["Asia/Shanghai"], first=date(2026, 7, 1), last=date(2026, 7, 2))
    spans = [(at(f"2026-07-0{day} 08:00"), at(f"2026-07-0{day} 20:00")) for day in (1, 2)]
    now_ms = at("2026-07-01 12:00")
    assert rows(sessions(opening(spans), days, until_ms=now_ms)) == [
        ("2026-07-01", spans[0][0], now_ms, True)
    ]


SPANS = st.lists(st.tuples(st.integers(-25, 65), st.integers(0, 35)), max_size=4)


@settings(max_examples=300)
@given(st.lists(SPANS, min_size=3, max_size=3), st.integers(-5, 70))
def test_sessions_equal_going_through_every_millisecond(
    drawn: list[list[tuple[int, int]]], until_ms: int
) -> None:
    spans = opening(*([(start, start + length) for start, length in pool] for pool in drawn))
    found = sessions(spans, SHORT_DAYS, until_ms=until_ms)
    for pool in range(3):
        offset = 3 if SHORT_DAYS.zone[pool] == 1 else 0
        expected: dict[int, int] = {}
        for start, end in spans[pool]:
            midnights = [m for m in range(-1000 + offset, 1000, DAY) if start <= m <= end]
            for moment in range(start, min(end, until_ms)):
                decides = moment if len(midnights) > 1 else start
                day = (decides - offset) // DAY
                if 0 <= day < N_DAYS:
                    expected[moment] = day
        got = {
            moment: int((found.day[row] - SHORT_DAYS.first_day).astype(int))
            for row in range(found.first[pool], found.first[pool + 1])
            for moment in range(int(found.spans[row, 0]), int(found.spans[row, 1]))
        }
        assert got == expected


def test_months_and_seasons() -> None:
    days = np.array(
        ["2026-01-31", "2026-02-28", "2026-03-01", "2026-08-31", "2026-12-01"], dtype="datetime64[D]"
    )

    def starts(period: Period) -> list[str]:
        return [str(start) for start in period_start(days, period)]

    assert starts(Period.DAY) == [str(day) for day in days]
    assert starts(Period.MONTH) == ["2026-01-01", "2026-02-01", "2026-03-01", "2026-08-01", "2026-12-01"]
    assert starts(Period.SEASON) == ["2025-12-01", "2025-12-01", "2026-03-01", "2026-06-01", "2026-12-01"]
    swimming = period_start(days, Period.SEASON, season_months=(10, 5))
    assert [str(s) for s in swimming] == [
        "2025-10-01",
        "2025-10-01",
        "2025-10-01",
        "2026-05-01",
        "2026-10-01",
    ]


@pytest.mark.parametrize("months", [(), (0, 6), (6, 13)])
def test_seasons_begin_in_months(months: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="season_months"):
        period_start(np.array(["2026-07-01"], dtype="datetime64[D]"), Period.SEASON, season_months=months)
