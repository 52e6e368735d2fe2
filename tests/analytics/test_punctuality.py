"""Punctuality: hand-made days, and every millisecond of short ones."""

from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.compliance.local_days import LocalDays, Period, Sessions, local_days, sessions
from analytics.compliance.punctuality import PunctualityColumns, of_whole_pools, punctuality
from analytics.compliance.rows import WHOLE_POOL, by_period, table
from analytics.ragged import RaggedSpans
from analytics.spans import FAR_MS, merged

HOUR_MS = 3_600_000
MIDNIGHT_MS = 1_782_835_200_000  # 2026-07-01 in Changzhou
TEST, POSTING = 0, 1
FREE_CHLORINE, PH = 0, 1
GROUPS = [(0, TEST, FREE_CHLORINE), (0, POSTING, FREE_CHLORINE), (1, TEST, PH)]
N_POOLS, DAY, N_DAYS, END = 2, 12, 3, 50
SHORT_DAYS = LocalDays(
    first_day=np.datetime64("2026-07-30"),
    n_days=N_DAYS,
    edges_ms=np.array([[DAY * (day - 1) for day in range(N_DAYS + 3)]]),
    zone=np.zeros(N_POOLS, dtype=np.intp),
)
Pairs = list[tuple[int, int]]
PAIRS = st.lists(
    st.tuples(st.integers(-4, END), st.integers(0, 14)).map(lambda pair: (pair[0], pair[0] + pair[1])),
    max_size=4,
)
OF_GROUPS = st.lists(PAIRS, min_size=len(GROUPS), max_size=len(GROUPS))


def ragged(drawn: list[Pairs]) -> RaggedSpans:
    return RaggedSpans.of([merged(np.array(one, dtype=np.int64).reshape(-1, 2)) for one in drawn])


def kept(
    open_time: Sessions, overdue: list[Pairs], unverified: list[Pairs], due: list[Pairs] | None = None
) -> PunctualityColumns:
    codes = np.array(GROUPS[: len(overdue)], dtype=np.int64)
    return punctuality(
        open_time,
        pool=codes[:, 0],
        duty=codes[:, 1],
        quantity=codes[:, 2],
        overdue=ragged(overdue),
        unverified=ragged(unverified),
        due=None if due is None else ragged(due),
    )


def hours(first: int, last: int) -> tuple[int, int]:
    return MIDNIGHT_MS + first * HOUR_MS, MIDNIGHT_MS + last * HOUR_MS


def two_days() -> Sessions:
    """Open 08:00-20:00 on 1 and 2 July."""
    days = local_days(["Asia/Shanghai"], first=date(2026, 7, 1), last=date(2026, 7, 2))
    return sessions(ragged([[hours(8, 20), hours(32, 44)]]), days, until_ms=FAR_MS)


