"""Lapses of daily tests, by hand: sessions, midnight, the clock's changes, holidays, seasons, closures (DESIGN 12.4)."""

import pytest

from analytics.results import Cause, DutyStanding
from gateway.contract.registry import PoolKind
from tests.analytics.duty_case import FC, HOUR, MINUTE, PH, DutyCase, at

TALLINN = "Europe/Tallinn"
BEGIN = at("2026-06-30 23:00")


def case(hours: str, *, kind: PoolKind = PoolKind.INDOOR, zone: str = "Asia/Shanghai") -> DutyCase:
    return DutyCase(hours=hours, kind=kind, zone=zone, from_ms=BEGIN)


def day(clock: str, day_of_july: int = 1) -> int:
    return at(f"2026-07-{day_of_july:02d} {clock}")


def test_each_of_several_sessions_has_its_own_test_before() -> None:
    pool = case("Mo-Su 06:00-09:00,10:30-12:00,14:00-21:00", kind=PoolKind.OUTDOOR)
    # 05:00 is 60 min before the first; 09:30 is before the second; none before the third until one at 15:10 in it.
    pool.test(day("05:00"), FC).test(day("09:30"), FC).test(day("15:10"), FC)
    assert pool.lapses("daily_test", day("23:00")) == [(day("14:00"), day("15:10"))]


def test_a_test_in_a_session_may_be_the_next_ones_test_before() -> None:
    pool = case("Mo-Su 06:00-09:00,09:30-12:00", kind=PoolKind.OUTDOOR).test(day("05:30"), FC)
    # 08:29 is 61 min before the second session, 08:30 is 60 min.
    pool.test(day("08:29"), FC)
    assert pool.lapses("daily_test", day("13:00")) == [(day("09:30"), day("12:00"))]
    assert pool.test(day("08:30"), FC).lapses("daily_test", day("13:00")) == []


def test_no_test_at_all_is_a_lapse_of_each_session() -> None:
    pool = case("Mo-Su 06:00-09:00,10:00-12:00")
    verdicts = pool.verdicts("daily_test", day("11:00"))
    assert [(found.start_ms, found.end_ms, found.cause) for found in verdicts] == [
        (day("06:00"), day("09:00"), Cause.NOT_MEASURED),
        (day("10:00"), None, Cause.NOT_MEASURED),
    ]


def test_yesterdays_test_is_no_cause_of_another_kind() -> None:
    # Tested at noon the day before, 24 h old at noon today, but it does not serve today's session: not measured.
    pool = case("Mo-Su 06:00-22:00", kind=PoolKind.OUTDOOR).test(day("05:30"), FC).test(day("12:00"), FC)
    (lapse,) = pool.test(day("13:00", 2), FC).verdicts("daily_test", day("14:00", 2))
    assert (lapse.start_ms, lapse.end_ms) == (day("06:00", 2), day("13:00", 2))
    assert lapse.seconds_by_cause == {"not_measured": 7 * 3600.0}


def test_indoor_chlorine_every_two_hours_within_each_session() -> None:
    pool = case("Mo-Su 06:00-12:00,13:00-18:00")
    pool.test(day("05:30"), FC)  # until 08:00
    pool.test(day("08:30"), FC)  # until 11:00
    pool.test(day("11:00"), FC)  # exactly then: until 13:00, for it is 2 h before the second session
    pool.test(day("13:20"), FC)  # until 15:50
    assert pool.lapses("daily_test", day("17:00")) == [
        (day("08:00"), day("08:30")),
        (day("13:00"), day("13:20")),
        (day("15:50"), None),
    ]


def test_without_an_interval_a_test_serves_its_session_but_at_most_a_day() -> None:
    # Open from Saturday 06:00 to Monday 20:00: in three days, tested once before and once on Sunday at 09:00.
    pool = case("Sa 06:00-24:00; Su 00:00-24:00; Mo 00:00-20:00", kind=PoolKind.OUTDOOR)
    pool.test(at("2026-07-04 05:30"), FC).test(at("2026-07-05 09:00"), FC)
    assert pool.lapses("daily_test", at("2026-07-06 21:00")) == [
        (at("2026-07-05 05:30"), at("2026-07-05 09:00")),
        (at("2026-07-06 09:00"), at("2026-07-06 20:00")),
    ]
    # pH of an indoor pool has no interval either.
    indoor = case("Mo-Su 06:00-22:00").test(day("05:10"), PH)
    assert indoor.lapses("daily_test", day("23:00"), PH) == []


