"""Compliance by local day, month and season: hand-made days, and every millisecond of short ones."""

from dataclasses import fields
from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.compliance.account import (
    ComplianceColumns,
    StandardSpans,
    compliance,
    covered,
    occurrences,
    standard_spans,
)
from analytics.compliance.local_days import LocalDays, Period, Sessions, local_days, sessions
from analytics.compliance.rows import WHOLE_POOL, by_period, table
from analytics.ragged import RaggedSpans
from analytics.ragged_lengths import merged_by_owner
from analytics.spans import FAR_MS, Spans, merged

MINUTE_MS, HOUR_MS = 60_000, 3_600_000
#: Local midnight of 2026-07-01 in Changzhou, UTC+8 all year.
MIDNIGHT_MS = 1_782_835_200_000
FREE_CHLORINE, PH, WATER_TEMP = 0, 1, 2
ORDER = (FREE_CHLORINE, PH, WATER_TEMP)

N_POOLS, DAY, N_DAYS, END = 3, 12, 3, 50
SHORT_DAYS = LocalDays(
    first_day=np.datetime64("2026-07-30"),
    n_days=N_DAYS,
    edges_ms=np.array([[DAY * (day - 1) for day in range(N_DAYS + 3)]]),
    zone=np.zeros(N_POOLS, dtype=np.intp),
)

Pairs = list[tuple[int, int]]
Rows = list[dict[str, object]]
PAIRS = st.lists(
    st.tuples(st.integers(-4, END), st.integers(0, 14)).map(lambda pair: (pair[0], pair[0] + pair[1])),
    max_size=4,
)


def pairs(drawn: Pairs) -> Spans:
    return merged(np.array(drawn, dtype=np.int64).reshape(-1, 2))


def ragged(drawn: list[Pairs]) -> RaggedSpans:
    return RaggedSpans.of([pairs(one) for one in drawn])


def listed(columns: ComplianceColumns) -> Rows:
    names = [field.name for field in fields(columns) if field.name != "period"]
    return [
        {name: str(value) if name == "start" else int(value) for name, value in zip(names, row, strict=True)}
        for row in zip(*(getattr(columns, name) for name in names), strict=True)
    ]


def one_day(*, out: Pairs = [], unverified: Pairs = [], silent: Pairs = []) -> dict[str, object]:  # noqa: B006 - read only
    """One pool with free chlorine only, open 08:00-20:00 on 1 July; spans in minutes after 08:00."""
    opens_ms = MIDNIGHT_MS + 8 * HOUR_MS
    days = local_days(["Asia/Shanghai"], first=date(2026, 7, 1), last=date(2026, 7, 1))
    open_time = sessions(ragged([[(opens_ms, opens_ms + 12 * HOUR_MS)]]), days, until_ms=FAR_MS)
    in_out, in_unverified, in_silent = (
        ragged([[(opens_ms + low * MINUTE_MS, opens_ms + high * MINUTE_MS) for low, high in kind]])
        for kind in (out, unverified, silent)
    )
    found = compliance(
        open_time,
        pool=np.array([0]),
        quantity=np.array([FREE_CHLORINE]),
        spans=StandardSpans(in_out, in_unverified, in_silent, unmeasured=in_silent),
        deciding=(FREE_CHLORINE,),
    )
    return listed(found)[0]


def minutes(row: dict[str, object]) -> list[float]:
    """Open, measured, in standard, out, unverified, silent."""
    return [
        float(str(row[f"{name}_ms"])) / MINUTE_MS
        for name in ("open", "measured", "in_standard", "out", "unverified", "silent")
    ]


def test_a_day_without_events_is_in_standard() -> None:
    assert minutes(one_day()) == [720, 720, 720, 0, 0, 0]


def test_what_is_closed_does_not_count() -> None:
    assert minutes(one_day(out=[(-60, 30), (700, 800)])) == [720, 720, 670, 50, 0, 0]


def test_silence_hides_everything_and_out_hides_unverified() -> None:
    # Out 0-100, unverified 80-150, silent 90-120: out 0-90, silent 90-120, unverified 120-150.
    row = one_day(out=[(0, 100)], unverified=[(80, 150)], silent=[(90, 120)])
    assert minutes(row) == [720, 690, 570, 90, 30, 30]


