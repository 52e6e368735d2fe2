"""Posting in the venue, by hand: notice board, screens' receipts, neither; corrections (DESIGN 12.4, 12.6, 12.11)."""

import pytest

from analytics.duties.posting import evidenced, posting_days
from analytics.results import Cause, DutyStanding, EndedBy, Evidence, ServingFact
from analytics.spans import merged
from gateway.contract.registry import PoolKind
from tests.analytics.duty_case import DAY, FC, HOUR, MINUTE, PH, DutyCase, at
from tests.analytics.duty_seconds import duty_seconds

BEGIN = at("2026-06-30 23:00")
SECOND = 1000


def day(clock: str, day_of_july: int = 1) -> int:
    return at(f"2026-07-{day_of_july:02d} {clock}")


def case() -> DutyCase:
    return DutyCase(from_ms=BEGIN)


def test_with_neither_it_is_unverified_not_kept_and_not_overdue() -> None:
    pool = case().test(day("05:30"))
    found = pool.outcome("posting", day("12:00"))
    assert (found.standing.standing, found.findings) == (DutyStanding.UNVERIFIED, [])
    days = merged([(day("00:00"), day("00:00", 2))])
    window = pool.window(day("12:00"))
    seconds = duty_seconds(found, days=days, open_time=window.open_time, until_ms=day("12:00"))
    assert (seconds.due_s[0], seconds.kept_s[0], seconds.unverified_s[0]) == (6 * 3600, 0, 6 * 3600)


def test_the_board_is_evidence_from_the_first_posting_of_a_session() -> None:
    pool = case().post(day("07:00"), day("06:50"))
    # Unverified 06:00 to 07:00, in force to 06:50 + 2:30 = 09:20, overdue until posted again at 10:00.
    pool.post(day("10:00"), day("09:50"))
    found = pool.outcome("posting", day("12:00"))
    assert [(f.start_ms, f.end_ms) for f in found.findings] == [(day("09:20"), day("10:00"))]
    assert found.standing.standing is DutyStanding.KEPT
    assert found.standing.deadline_ms == day("12:20")
    window = pool.window(day("12:00"))
    seconds = duty_seconds(
        found,
        days=merged([(day("00:00"), day("00:00", 2))]),
        open_time=window.open_time,
        until_ms=day("12:00"),
    )
    assert [float(part[0]) / 60 for part in (seconds.due_s, seconds.kept_s, seconds.overdue_s)] == [
        360,
        140 + 120,
        40,
    ]
    assert (seconds.unverified_s[0] / 60, seconds.standings) == (60, [DutyStanding.OVERDUE])
    # The next session has no evidence of its own.
    assert pool.standing("posting", day("12:00", 2)) is DutyStanding.UNVERIFIED
    assert pool.lapses("posting", day("23:00", 2)) == [
        (day("09:20"), day("10:00")),
        (day("12:20"), day("22:00")),
    ]


def test_a_posting_of_an_old_result_serves_for_the_rest_of_its_age_only() -> None:
    pool = case().post(day("08:00"), day("06:00"))
    assert pool.lapses("posting", day("09:00")) == [(day("08:30"), None)]
    # A result is not younger than its posting: measured "later", it counts from the posting.
    odd = case().post(day("08:00"), day("09:00"))
    assert odd.lapses("posting", day("12:00")) == [(day("10:30"), None)]


def test_a_receipt_covers_150_s_and_no_longer() -> None:
    pool = case().publish(day("06:00"), day("06:00"), content="a").show(day("06:01"), "a")
    found = pool.outcome("posting", day("06:10"))
    (lapse,) = found.findings
    # Unverified until 06:01; then shown; the number itself is in force until 06:15.
    assert (lapse.start_ms, lapse.end_ms) == (day("06:01") + 150 * SECOND, None)
    assert lapse.cause is Cause.NOT_DISPLAYED
    assert lapse.evidence == Evidence(ServingFact("screen", "hall", day("06:00"), day("06:01")))
    assert pool.standing("posting", day("06:03")) is DutyStanding.KEPT
    # Each minute another: covered.
    for minute in range(2, 10):
        pool.show(day("06:00") + minute * MINUTE, "a")
    assert pool.lapses("posting", day("06:10")) == []