def test_a_session_that_crosses_midnight_is_one() -> None:
    pool = case("Mo-Su 20:00-02:00", kind=PoolKind.OUTDOOR)
    pool.from_ms = day("12:00")
    # Nothing at midnight; the next session opens on the 2nd at 20:00: a test at 01:30 is not before it.
    pool.test(day("19:20"), FC).test(day("01:30", 2), FC)
    assert pool.lapses("daily_test", day("21:00", 2)) == [(day("20:00", 2), None)]


def test_indoor_interval_runs_through_midnight() -> None:
    pool = case("Mo-Su 20:00-02:00")
    pool.from_ms = day("12:00")
    # 22:00 + 2:30 = 00:30 of the 2nd, tested again at 01:00.
    pool.test(day("19:30"), FC).test(day("22:00"), FC).test(day("01:00", 2), FC)
    assert pool.lapses("daily_test", day("03:00", 2)) == [(day("00:30", 2), day("01:00", 2))]


@pytest.mark.parametrize(
    ("date", "hours_of_night"),
    [("2026-03-28", 7), ("2026-10-24", 9)],
)
def test_a_night_in_which_the_clock_changes_in_estonia(date: str, hours_of_night: int) -> None:
    opens = at(f"{date} 20:00", TALLINN)
    closes = opens + hours_of_night * HOUR  # 04:00 on the wall: 8 h, one less in spring, one more in autumn
    pool = DutyCase(hours="Mo-Su 20:00-04:00", zone=TALLINN, from_ms=opens - 12 * HOUR)
    pool.test(opens - 60 * MINUTE, FC)
    # In force for 2 h 30 min of real time from the test, whatever the clock on the wall does.
    assert pool.lapses("daily_test", closes + HOUR) == [(opens + 90 * MINUTE, closes)]
    late = DutyCase(hours="Mo-Su 20:00-04:00", zone=TALLINN, from_ms=opens - 12 * HOUR)
    late.test(opens - 60 * MINUTE - 1, FC)
    assert late.lapses("daily_test", closes + HOUR) == [(opens, closes)]


def test_a_session_that_opens_in_the_hour_that_spring_leaves_out() -> None:
    # 03:30 does not exist on 2026-03-29 in Estonia: the pool opens at the change, 01:00 UTC.
    opens = at("2026-03-29 01:00", "UTC")
    pool = DutyCase(
        hours="Mo-Su 03:30-08:00", zone=TALLINN, kind=PoolKind.OUTDOOR, from_ms=opens - 12 * HOUR
    ).test(opens + 2 * HOUR, FC)
    assert pool.lapses("daily_test", opens + 3 * HOUR) == [(opens, opens + 2 * HOUR)]


def test_china_has_had_no_summer_time_since_1991() -> None:
    # 2026-03-29 and 2026-10-25 are days like others: a night of 8 h is 8 h.
    opens = at("2026-10-24 20:00")
    pool = DutyCase(hours="Mo-Su 20:00-04:00", from_ms=opens - HOUR).test(opens - HOUR, FC)
    assert pool.lapses("daily_test", opens + 9 * HOUR) == [(opens + 90 * MINUTE, opens + 8 * HOUR)]


def test_no_duty_on_holidays_and_out_of_season() -> None:
    # 1 October is the national day: closed. The season ends on 30 September.
    holiday = DutyCase(hours="Mo-Su 06:00-22:00; PH off", from_ms=at("2026-09-30 23:00"))
    assert holiday.standing("daily_test", at("2026-10-01 12:00")) is DutyStanding.NOT_DUE
    assert holiday.lapses("daily_test", at("2026-10-01 23:00")) == []
    seasonal = DutyCase(hours="Jun 15-Sep 30 09:00-21:00", kind=PoolKind.OUTDOOR)
    seasonal.from_ms = at("2026-09-29 22:00")
    seasonal.test(at("2026-09-30 08:30"))
    assert seasonal.lapses("daily_test", at("2027-06-15 10:00")) == [(at("2027-06-15 09:00"), None)]
    assert seasonal.standing("daily_test", at("2026-12-24 12:00")) is DutyStanding.NOT_DUE