def test_seconds_are_exact_in_a_table() -> None:
    opens_ms = MIDNIGHT_MS + 8 * HOUR_MS
    days = local_days(["Asia/Shanghai"], first=date(2026, 7, 1), last=date(2026, 7, 1))
    open_time = sessions(ragged([[(opens_ms, opens_ms + 10_001)]]), days, until_ms=FAR_MS)
    nothing = ragged([[]])
    out = ragged([[(opens_ms + 1, opens_ms + 2)]])
    found = table(
        compliance(
            open_time,
            pool=np.array([0]),
            quantity=np.array([PH]),
            spans=StandardSpans(out, nothing, nothing, nothing),
            deciding=(PH,),
        )
    )
    assert list(found) == [
        "period", "start", "pool", "quantity", "open_s", "measured_s", "in_standard_s", "out_s", "unverified_s", "silent_s",
    ]  # fmt: skip
    assert [found[name][0] for name in ("period", "quantity", "open_s", "in_standard_s", "out_s")] == [
        "day", PH, 10.001, 10.0, 0.001,
    ]  # fmt: skip
    assert str(found["start"][0]) == "2026-07-01"


def short_sessions(opening: list[Pairs], until_ms: int = 10**6) -> Sessions:
    return sessions(ragged(opening), SHORT_DAYS, until_ms=until_ms)


GROUPS = [(pool, quantity) for pool in range(N_POOLS) for quantity in ORDER][
    :-1
]  # the last pool has no probe of temperature
KINDS = ("out", "unverified", "silent", "unmeasured")
Drawn = dict[str, list[Pairs]]
HISTORIES = st.fixed_dictionaries(
    {kind: st.lists(PAIRS, min_size=len(GROUPS), max_size=len(GROUPS)) for kind in KINDS}
)
OPENING = st.lists(PAIRS, min_size=N_POOLS, max_size=N_POOLS)


def judged(open_time: Sessions, drawn: Drawn, groups: list[tuple[int, int]] = GROUPS) -> ComplianceColumns:
    codes = np.array(groups, dtype=np.int64).reshape(-1, 2)
    return compliance(
        open_time,
        pool=codes[:, 0],
        quantity=codes[:, 1],
        spans=StandardSpans(**{kind: ragged(drawn[kind]) for kind in KINDS}),
        deciding=ORDER,
    )


def moments(open_time: Sessions, pool: int) -> list[tuple[str, int]]:
    return [
        (str(open_time.day[row]), moment)
        for row in range(open_time.first[pool], open_time.first[pool + 1])
        for moment in range(int(open_time.spans[row, 0]), int(open_time.spans[row, 1]))
    ]


def brute(open_time: Sessions, drawn: Drawn) -> Rows:
    """Every millisecond of open time, by the definitions."""

    def within(kind: str, group: int, moment: int) -> bool:
        return any(start <= moment < end for start, end in drawn[kind][group])

    def state(group: int, moment: int) -> str:
        for kind in ("silent", "out", "unverified"):
            if within(kind, group, moment):
                return kind
        return "in_standard"

    counts: dict[tuple[int, int, str], dict[str, int]] = {}

    def add(pool: int, quantity: int, day: str, kind: str, *, measured: bool) -> None:
        zeros = dict.fromkeys(("open", "measured", "in_standard", "out", "unverified", "silent"), 0)
        row = counts.setdefault((pool, quantity, day), zeros)
        row["open"] += 1
        row["measured"] += measured
        row[kind] += 1

    for group, (pool, quantity) in enumerate(GROUPS):
        for day, moment in moments(open_time, pool):
            add(pool, quantity, day, state(group, moment), measured=not within("unmeasured", group, moment))
    for pool in range(N_POOLS):
        mine = [group for group, (whose, _) in enumerate(GROUPS) if whose == pool]
        for day, moment in moments(open_time, pool):
            states = {state(group, moment) for group in mine} | (
                {"silent"} if len(mine) < len(ORDER) else set()
            )
            worst = next(kind for kind in ("out", "silent", "unverified", "in_standard") if kind in states)
            measured = len(mine) == len(ORDER) and not any(
                within("unmeasured", group, moment) for group in mine
            )
            add(pool, WHOLE_POOL, day, worst, measured=measured)
    return [
        {"start": day, "pool": pool, "quantity": quantity}
        | {f"{name}_ms": count for name, count in row.items()}
        for (pool, quantity, day), row in counts.items()
    ]