def test_a_receipt_proves_nothing_after_the_numbers_own_deadline() -> None:
    # Measured at 06:00, the online number goes away at 06:15, though the screen still has that snapshot.
    pool = case().publish(day("06:00"), day("06:00"), content="a")
    for minute in range(40):
        pool.show(day("06:00") + minute * MINUTE, "a")
    assert pool.lapses("posting", day("06:39")) == [(day("06:15"), None)]
    pool.publish(day("06:30"), day("06:29"), content="b").show(day("06:30") + 1, "b")
    (lapse, again) = pool.verdicts("posting", day("06:34"))
    assert (lapse.start_ms, lapse.end_ms) == (day("06:15"), day("06:30") + 1)
    assert lapse.evidence == Evidence(
        ServingFact("screen", "hall", day("06:00"), day("06:14")),
        EndedBy.FACT,
        ServingFact("screen", "hall", day("06:29"), day("06:30") + 1),
    )
    assert (again.start_ms, again.end_ms) == (day("06:32") + 30 * SECOND + 1, None)


def test_a_screen_that_shows_no_valid_value_is_evidence_that_serves_nothing() -> None:
    pool = case().publish(day("05:59"), day("05:59"), content="none", value=None)
    pool.show(day("06:00"), "none")
    assert pool.lapses("posting", day("07:00")) == [(day("06:00"), None)]
    assert pool.standing("posting", day("07:00")) is DutyStanding.OVERDUE
    # The snapshot says nothing of pH: of that nothing is known.
    assert pool.standing("posting", day("07:00"), PH) is DutyStanding.UNVERIFIED


def test_a_receipt_of_an_unknown_snapshot_proves_nothing() -> None:
    pool = case().show(day("06:10"), "unknown")
    assert (pool.standing("posting", day("07:00")), pool.lapses("posting", day("07:00"))) == (
        DutyStanding.UNVERIFIED,
        [],
    )


def test_screen_and_board_and_two_screens_unite() -> None:
    pool = case().post(day("06:00"), day("06:00"), FC)  # until 08:30
    for minute in range(30, 40):
        display = "hall" if minute < 35 else "door"
        at_ms = day("08:00") + minute * MINUTE - 10
        pool.publish(at_ms, at_ms, content=f"h{minute}").show(at_ms, f"h{minute}", display=display)
    # The last receipt, of 08:39, covers 150 s.
    assert pool.lapses("posting", day("09:00")) == [(day("08:39") - 10 + 150 * SECOND, None)]


def test_receipts_that_come_late_refute_a_lapse() -> None:
    pool = case().publish(day("06:00"), day("06:00"), content="a").show(day("06:00"), "a")
    assert pool.lapses("posting", day("06:05")) == [(day("06:02") + 30 * SECOND, None)]
    pool.show(day("06:02"), "a").show(day("06:04"), "a")
    assert pool.lapses("posting", day("06:05")) == []


@pytest.mark.parametrize("kind", [PoolKind.INDOOR, PoolKind.OUTDOOR])
def test_of_a_pool_that_never_closes_each_local_day_needs_its_evidence(kind: PoolKind) -> None:
    pool = DutyCase(hours="24/7", kind=kind, from_ms=BEGIN - 3 * DAY).post(day("08:00"), day("08:00"), FC)
    age = 150 * MINUTE if kind is PoolKind.INDOOR else DAY + 30 * MINUTE
    lapsed = day("08:00") + age
    verdicts = pool.verdicts("posting", day("12:00", 3))
    end = day("00:00", 2) if kind is PoolKind.INDOOR else day("00:00", 3)
    assert [(f.start_ms, f.end_ms) for f in verdicts] == [(lapsed, end)]
    evidence = verdicts[0].evidence
    assert evidence is not None
    assert (evidence.ended, evidence.ended_by) == (EndedBy.UNVERIFIED, None)
    assert pool.standing("posting", day("12:00", 3)) is DutyStanding.UNVERIFIED


