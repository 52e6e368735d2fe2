"""Opening hours as instants, against the clock on the wall minute by minute."""

import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import opening_hours
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.contract.opening import is_open, next_change_ms, open_intervals
from gateway.contract.registry import OpeningHours, Pool, PoolKind

_MINUTE_MS = 60_000
_DAY_MS = 86_400_000


def _pool(*hours: tuple[str, int | None], zone: str = "Asia/Shanghai") -> Pool:
    return Pool(
        pool_id="p",
        venue_id="v",
        name_zh="池",
        name_en="Pool",
        kind=PoolKind.INDOOR,
        volume_m3=None,
        opening=tuple(OpeningHours(expression, from_ms) for expression, from_ms in hours),
        time_zone=zone,
        profile="changzhou-2022",
    )


def _utc_ms(*parts: int) -> int:
    return round(datetime(*parts, tzinfo=UTC).timestamp() * 1000)  # type: ignore[misc,arg-type]  # date and time parts


def _brute_force(expression: str, zone: str, from_ms: int, to_ms: int) -> set[int]:
    """Minutes of [from, to) in which it is open by the wall clock.

    A wall time that comes twice in autumn: an opening counts at its first coming, a closing at its second.
    """
    parsed = opening_hours.OpeningHours(expression, country="CN")
    tz = ZoneInfo(zone)
    minutes = set()
    for instant_ms in range(from_ms, to_ms, _MINUTE_MS):
        local = datetime.fromtimestamp(instant_ms / 1000, tz=UTC).astimezone(tz)
        wall = local.replace(tzinfo=None, fold=0)
        twice = local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset()
        walls = [wall]
        if twice:
            step = timedelta(minutes=-1 if local.fold == 0 else 1)
            while True:
                other = walls[-1] + step
                there = other.replace(tzinfo=tz)
                if there.replace(fold=0).utcoffset() == there.replace(fold=1).utcoffset():
                    break
                walls.append(other)
        if any(parsed.is_open(one) for one in walls):
            minutes.add(instant_ms)
    return minutes


_EXPRESSIONS = [
    "Mo-Su 06:00-22:00",
    "24/7",
    "off",
    "Mo-Fr 06:00-08:30,12:00-14:00; Sa,Su 09:00-21:00",
    "Mo-Su 22:00-02:30",
    "Mo-Su 20:00-02:00",
    "Mo-Su 02:30-05:00",
    "Mo-Su 00:00-03:00",
    "Mo-Su 02:10-02:20",
    "Mo-Su 10:00-26:00",
    "Mo-Su 06:00-22:00; PH off",
    "Jun-Aug 08:00-20:00; We off",
]
_ZONES = ["Asia/Shanghai", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]