def test_a_closure_ends_the_duty_and_a_short_one_goes_on_with_the_session() -> None:
    pool = case("Mo-Su 06:00-22:00", kind=PoolKind.OUTDOOR).test(day("05:30"), FC)
    pool.enter("closure", day("10:00")).enter("reopening", day("11:00"))
    assert pool.lapses("daily_test", day("23:00")) == []
    assert pool.standing("daily_test", day("10:30")) is DutyStanding.NOT_DUE
    # An hour and a minute: a test at the closing would be too old, and the reopening needs one of its own.
    longer = case("Mo-Su 06:00-22:00", kind=PoolKind.OUTDOOR).test(day("05:30"), FC)
    longer.enter("closure", day("10:00")).enter("reopening", day("11:01"))
    assert longer.lapses("daily_test", day("23:00")) == [(day("11:01"), day("22:00"))]
    assert longer.test(day("10:40"), FC).lapses("daily_test", day("23:00")) == []


def test_an_overdue_test_is_cut_by_a_closure() -> None:
    pool = case("Mo-Su 06:00-22:00").enter("closure", day("07:00")).enter("reopening", day("07:20"))
    pool.test(day("08:00"), FC)
    assert pool.lapses("daily_test", day("09:00")) == [
        (day("06:00"), day("07:00")),
        (day("07:20"), day("08:00")),
    ]


def test_a_closure_over_the_opening_puts_the_session_off() -> None:
    pool = case("Mo-Su 06:00-22:00", kind=PoolKind.OUTDOOR)
    pool.enter("closure", day("05:00")).enter("reopening", day("06:30"))
    # 05:20 is more than 60 min before 06:30, though not before the hours' 06:00.
    pool.test(day("05:20"), FC)
    assert pool.lapses("daily_test", day("23:00")) == [(day("06:30"), day("22:00"))]
    assert pool.test(day("05:30"), FC).lapses("daily_test", day("23:00")) == []
    # Closed at the very instant of opening, for half an hour: that is no interruption of the session.
    at_once = case("Mo-Su 06:00-22:00", kind=PoolKind.OUTDOOR).test(day("05:20"), FC)
    at_once.enter("closure", day("06:00")).enter("reopening", day("06:30"))
    assert at_once.lapses("daily_test", day("23:00")) == [(day("06:30"), day("22:00"))]


def test_the_beginning_serves_like_a_test_of_that_instant() -> None:
    pool = case("Mo-Su 06:00-22:00")
    pool.from_ms = day("09:00")
    assert pool.lapses("daily_test", day("12:00")) == [(day("11:30"), None)]
    pool.from_ms = day("04:30")
    assert pool.lapses("daily_test", day("12:00")) == [(day("06:00"), None)]


def test_a_test_that_arrives_late_was_made_all_the_same() -> None:
    pool = case("Mo-Su 06:00-22:00").test(day("05:30"), FC, stored_ms=day("20:00"))
    assert pool.lapses("daily_test", day("07:59")) == []


def test_a_corrected_test_serves_until_the_correction_and_no_longer() -> None:
    pool = case("Mo-Su 06:00-22:00", kind=PoolKind.OUTDOOR).test(day("05:30"), FC)
    pool.correct(day("09:15"), "manual/free_chlorine_mg_l/2026-06-30T21:30:00Z")
    assert pool.lapses("daily_test", day("12:00")) == [(day("09:15"), None)]
    # Another quantity's, sensor's or time's correction means another reading.
    other = case("Mo-Su 06:00-22:00", kind=PoolKind.OUTDOOR).test(day("05:30"), FC)
    for name in ("manual/ph/2026-06-30T21:30:00Z", "fc-1/free_chlorine_mg_l/2026-06-30T21:30:00Z"):
        other.correct(day("09:15"), name)
    other.correct(day("09:15"), "manual/free_chlorine_mg_l/2026-06-30T21:30:00.001Z")
    assert other.lapses("daily_test", day("12:00")) == []