def test_days_of_25_and_23_hours_are_cut_at_midnight_on_the_wall() -> None:
    for date, hours in (("2026-10-25", 25), ("2026-03-29", 23)):
        midnight = at(f"{date} 00:00", "Europe/Tallinn")
        opening = merged([(midnight - 5 * HOUR, midnight + 60 * HOUR)])
        found = posting_days(opening, zone_name="Europe/Tallinn", to_ms=midnight + 30 * HOUR)
        second = midnight + hours * HOUR
        assert found.tolist() == [
            [midnight - 5 * HOUR, midnight],
            [midnight, second],
            [second, second + DAY],
            [second + DAY, midnight + 60 * HOUR],
        ]


def test_evidence_of_none_of_no_session() -> None:
    nothing = merged([])
    days = merged([(0, 10)])
    none = nothing[:, 0]
    assert evidenced(nothing, days, none).tolist() == []
    assert evidenced(days, nothing, none).tolist() == []
    assert evidenced(days, merged([(10, 12)]), none).tolist() == []
    assert evidenced(days, merged([(-5, 1)]), none).tolist() == [[0, 10]]


# -- corrections -------------------------------------------------------------------------------------------------------

READING = "fc-1/free_chlorine_mg_l/2026-06-30T22:00:00Z"  # 06:00 in China


def test_a_correction_of_a_reading_ends_its_publications_postings_and_displays() -> None:
    pool = case().reading("fc-1", day("06:00")).publish(day("06:00"), day("06:00"), content="a")
    pool.post(day("06:02"), day("06:00"), FC).show(day("06:00"), "a").show(day("06:04"), "a")
    pool.correct(day("06:05"), READING)
    for duty in ("online_publication", "posting", "online_monitoring"):
        assert pool.lapses(duty, day("06:10")) == [(day("06:05"), None)], duty
    # What was before stays kept, and publishing it once more serves nothing.
    pool.publish(day("06:07"), day("06:00"), content="b").show(day("06:08"), "b")
    for duty in ("online_publication", "posting"):
        assert pool.lapses(duty, day("06:10")) == [(day("06:05"), None)], duty
    (lapse,) = pool.verdicts("online_publication", day("06:10"))
    # A reading that was taken back is no reading that could have been published.
    assert lapse.cause is Cause.NOT_MEASURED


def test_a_correction_of_a_publication_ends_that_publication_alone() -> None:
    pool = case().reading("fc-1", day("06:00")).publish(day("06:00"), day("06:00"), content="a")
    pool.show(day("06:00"), "a").show(day("06:02"), "a").show(day("06:04"), "a").correct(day("06:03"), "a")
    assert pool.lapses("online_publication", day("06:10")) == [(day("06:03"), None)]
    assert pool.lapses("posting", day("06:10")) == [(day("06:03"), None)]
    assert pool.lapses("online_monitoring", day("06:10")) == []
    (lapse,) = pool.verdicts("online_publication", day("06:10"))
    assert lapse.cause is Cause.NOT_PUBLISHED
    # Another publication of the same reading, not corrected, serves for its own age.
    pool.publish(day("06:06"), day("06:00"), content="b")
    assert pool.lapses("online_publication", day("06:10")) == [(day("06:03"), day("06:06"))]


def test_the_first_of_two_corrections_counts_and_one_of_a_verdict_none() -> None:
    pool = case().reading("fc-1", day("06:00")).publish(day("06:00"), day("06:00"))
    pool.correct(day("06:09"), READING).correct(day("06:05"), READING).correct(day("06:01"), "verdict-1")
    assert pool.lapses("online_publication", day("06:10")) == [(day("06:05"), None)]