def by_key(rows: Rows) -> list[list[tuple[str, object]]]:
    return sorted(sorted(row.items()) for row in rows)


@settings(max_examples=150, deadline=None)
@given(OPENING, HISTORIES, st.integers(0, END))
def test_equals_going_through_every_millisecond(opening: list[Pairs], drawn: Drawn, until_ms: int) -> None:
    open_time = short_sessions(opening, until_ms)
    found = judged(open_time, drawn)
    assert by_key(listed(found)) == by_key(brute(open_time, drawn))
    parts = found.in_standard_ms + found.out_ms + found.unverified_ms + found.silent_ms
    assert found.open_ms.tolist() == parts.tolist()


@settings(max_examples=60, deadline=None)
@given(OPENING, HISTORIES)
def test_a_day_later_is_the_same_a_day_later(opening: list[Pairs], drawn: Drawn) -> None:
    def later(of: list[Pairs]) -> list[Pairs]:
        return [[(start + DAY, end + DAY) for start, end in one] for one in of]

    shifted = LocalDays(
        SHORT_DAYS.first_day + np.timedelta64(1, "D"), N_DAYS, SHORT_DAYS.edges_ms + DAY, SHORT_DAYS.zone
    )
    found = judged(short_sessions(opening), drawn)
    moved = judged(
        sessions(ragged(later(opening)), shifted, until_ms=10**6),
        {kind: later(of) for kind, of in drawn.items()},
    )
    assert (moved.start - np.timedelta64(1, "D")).tolist() == found.start.tolist()
    for field in fields(found):
        if field.name not in {"period", "start"}:
            assert getattr(moved, field.name).tolist() == getattr(found, field.name).tolist(), field.name


@settings(max_examples=60, deadline=None)
@given(OPENING, HISTORIES)
def test_pools_together_are_pools_apart(opening: list[Pairs], drawn: Drawn) -> None:
    together = listed(judged(short_sessions(opening), drawn))
    apart: Rows = []
    for pool in range(N_POOLS):
        alone = [index for index, (whose, _) in enumerate(GROUPS) if whose == pool]
        open_time = sessions(
            ragged([opening[pool]]),
            LocalDays(SHORT_DAYS.first_day, N_DAYS, SHORT_DAYS.edges_ms, SHORT_DAYS.zone[:1]),
            until_ms=10**6,
        )
        found = judged(
            open_time,
            {kind: [of[index] for index in alone] for kind, of in drawn.items()},
            [(0, GROUPS[index][1]) for index in alone],
        )
        apart += [row | {"pool": pool} for row in listed(found)]
    assert by_key(together) == by_key(apart)


@settings(max_examples=60, deadline=None)
@given(OPENING, HISTORIES)
def test_months_and_seasons_are_the_sums_of_their_days(opening: list[Pairs], drawn: Drawn) -> None:
    # The short days are 30 and 31 July and 1 August: two months, one season.
    days = judged(short_sessions(opening), drawn)
    for period, first in (
        (Period.MONTH, {"2026-07-30": "2026-07-01", "2026-07-31": "2026-07-01", "2026-08-01": "2026-08-01"}),
        (Period.SEASON, dict.fromkeys(("2026-07-30", "2026-07-31", "2026-08-01"), "2026-06-01")),
    ):
        sums: dict[tuple[str, int, int], dict[str, object]] = {}
        for row in listed(days):
            start = first[str(row["start"])]
            key = (start, int(str(row["pool"])), int(str(row["quantity"])))
            total = sums.setdefault(key, {"start": start, "pool": key[1], "quantity": key[2]})
            for name, value in row.items():
                if name.endswith("_ms"):
                    total[name] = int(str(total.get(name, 0))) + int(str(value))
        found = by_period(days, period)
        assert found.period is period
        assert by_key(listed(found)) == by_key(list(sums.values()))