def test_two_days_of_a_test_and_a_posting() -> None:
    # The test is overdue 10-12 and 18-34 (cut by the night: two lapses more); the posting's second day is unknown.
    found = kept(two_days(), [[hours(10, 12), hours(18, 34)], []], [[], [hours(30, 50)]])
    assert found.duty.tolist() == [TEST, TEST, POSTING, POSTING]
    assert (found.due_ms // HOUR_MS).tolist() == [12, 12, 12, 12]
    assert (found.kept_ms // HOUR_MS).tolist() == [8, 10, 12, 0]
    assert (found.overdue_ms // HOUR_MS).tolist() == [4, 2, 0, 0]
    assert (found.unverified_ms // HOUR_MS).tolist() == [0, 0, 0, 12]
    assert found.lapses.tolist() == [2, 1, 0, 0]
    assert [found.done.tolist(), found.overdue.tolist(), found.unverified.tolist()] == [
        [0, 0, 1, 0],
        [1, 1, 0, 0],
        [0, 0, 0, 1],
    ]
    assert found.punctuality[:3] == pytest.approx([8 / 12, 10 / 12, 1])
    assert np.isnan(found.punctuality[3])


def test_a_month_is_the_sum_of_its_days_and_a_pool_of_its_duties() -> None:
    days = kept(two_days(), [[hours(10, 12), hours(18, 34)], []], [[], [hours(30, 50)]])
    month = by_period(days, Period.MONTH)
    assert [str(start) for start in month.start] == ["2026-07-01"] * 2
    assert [month.lapses.tolist(), month.done.tolist(), month.overdue.tolist()] == [[3, 0], [0, 1], [2, 0]]
    assert month.punctuality == pytest.approx([18 / 24, 1])
    pool = of_whole_pools(month)
    assert [pool.duty.tolist(), pool.quantity.tolist()] == [[WHOLE_POOL], [WHOLE_POOL]]
    assert [pool.done[0], pool.overdue[0], pool.unverified[0], pool.lapses[0]] == [1, 2, 1, 3]
    assert pool.punctuality == pytest.approx([30 / 36])
    assert table(pool)["overdue_s"].tolist() == [6 * 3600]


def test_a_lapse_over_the_midnights_of_a_pool_that_never_closes_is_one() -> None:
    days = local_days(["Asia/Shanghai"], first=date(2026, 7, 1), last=date(2026, 7, 3))
    open_time = sessions(ragged([[(-FAR_MS, FAR_MS)]]), days, until_ms=FAR_MS)
    found = kept(open_time, [[hours(20, 60)]], [[]])
    assert found.lapses.tolist() == [1, 0, 0]
    assert (found.overdue_ms // HOUR_MS).tolist() == [4, 24, 12]
    # One that runs already when the first day begins counts there.
    assert kept(open_time, [[hours(-5, 30)]], [[]]).lapses.tolist() == [1, 0, 0]


def test_a_duty_binds_only_while_it_is_due() -> None:
    found = kept(two_days(), [[hours(8, 20)]], [[]], due=[[hours(14, 21)]])
    assert [str(start) for start in found.start] == ["2026-07-01"]
    assert [found.due_ms[0] // HOUR_MS, found.overdue_ms[0] // HOUR_MS, found.lapses[0]] == [6, 6, 1]


def test_groups_are_told_apart() -> None:
    with pytest.raises(ValueError, match="given twice"):
        punctuality(
            two_days(),
            pool=np.array([0, 0]),
            duty=np.array([TEST, TEST]),
            quantity=np.array([PH, PH]),
            overdue=ragged([[], []]),
            unverified=ragged([[], []]),
        )


@settings(max_examples=150, deadline=None)
@given(st.lists(PAIRS, min_size=N_POOLS, max_size=N_POOLS), OF_GROUPS, OF_GROUPS, st.none() | OF_GROUPS)
def test_equals_going_through_every_millisecond(
    opening: list[Pairs], overdue: list[Pairs], unverified: list[Pairs], due: list[Pairs] | None
) -> None:
    open_time = sessions(ragged(opening), SHORT_DAYS, until_ms=END)
    found = kept(open_time, overdue, unverified, due)

    def within(spans: Pairs, moment: int) -> bool:
        return any(start <= moment < end for start, end in spans)

    expected: dict[tuple[int, str], list[int]] = {}
    for group, (pool, _, _) in enumerate(GROUPS):

        def lapsed(moment: int, group: int = group) -> bool:
            bound = due is None or within(due[group], moment)
            return bound and within(overdue[group], moment) and not within(unverified[group], moment)

        for row in range(open_time.first[pool], open_time.first[pool + 1]):
            for moment in range(int(open_time.spans[row, 0]), int(open_time.spans[row, 1])):
                if due is not None and not within(due[group], moment):
                    continue
                sums = expected.setdefault((group, str(open_time.day[row])), [0, 0, 0, 0, 0])
                sums[0] += 1
                unknown = within(unverified[group], moment)
                sums[3 if unknown else 2 if lapsed(moment) else 1] += 1
                fresh = moment == open_time.spans[row, 0] and bool(open_time.begins[row])
                sums[4] += lapsed(moment) and (fresh or not lapsed(moment - 1))
    group_of = {codes: group for group, codes in enumerate(GROUPS)}
    got = {}
    for row in range(len(found.pool)):
        group = group_of[int(found.pool[row]), int(found.duty[row]), int(found.quantity[row])]
        figures = [
            column[row]
            for column in (found.due_ms, found.kept_ms, found.overdue_ms, found.unverified_ms, found.lapses)
        ]
        got[group, str(found.start[row])] = [int(figure) for figure in figures]
        standing = [int(found.overdue[row]), int(found.unverified[row]), int(found.done[row])]
        assert standing.index(1) == (0 if figures[2] else 1 if figures[3] else 2)
        assert sum(standing) == 1
    assert got == expected
