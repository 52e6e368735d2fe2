"""Opening hours as instants, against hand calculation and a minute-by-minute look at the library's own answer."""

import datetime
from zoneinfo import ZoneInfo

import opening_hours
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.contract.errors import ContractError
from gateway.contract.opening import check_expression, is_open, merge, next_change_ms, open_intervals
from gateway.contract.registry import OpeningHours, Pool, PoolKind


def pool(*hours: tuple[str, int | None], zone: str = "Asia/Shanghai") -> Pool:
    opening = tuple(OpeningHours(expression, from_ms) for expression, from_ms in hours)
    return Pool("p", "v", "池", "Pool", PoolKind.INDOOR, None, opening, zone, "changzhou-2022")


def ms(
    year: int,
    month: int,
    day: int,
    hour: int = 0,
    minute: int = 0,
    zone: str = "Asia/Shanghai",
    fold: int = 0,
) -> int:
    moment = datetime.datetime(year, month, day, hour, minute, tzinfo=ZoneInfo(zone), fold=fold)
    return int(moment.timestamp() * 1000)


HOUR = 3_600_000


def test_a_day_has_its_session() -> None:
    found = open_intervals(pool(("Mo-Su 06:00-22:00", None)), from_ms=ms(2026, 7, 1), to_ms=ms(2026, 7, 2))
    assert found == [(ms(2026, 7, 1, 6), ms(2026, 7, 1, 22))]


def test_intervals_are_cut_by_the_window_to_the_millisecond() -> None:
    found = open_intervals(
        pool(("Mo-Su 06:00-22:00", None)), from_ms=ms(2026, 7, 1, 7) + 123, to_ms=ms(2026, 7, 1, 8) + 456
    )
    assert found == [(ms(2026, 7, 1, 7) + 123, ms(2026, 7, 1, 8) + 456)]


def test_always_and_never() -> None:
    window = {"from_ms": ms(2026, 7, 1), "to_ms": ms(2026, 7, 9)}
    assert open_intervals(pool(("24/7", None)), **window) == [(window["from_ms"], window["to_ms"])]
    assert open_intervals(pool(("off", None)), **window) == []
    assert next_change_ms(pool(("24/7", None)), at_ms=ms(2026, 7, 1)) is None


def test_a_session_may_cross_midnight() -> None:
    found = open_intervals(pool(("Fr 20:00-26:00", None)), from_ms=ms(2026, 7, 3), to_ms=ms(2026, 7, 5))
    assert found == [(ms(2026, 7, 3, 20), ms(2026, 7, 4, 2))]


def test_new_hours_hold_from_their_instant() -> None:
    change = ms(2026, 7, 2)
    one = pool(("Mo-Su 06:00-22:00", None), ("Mo-Su 08:00-20:00", change))
    assert open_intervals(one, from_ms=ms(2026, 7, 1), to_ms=ms(2026, 7, 3)) == [
        (ms(2026, 7, 1, 6), ms(2026, 7, 1, 22)),
        (ms(2026, 7, 2, 8), ms(2026, 7, 2, 20)),
    ]


def test_the_national_day_is_a_holiday() -> None:
    one = pool(("Mo-Su 06:00-22:00; PH off", None))
    assert not is_open(one, at_ms=ms(2026, 10, 1, 12))
    assert is_open(one, at_ms=ms(2026, 9, 30, 12))


@pytest.mark.parametrize(("day", "hours"), [((2026, 3, 29), 23), ((2026, 10, 25), 25), ((2026, 6, 1), 24)])
def test_a_day_with_a_change_of_the_clock_has_its_true_length(day: tuple[int, int, int], hours: int) -> None:
    zone = "Europe/Berlin"
    following = datetime.date(*day) + datetime.timedelta(days=1)
    window = {
        "from_ms": ms(*day, zone=zone),
        "to_ms": ms(following.year, following.month, following.day, zone=zone),
    }
    (interval,) = open_intervals(pool(("Mo-Su 00:00-24:00", None), zone=zone), **window)
    assert interval[1] - interval[0] == hours * HOUR


def test_the_next_change_is_found_over_a_closed_season() -> None:
    one = pool(("Jun 15-Aug 31 10:00-18:00", None))
    assert next_change_ms(one, at_ms=ms(2026, 9, 1)) == ms(2027, 6, 15, 10)
    assert next_change_ms(one, at_ms=ms(2026, 7, 1, 11)) == ms(2026, 7, 1, 18)


EXPRESSIONS = [
    "Mo-Fr 06:00-12:00,13:30-21:00",
    "Mo-Su 20:00-03:00",
    "24/7",
    "Sa,Su 09:00-18:00; PH off",
    "Jul 10:00-18:00",
]


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(EXPRESSIONS),
    st.sampled_from(["Asia/Shanghai", "Europe/Berlin"]),
    st.integers(ms(2026, 1, 1), ms(2026, 12, 30)),
    st.integers(1, 30 * HOUR),
)
def test_intervals_agree_with_a_look_at_each_minute(
    expression: str, zone: str, from_ms: int, length_ms: int
) -> None:
    one = pool((expression, None), zone=zone)
    found = open_intervals(one, from_ms=from_ms, to_ms=from_ms + length_ms)
    assert found == merge(found)
    library = opening_hours.OpeningHours(expression, timezone=ZoneInfo(zone), country="CN")
    for instant in range(from_ms, from_ms + length_ms, 7 * 60_000):
        moment = datetime.datetime.fromtimestamp(instant / 1000, ZoneInfo(zone))
        assert any(low <= instant < high for low, high in found) == library.is_open(moment)


def test_touching_intervals_become_one() -> None:
    assert merge([(5, 9), (1, 3), (3, 4), (8, 12)]) == [(1, 4), (5, 12)]


def test_a_bad_expression_names_the_place() -> None:
    with pytest.raises(ContractError, match="character 12"):
        check_expression("Mo-Su 06:0022:00")
