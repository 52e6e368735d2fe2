"""The full test, by hand: yearly, before a season, nothing but a passing report (DESIGN 12.4)."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.duties.facts import BEGIN, FactPart, serving_facts
from analytics.duties.full_test import bound_seasons, report_parts, season_end_ms, seasons
from analytics.entries import Report
from analytics.publication import overdue_pieces
from analytics.results import DutyStanding, EndedBy, Evidence, ServingFact
from analytics.spans import EMPTY, FAR_MS, cut, merged
from gateway.contract.registry import PoolKind
from tests.analytics.duty_case import DAY, DutyCase, at, cells_of, spans_of
from tests.analytics.duty_seconds import duty_seconds

YEAR = 365 * DAY
BEGIN_MS = at("2024-03-01 12:00")
SEASONAL = "Jun 15-Sep 15 09:00-21:00"


def case(hours: str = "Mo-Su 06:00-22:00", begin_ms: int = BEGIN_MS) -> DutyCase:
    return DutyCase(hours=hours, kind=PoolKind.OUTDOOR, from_ms=begin_ms)


def report(pool: DutyCase, at_ms: int, *, passed: bool = True, by: str = "CDC") -> DutyCase:
    return pool.enter("laboratory_report", at_ms, by=by, passed=passed)


def test_without_any_report_it_is_unverified_for_a_year_and_then_overdue() -> None:
    pool = case()
    assert pool.standing("full_test", BEGIN_MS - 1, "") is DutyStanding.NOT_DUE
    assert pool.standing("full_test", BEGIN_MS, "") is DutyStanding.UNVERIFIED
    last = BEGIN_MS + YEAR - 1
    assert (pool.standing("full_test", last, ""), pool.lapses("full_test", last, "")) == (
        DutyStanding.UNVERIFIED,
        [],
    )
    assert pool.outcome("full_test", last, "").edges_ms.count(BEGIN_MS + YEAR) == 1
    # Through the nights and for ever, one lapse.
    for now_ms in (BEGIN_MS + YEAR, BEGIN_MS + 3 * YEAR):
        (lapse,) = pool.verdicts("full_test", now_ms, "")
        assert (lapse.start_ms, lapse.end_ms, lapse.consequence) == (BEGIN_MS + YEAR, None, "none")
        assert lapse.evidence == Evidence(ServingFact(BEGIN, "", BEGIN_MS, BEGIN_MS))
        assert pool.standing("full_test", now_ms, "") is DutyStanding.OVERDUE


def test_only_a_passing_report_does_it_for_a_year() -> None:
    pool = report(case(), BEGIN_MS + 10 * DAY, passed=False)
    assert pool.standing("full_test", BEGIN_MS + 11 * DAY, "") is DutyStanding.UNVERIFIED
    first, second = BEGIN_MS + 30 * DAY, BEGIN_MS + 30 * DAY + YEAR + 20 * DAY
    report(report(pool, first), second, by="lab 2")
    assert pool.standing("full_test", first, "") is DutyStanding.KEPT
    assert pool.outcome("full_test", first, "").standing.deadline_ms == first + YEAR
    (lapse,) = pool.verdicts("full_test", second + DAY, "")
    assert (lapse.start_ms, lapse.end_ms) == (first + YEAR, second)
    assert lapse.seconds_by_cause == {"not_measured": 20 * 86_400.0}
    assert lapse.evidence == Evidence(
        ServingFact("laboratory_report", "CDC", first, first),
        EndedBy.FACT,
        ServingFact("laboratory_report", "lab 2", second, second),
    )


def test_what_is_found_does_not_depend_on_how_far_the_window_looks_back() -> None:
    pool = case()
    now_ms = BEGIN_MS + 2 * YEAR
    near = pool.outcome("full_test", now_ms, "", look_from_ms=now_ms - DAY)
    assert near.findings == pool.outcome("full_test", now_ms, "", look_from_ms=BEGIN_MS - DAY).findings


def test_a_seasonal_pool_is_tested_between_the_last_closing_and_the_first_opening() -> None:
    opens = [at(f"{year}-06-15 09:00") for year in (2024, 2025, 2026)]
    closes = [at(f"{year}-09-15 21:00") for year in (2024, 2025, 2026)]
    # Registered in March, before its first season; what was tested before is not known.
    pool = case(SEASONAL)
    assert pool.standing("full_test", opens[0] + DAY, "") is DutyStanding.UNVERIFIED
    assert pool.standing("full_test", closes[0] + DAY, "") is DutyStanding.NOT_DUE
    # A report in the season, at its last instant, serves no other season; one at the closing does.
    report(pool, closes[0] - 1)
    assert pool.lapses("full_test", opens[1] + DAY, "") == [(opens[1], None)]
    at_closing = report(case(SEASONAL), closes[0])
    assert at_closing.standing("full_test", opens[1] + DAY, "") is DutyStanding.KEPT
    # In force until the season after, though a year would reach further.
    report(pool, opens[1] + 5 * DAY)
    assert pool.lapses("full_test", opens[2] + DAY, "") == [
        (opens[1], opens[1] + 5 * DAY),
        (opens[2], None),
    ]
    # The season's end ends the lapse, for there is no duty in winter.
    (_, last) = pool.verdicts("full_test", closes[2] + DAY, "")
    assert (last.start_ms, last.end_ms) == (opens[2], closes[2])
    assert last.evidence is not None
    assert last.evidence.ended is EndedBy.CLOSING


def test_a_break_of_less_than_30_days_is_no_season() -> None:
    # Closed in the whole of February 2025, 28 days; and in a month of 31.
    short = report(case("Mar-Jan Mo-Su 06:00-22:00"), at("2025-01-10 12:00"))
    assert short.standing("full_test", at("2025-03-10 12:00"), "") is DutyStanding.KEPT
    long = report(case("Sep-Jul Mo-Su 06:00-22:00", at("2025-01-01 00:00")), at("2025-07-10 12:00"))
    assert long.lapses("full_test", at("2025-09-10 12:00"), "") == [(at("2025-09-01 06:00"), None)]


def test_a_break_of_exactly_30_days_makes_a_season() -> None:
    assert seasons(merged([(0, DAY), (31 * DAY - 1, 32 * DAY)])).tolist() == [[0, 32 * DAY]]
    assert seasons(merged([(0, DAY), (31 * DAY, 32 * DAY)])).tolist() == [[0, DAY], [31 * DAY, 32 * DAY]]
    assert seasons(EMPTY).tolist() == []


def test_a_closure_by_entry_ends_it_only_when_it_has_lasted_30_days() -> None:
    lapsed = BEGIN_MS + YEAR
    pool = case().enter("closure", lapsed + DAY)
    assert pool.lapses("full_test", lapsed + 20 * DAY, "") == [(lapsed, None)]
    (lapse,) = pool.verdicts("full_test", lapsed + 31 * DAY, "")
    assert (lapse.start_ms, lapse.end_ms) == (lapsed, lapsed + DAY)
    assert lapse.evidence is not None
    assert lapse.evidence.ended is EndedBy.CLOSURE
    assert pool.standing("full_test", lapsed + 40 * DAY, "") is DutyStanding.NOT_DUE
    pool.enter("reopening", lapsed + 50 * DAY)
    assert pool.lapses("full_test", lapsed + 60 * DAY, "") == [
        (lapsed, lapsed + DAY),
        (lapsed + 50 * DAY, None),
    ]
    short = case().enter("closure", lapsed + DAY).enter("reopening", lapsed + 11 * DAY)
    assert short.lapses("full_test", lapsed + 60 * DAY, "") == [(lapsed, None)]


def test_days_count_its_open_time() -> None:
    pool = case()
    now_ms = BEGIN_MS + YEAR + DAY
    found = pool.outcome("full_test", now_ms, "")
    days = merged([(at("2025-02-28 00:00"), at("2025-03-01 00:00"))])
    more = np.concatenate((days, merged([(at("2025-03-02 00:00"), at("2025-03-03 00:00"))])))
    window = pool.window(now_ms)
    seconds = duty_seconds(found, days=more, open_time=window.open_time, until_ms=now_ms)
    # The year is over on 2025-03-01 at 12:00, and now is noon of the 2nd: 16 h unverified, 6 h overdue.
    assert (seconds.unverified_s / 3600).tolist() == [16, 0]
    assert (seconds.overdue_s / 3600).tolist() == [0, 6]
    assert seconds.standings == [DutyStanding.UNVERIFIED, DutyStanding.OVERDUE]


@settings(max_examples=300, deadline=None)
@given(
    open_days=st.lists(
        st.tuples(st.integers(0, 500), st.integers(1, 90)).map(lambda p: (p[0], p[0] + p[1])), max_size=5
    ),
    reports=st.lists(st.tuples(st.integers(-50, 500), st.booleans()), max_size=6),
    begin=st.integers(0, 300),
    age=st.integers(1, 400),
    now=st.integers(0, 600),
    closures=st.lists(
        st.tuples(st.integers(0, 500), st.integers(1, 60)).map(lambda p: (p[0], p[0] + p[1])), max_size=2
    ),
)
def test_against_a_loop_over_days(
    open_days: list[tuple[int, int]],
    reports: list[tuple[int, bool]],
    begin: int,
    age: int,
    now: int,
    closures: list[tuple[int, int]],
) -> None:
    opening = merged(np.array(open_days, dtype=np.int64).reshape(-1, 2) * DAY)
    closed = merged(np.array(closures, dtype=np.int64).reshape(-1, 2) * DAY)
    found = seasons(opening)
    parts = report_parts(tuple(Report(day * DAY, "lab", passed) for day, passed in reports), found)
    begins = np.array([begin * DAY], dtype=np.int64)
    start = FactPart(BEGIN, "", begins, begins, at_most_ms=season_end_ms(begins, found))
    facts = serving_facts([*parts, start], age_ms=age * DAY, sessions=EMPTY, before_session_ms=None).facts
    bound = cut(
        bound_seasons(found, closed, now_ms=now * DAY), np.array([(begin * DAY, FAR_MS)], dtype=np.int64)
    )
    pieces = cut(overdue_pieces(facts, from_ms=begin * DAY, to_ms=FAR_MS), bound)

    is_open = {cell for first, after in open_days for cell in range(first, after)}
    shut = {cell for a, b in closed.tolist() for cell in range(a // DAY, min(b // DAY, now))}
    long_shut = {cell for a, b in spans_of(shut) if b - a >= 30 for cell in range(a, b)}
    in_season = {
        cell
        for cell in range(600)
        if cell in is_open
        or (
            any(before in is_open for before in range(cell))
            and any(after in is_open for after in range(cell, 700))
            and cell - max(c for c in is_open if c < cell) + min(c for c in is_open if c > cell) - cell - 1
            < 30
        )
    }

    def serves(done: int, cell: int) -> bool:
        if not done <= cell < done + age:
            return False
        # No season begins between the test and the cell whose break began after the test.
        for opens in (c for c in in_season if c - 1 not in in_season and done < c <= cell):
            last_closing = max((c + 1 for c in in_season if c < opens), default=None)
            if last_closing is not None and done < last_closing:
                return False
        return True

    done = [day for day, passed in reports if passed] + [begin]
    overdue = {
        cell
        for cell in in_season
        if cell >= begin and cell not in long_shut and not any(serves(day, cell) for day in done)
    }
    assert cells_of(pieces, cell_ms=DAY, to_ms=now * DAY) == {cell for cell in overdue if cell < now}