@given(
    expression=st.sampled_from(_EXPRESSIONS),
    zone=st.sampled_from(_ZONES),
    from_minute=st.integers(_utc_ms(2026, 1, 1) // _MINUTE_MS, _utc_ms(2027, 1, 1) // _MINUTE_MS),
    minutes=st.integers(1, 2 * 1440),
)
@settings(max_examples=60, deadline=None)
def test_against_wall_clock(expression: str, zone: str, from_minute: int, minutes: int) -> None:
    _compare(expression, zone, from_minute * _MINUTE_MS, (from_minute + minutes) * _MINUTE_MS)


@pytest.mark.parametrize("expression", _EXPRESSIONS)
@pytest.mark.parametrize(
    ("zone", "from_ms"),
    [
        ("Europe/Berlin", _utc_ms(2026, 3, 28, 18)),
        ("Europe/Berlin", _utc_ms(2026, 10, 24, 18)),
        ("Australia/Lord_Howe", _utc_ms(2026, 4, 4, 6)),
        ("Australia/Lord_Howe", _utc_ms(2026, 10, 3, 6)),
    ],
)
def test_changes_of_the_clock(expression: str, zone: str, from_ms: int) -> None:
    _compare(expression, zone, from_ms, from_ms + 18 * 3_600_000)


@pytest.mark.parametrize("zone", ["Europe/Berlin"])
@pytest.mark.parametrize("offset_min", range(0, 240, 10))
@pytest.mark.parametrize("expression", ["Mo-Su 22:00-02:30", "Mo-Su 02:30-05:00", "24/7"])
def test_window_may_begin_and_end_within_the_repeated_hour(
    expression: str, zone: str, offset_min: int
) -> None:
    from_ms = _utc_ms(2026, 10, 24, 22) + offset_min * _MINUTE_MS
    _compare(expression, zone, from_ms, from_ms + 50 * _MINUTE_MS)


def _compare(expression: str, zone: str, from_ms: int, to_ms: int) -> None:
    intervals = open_intervals(_pool((expression, None), zone=zone), from_ms=from_ms, to_ms=to_ms)
    assert all(from_ms <= low < high <= to_ms for low, high in intervals)
    assert all(before[1] < after[0] for before, after in pairwise(intervals))
    minutes = {minute for low, high in intervals for minute in range(low, high, _MINUTE_MS)}
    assert minutes == _brute_force(expression, zone, from_ms, to_ms)


def test_a_day_in_changzhou() -> None:
    # 06:00 in Shanghai is 22:00 UTC of the day before.
    intervals = open_intervals(
        _pool(("Mo-Su 06:00-22:00", None)), from_ms=_utc_ms(2026, 7, 1), to_ms=_utc_ms(2026, 7, 2)
    )
    assert intervals == [
        (_utc_ms(2026, 7, 1), _utc_ms(2026, 7, 1, 14)),
        (_utc_ms(2026, 7, 1, 22), _utc_ms(2026, 7, 2)),
    ]


def test_millisecond_cut() -> None:
    pool = _pool(("Mo-Su 06:00-22:00", None))
    opens, closes = _utc_ms(2026, 6, 30, 22), _utc_ms(2026, 7, 1, 14)
    assert open_intervals(pool, from_ms=opens + 1, to_ms=opens + 2) == [(opens + 1, opens + 2)]
    assert open_intervals(pool, from_ms=closes - 1, to_ms=closes + 1) == [(closes - 1, closes)]
    assert is_open(pool, at_ms=opens)
    assert not is_open(pool, at_ms=opens - 1)
    assert not is_open(pool, at_ms=closes)
    assert open_intervals(pool, from_ms=opens, to_ms=opens) == []


def test_new_hours_hold_from_their_instant() -> None:
    change = _utc_ms(2026, 7, 1, 4)  # noon in Shanghai
    pool = _pool(("24/7", None), ("off", change), ("24/7", change + _DAY_MS))
    assert open_intervals(pool, from_ms=change - 5, to_ms=change + 2 * _DAY_MS) == [
        (change - 5, change),
        (change + _DAY_MS, change + 2 * _DAY_MS),
    ]
    assert next_change_ms(pool, at_ms=change - 5) == change
    assert next_change_ms(pool, at_ms=change) == change + _DAY_MS


def test_equal_hours_touch_and_merge() -> None:
    change = _utc_ms(2026, 7, 1, 4)
    pool = _pool(("24/7", None), ("24/7", change))
    assert open_intervals(pool, from_ms=change - 5, to_ms=change + 5) == [(change - 5, change + 5)]
    assert next_change_ms(pool, at_ms=change - 5) is None


def test_before_the_first_hours_it_is_closed() -> None:
    change = _utc_ms(2026, 7, 1, 4)
    assert open_intervals(_pool(("24/7", change)), from_ms=change - 5, to_ms=change + 5) == [
        (change, change + 5)
    ]


def test_next_change() -> None:
    pool = _pool(("Mo-Su 06:00-22:00", None))
    opens, closes = _utc_ms(2026, 6, 30, 22), _utc_ms(2026, 7, 1, 14)
    assert next_change_ms(pool, at_ms=opens - 1) == opens
    assert next_change_ms(pool, at_ms=opens) == closes
    assert next_change_ms(pool, at_ms=closes) == opens + _DAY_MS
    assert next_change_ms(_pool(("24/7", None)), at_ms=opens) is None
    assert next_change_ms(_pool(("off", None)), at_ms=opens) is None


def test_next_change_of_a_season() -> None:
    # Open only in July: from 1 August 00:00 in Shanghai the next change is 1 July 00:00, 334 days later.
    pool = _pool(("Jul", None))
    assert next_change_ms(pool, at_ms=_utc_ms(2026, 7, 31, 16)) == _utc_ms(2027, 6, 30, 16)


def test_next_change_looks_400_days_ahead() -> None:
    at_ms = _utc_ms(2026, 1, 1)
    near = _pool(("off", None), ("24/7", at_ms + 400 * _DAY_MS - 60_000))
    far = _pool(("off", None), ("24/7", at_ms + 401 * _DAY_MS))
    assert next_change_ms(near, at_ms=at_ms) == at_ms + 400 * _DAY_MS - 60_000
    assert next_change_ms(far, at_ms=at_ms) is None


def test_a_window_of_a_day_takes_less_than_a_millisecond() -> None:
    pool = _pool(("Mo-Fr 06:00-08:30,12:00-14:00; Sa,Su 09:00-21:00; PH off", None))
    from_ms = _utc_ms(2026, 7, 1)
    open_intervals(pool, from_ms=from_ms, to_ms=from_ms + _DAY_MS)
    best_s = 1.0
    for _ in range(20):
        begun = time.perf_counter()
        open_intervals(pool, from_ms=from_ms, to_ms=from_ms + _DAY_MS)
        best_s = min(best_s, time.perf_counter() - begun)
    assert best_s < 1e-3


def test_windows_at_the_ends_of_the_calendar() -> None:
    pool = _pool(("24/7", None))
    first, last = _utc_ms(1900, 1, 1), _utc_ms(9000, 1, 1)
    assert open_intervals(pool, from_ms=_utc_ms(1, 1, 1), to_ms=first + 1) == [(first, first + 1)]
    assert open_intervals(pool, from_ms=last - 1, to_ms=_utc_ms(9999, 12, 31)) == [(last - 1, last)]
    assert not is_open(pool, at_ms=10**15)
    assert next_change_ms(pool, at_ms=-(10**15)) is None