def test_a_suspect_reading_of_one_quantity_does_not_excuse_the_silence_of_another() -> None:
    nothing: list[Pairs] = [[], [], []]
    found = judged_whole(unverified=[[(0, 6)], [], []], silent=[[], [(2, 8)], []], out=[[], [], [(7, 9)]])
    assert found == {"open": 12, "measured": 12, "out": 2, "silent": 5, "unverified": 2, "in_standard": 3}
    assert judged_whole(out=nothing, unverified=nothing, silent=nothing)["in_standard"] == DAY


def judged_whole(**drawn: list[Pairs]) -> dict[str, int]:
    """The row of a whole pool that is open all of the first day."""
    days = LocalDays(SHORT_DAYS.first_day, N_DAYS, SHORT_DAYS.edges_ms, SHORT_DAYS.zone[:1])
    open_time = sessions(ragged([[(0, DAY)]]), days, until_ms=10**6)
    found = judged(open_time, drawn | {"unmeasured": [[], [], []]}, [(0, quantity) for quantity in ORDER])
    row = listed(found)[-1]
    assert row["quantity"] == WHOLE_POOL
    return {
        name: int(str(row[f"{name}_ms"]))
        for name in ("open", "measured", "out", "silent", "unverified", "in_standard")
    }


def test_a_pool_that_nobody_measures_is_silent() -> None:
    open_time = short_sessions([[(0, 6)], [], []])
    drawn: Drawn = {kind: [] for kind in KINDS}
    rows = listed(judged(open_time, drawn, []))
    assert [(row["pool"], row["silent_ms"], row["in_standard_ms"], row["measured_ms"]) for row in rows] == [
        (0, 6, 0, 0)
    ]


def test_no_pools_no_rows() -> None:
    none = LocalDays(SHORT_DAYS.first_day, N_DAYS, SHORT_DAYS.edges_ms, np.empty(0, dtype=np.intp))
    drawn: Drawn = {kind: [] for kind in KINDS}
    found = judged(sessions(ragged([]), none, until_ms=0), drawn, [])
    assert listed(found) == listed(by_period(found, Period.MONTH)) == []


def test_groups_are_told_apart() -> None:
    open_time = short_sessions([[], [], []])
    drawn: Drawn = {kind: [[], []] for kind in KINDS}
    with pytest.raises(ValueError, match="given twice"):
        judged(open_time, drawn, [(0, PH), (0, PH)])
    with pytest.raises(ValueError, match="pools must be within 0 to 2"):
        judged(open_time, drawn, [(0, PH), (3, PH)])


def events(rows: list[tuple[int, int, int]]) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], Spans]:
    grouped = np.array(rows, dtype=np.int64).reshape(-1, 3)
    return grouped[:, 0], grouped[:, 1:]


def standard(
    exceeded: list[tuple[int, int, int, int]],
    lapses: list[tuple[int, int, int]],
    suspect: list[tuple[int, int, int]],
) -> StandardSpans:
    group, spans = events([row[:3] for row in exceeded])
    lapse_group, lapse_spans = events(lapses)
    suspect_group, suspect_spans = events(suspect)
    return standard_spans(
        n_groups=2,
        exceedance_group=group,
        exceedances=spans,
        unverified_since_ms=np.array([row[3] for row in exceeded], dtype=np.int64),
        lapse_group=lapse_group,
        lapses=lapse_spans,
        suspect_group=suspect_group,
        suspect=suspect_spans,
    )


def test_exceedances_lapses_and_suspect_readings_are_sorted() -> None:
    # Two sensors of group 0 exceed; what begins at 30 is vouched for until 40. Suspect readings cover 45-50 of a lapse.
    found = standard(
        exceeded=[(0, 10, 20, FAR_MS), (0, 15, 25, FAR_MS), (0, 30, 60, 40), (1, 5, 9, 5)],
        lapses=[(0, 42, 60)],
        suspect=[(0, 45, 50), (1, 20, 21)],
    )
    assert [found.out[0].tolist(), found.out[1].tolist()] == [[[10, 25], [30, 40]], []]
    assert [found.unverified[0].tolist(), found.unverified[1].tolist()] == [[[40, 60]], [[5, 9], [20, 21]]]
    assert found.silent[0].tolist() == [[42, 45], [50, 60]]
    assert found.unmeasured[0].tolist() == [[42, 60]]


def test_an_exceedance_that_nobody_vouched_for_from_its_start_is_never_out() -> None:
    found = standard([(0, 10, 20, -5)], [], [])
    assert found.out.spans.tolist() == []
    assert found.unverified[0].tolist() == [[10, 20]]


@settings(max_examples=100, deadline=None)
@given(OPENING, st.lists(PAIRS, min_size=N_POOLS, max_size=N_POOLS), st.integers(0, END))
def test_occurrences_are_counted_once_where_they_begin(
    opening: list[Pairs], spans: list[Pairs], until_ms: int
) -> None:
    open_time = short_sessions(opening, until_ms)
    every = np.arange(N_POOLS)
    owner = np.repeat(every, [len(one) for one in spans])
    flat = np.array([pair for one in spans for pair in one], dtype=np.int64).reshape(-1, 2)
    found = occurrences(
        open_time,
        pool=every,
        quantity=np.zeros(N_POOLS, dtype=np.int64),
        spans=merged_by_owner(owner, flat, n_owners=N_POOLS),
    )
    got = {
        (int(pool), str(start)): int(count)
        for pool, start, count in zip(found.pool, found.start, found.occurrences, strict=True)
    }
    expected: dict[tuple[int, str], int] = {}
    for pool in range(N_POOLS):
        for row in range(open_time.first[pool], open_time.first[pool + 1]):
            key = (pool, str(open_time.day[row]))
            for moment in range(int(open_time.spans[row, 0]), int(open_time.spans[row, 1])):
                held = any(start <= moment < end for start, end in spans[pool])
                before = any(start <= moment - 1 < end for start, end in spans[pool])
                # The first moment of a session has nothing before it; that of a day's part of a long one has.
                fresh = moment == open_time.spans[row, 0] and bool(open_time.begins[row])
                expected[key] = expected.get(key, 0) + (held and (fresh or not before))
    assert got == expected


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 20), st.booleans()), max_size=8))
def test_a_reading_covers_until_the_next_one_or_its_age(drawn: list[tuple[int, int, bool]]) -> None:
    readings = sorted(drawn)
    ages = (3, 6)
    columns = np.array(readings, dtype=np.int64).reshape(-1, 3)
    series, spans = covered(
        series=columns[:, 0],
        measured_at_ms=columns[:, 1],
        chosen=columns[:, 2] == 1,
        age_ms=np.array(ages),
    )
    expected = []
    for index, (whose, at, chosen) in enumerate(readings):
        later = [other[1] for other in readings[index + 1 :] if other[0] == whose]
        if chosen:
            expected.append((whose, at, min([at + ages[whose], *later[:1]])))
    assert [
        (int(whose), int(start), int(end)) for whose, (start, end) in zip(series, spans, strict=True)
    ] == expected


def test_a_doubtful_hour_is_unverified_unless_it_is_out() -> None:
    # Readings at 0, 5 and 8; that at 5 is doubtful and covers 5 to 8, of which 6 to 7 is out.
    series, spans = covered(
        series=np.zeros(3, dtype=np.int64),
        measured_at_ms=np.array([0, 5, 8]),
        chosen=np.array([False, True, False]),
        age_ms=np.array([10]),
    )
    found = standard([(0, 6, 7, FAR_MS)], [], [(int(series[0]), int(spans[0, 0]), int(spans[0, 1]))])
    row = judged_whole(
        out=[[(int(a), int(b)) for a, b in found.out[0]], [], []],
        unverified=[[(int(a), int(b)) for a, b in found.unverified[0]], [], []],
        silent=[[], [], []],
    )
    assert (row["out"], row["unverified"], row["in_standard"]) == (1, 2, DAY - 3)
