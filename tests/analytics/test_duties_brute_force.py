"""The closed forms of every duty against plain loops over cells, written from the definitions (DESIGN 12.4 to 12.11)."""

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.duties.judging import DutyOutcome
from analytics.results import DutyStanding, EndedBy, Evidence, ServingFact
from analytics.spans import merged
from analytics.standards.profile import ServedBy
from gateway.contract.times import format_timestamp
from tests.analytics.duty_case import FC, DutyCase, at, cells_of, profile_of, spans_of
from tests.analytics.duty_seconds import duty_seconds

#: 30 s: a receipt covers five cells. All histories begin on a whole cell.
CELL = 30_000
EPOCH = at("2026-07-01 08:00")
END = 120
ONLINE_AGE = 30  # cells: 15 min, where the profile has no duty of online publication

times = st.integers(0, END - 1)
spans = st.lists(
    st.tuples(st.integers(0, END), st.integers(1, 40)).map(lambda p: (p[0], p[0] + p[1])), max_size=5
)
closures = st.lists(st.integers(0, END), max_size=4, unique=True).map(sorted)
corrections = st.lists(st.tuples(times, times), max_size=3)


def ms(cell: int) -> int:
    return EPOCH + cell * CELL


@dataclass(frozen=True)
class Fact:
    """Serves the cells in [counts, until)."""

    served_by: str
    source: str
    measured: int
    counts: int
    until: int

    def named(self) -> ServingFact:
        return ServingFact(self.served_by, self.source, ms(self.measured), ms(self.counts))


@dataclass(frozen=True)
class Hours:
    """Sessions and closures as sets of cells."""

    opening: list[tuple[int, int]]
    closed: list[tuple[int, int]]

    @property
    def registered(self) -> set[int]:
        return {cell for a, b in self.opening for cell in range(a, b)}

    @property
    def shut(self) -> set[int]:
        return {cell for a, b in self.closed for cell in range(a, b)}

    @property
    def open(self) -> set[int]:
        return self.registered - self.shut

    def session_start(self, cell: int, before: int) -> int:
        """Back from an open cell through open ones, and through closures within the session no longer than `before`."""
        short = {
            inner
            for a, b in self.closed
            for inner in range(a, b)
            if b - a <= before and {*range(a - 1, b + 1)} <= self.registered
        }
        while cell - 1 in self.registered and (cell - 1 not in self.shut or cell - 1 in short):
            cell -= 1
        return cell


def hours_of(opening: list[tuple[int, int]], edges: list[int]) -> Hours:
    merged_opening = [(a, b) for a, b in spans_of({cell for a, b in opening for cell in range(a, b)})]
    shut = [
        (edges[index], edges[index + 1] if index + 1 < len(edges) else 10_000)
        for index in range(0, len(edges), 2)
    ]
    return Hours(merged_opening, shut)


def case_of(hours: Hours, begin: int, **duty: object) -> DutyCase:
    pool = DutyCase(hours="24/7", from_ms=ms(begin), profile=profile_of(**duty))  # type: ignore[arg-type] # drawn
    pool.opening = [(ms(a), ms(b)) for a, b in hours.opening]
    for start, end in hours.closed:
        pool.enter("closure", ms(start))
        if end < 10_000:
            pool.enter("reopening", ms(end))
    return pool


def correct(pool: DutyCase, sensor_id: str, corrected: list[tuple[int, int]]) -> None:
    for measured, cell in corrected:
        pool.correct(ms(cell), f"{sensor_id}/{FC}/{format_timestamp(ms(measured))}")


def corrected_from(measured: int, corrected: list[tuple[int, int]]) -> int:
    return min([cell for which, cell in corrected if which == measured], default=10_000)


def check(
    pool: DutyCase, duty: str, now: int, overdue: set[int], unverified: set[int], due: set[int]
) -> DutyOutcome:
    """Pieces, standing and seconds of an outcome against sets of cells up to now."""
    found = pool.outcome(duty, ms(now))
    assert spans_of(cells_of(found.overdue - EPOCH, cell_ms=CELL, to_ms=now * CELL)) == spans_of(
        {cell for cell in overdue if cell < now}
    )
    assert cells_of(found.unverified - EPOCH, cell_ms=CELL, to_ms=now * CELL) == {
        cell for cell in unverified if cell < now
    }
    expected = DutyStanding.KEPT
    if now not in due:
        expected = DutyStanding.NOT_DUE
    elif now in overdue:
        expected = DutyStanding.OVERDUE
    elif now in unverified:
        expected = DutyStanding.UNVERIFIED
    assert found.standing.standing is expected
    for finding in found.findings:
        assert (finding.end_ms is None) == (
            finding.start_ms <= ms(now) and now in overdue and finding is found.findings[-1]
        )
        if finding.seconds_by_cause is not None and finding.end_ms is not None:
            assert sum(finding.seconds_by_cause.values()) * 1000 == finding.end_ms - finding.start_ms
    window = pool.window(ms(now))
    halves = merged([(ms(-10), ms(50)), (ms(51), ms(END + 50))])
    seconds = duty_seconds(found, days=halves, open_time=window.open_time, until_ms=ms(now))
    for index, (first, after) in enumerate([(-10, 50), (51, END + 50)]):
        part = {cell for cell in due if first <= cell < min(after, now)}
        counted = [len(part), len(part & overdue), len(part & unverified)]
        assert [
            round(column[index] * 1000) // CELL
            for column in (seconds.due_s, seconds.overdue_s, seconds.unverified_s)
        ] == counted
        assert round(seconds.kept_s[index] * 1000) // CELL == counted[0] - counted[1] - counted[2]
    return found


def check_evidence(
    pool: DutyCase,
    duty: str,
    now: int,
    found: DutyOutcome,
    facts: list[Fact],
    hours: Hours,
    reach: dict[str, int],
) -> None:
    """Evidence from the definition; and it is the same from a window that looks back no further than it must."""
    for finding in found.findings:
        start = (finding.start_ms - EPOCH) // CELL
        known = [
            fact
            for fact in facts
            if fact.counts <= start
            and fact.until > fact.counts
            and min(fact.measured, fact.counts) >= start - reach.get(fact.served_by, 10_000)
        ]
        last = _best(known)
        ended, ended_by = None, None
        if finding.end_ms is not None:
            end = (finding.end_ms - EPOCH) // CELL
            ended = EndedBy.CLOSURE if end in hours.shut else EndedBy.CLOSING
            ended_by = _best([fact for fact in facts if fact.counts == end and fact.until > end])
            ended = EndedBy.FACT if ended_by is not None else ended
        assert finding.evidence == Evidence(last, ended, ended_by)
        near = pool.outcome(duty, ms(now), look_from_ms=finding.start_ms - CELL)
        (same,) = [other for other in near.findings if other.start_ms == finding.start_ms]
        assert same.evidence == finding.evidence
        # While it was open it said the same, but for its end.
        then = pool.outcome(duty, finding.start_ms).findings[-1]
        assert (then.start_ms, then.evidence) == (finding.start_ms, Evidence(last))


def _best(facts: list[Fact]) -> ServingFact | None:
    if not facts:
        return None
    best = max((fact.until, fact.measured, fact.counts) for fact in facts)
    ties = [fact for fact in facts if (fact.until, fact.measured, fact.counts) == best]
    return min(ties, key=lambda fact: (fact.served_by, fact.source)).named()


@settings(max_examples=250, deadline=None)
@given(
    tests=st.lists(times, max_size=8, unique=True),
    opening=spans,
    edges=closures,
    corrected=corrections,
    begin=st.integers(0, 60),
    age=st.integers(1, 50),
    before=st.integers(1, 20),
    now=times,
)
def test_daily_tests(
    tests: list[int],
    opening: list[tuple[int, int]],
    edges: list[int],
    corrected: list[tuple[int, int]],
    begin: int,
    age: int,
    before: int,
    now: int,
) -> None:
    hours = hours_of(opening, edges)
    pool = case_of(
        hours,
        begin,
        duty="daily_test",
        interval_s=age * CELL / 1000,
        grace_s=0.0,
        before_session_s=before * CELL / 1000,
    )
    for measured in tests:
        pool.test(ms(measured), FC)
    correct(pool, "manual", corrected)
    done = [(m, corrected_from(m, corrected)) for m in tests if m <= now] + [(begin, 10_000)]

    def served(cell: int) -> bool:
        start = hours.session_start(cell, before)
        return any(m <= cell < min(m + age, ends) and m >= start - before for m, ends in done)

    due = {cell for cell in hours.open if cell >= begin}
    overdue = {cell for cell in due if not served(cell)}
    found = check(pool, "daily_test", now, overdue, set(), due)
    for finding in found.findings:
        assert finding.cause == "not_measured"


@settings(max_examples=250, deadline=None)
@given(
    publications=st.lists(st.tuples(times, st.integers(0, 40)), max_size=8, unique_by=lambda p: p[0]),
    opening=spans,
    edges=closures,
    corrected=corrections,
    withdrawn=st.lists(st.tuples(times, times), max_size=2),
    begin=st.integers(0, 60),
    now=times,
)
def test_online_publication_with_corrections_and_evidence(
    publications: list[tuple[int, int]],
    opening: list[tuple[int, int]],
    edges: list[int],
    corrected: list[tuple[int, int]],
    withdrawn: list[tuple[int, int]],
    begin: int,
    now: int,
) -> None:
    hours = hours_of(opening, edges)
    age = ONLINE_AGE
    pool = case_of(hours, begin, duty="online_publication", interval_s=age * CELL / 1000, grace_s=0.0)
    facts = [Fact("begin", "", begin, begin, begin + age)]
    for published, lag in publications:
        measured = published - lag
        pool.publish(ms(published), ms(measured))
        ends = min(
            [measured + age, corrected_from(measured, corrected)]
            + [cell for which, cell in withdrawn if which == published]
        )
        facts.append(Fact("publication", "fc-1", measured, published, ends))
    correct(pool, "fc-1", corrected)
    for published, cell in withdrawn:
        pool.correct(ms(cell), f"hash-{ms(published)}")
    due = {cell for cell in hours.open if cell >= begin}
    overdue = {cell for cell in due if not any(fact.counts <= cell < fact.until for fact in facts)}
    found = check(pool, "online_publication", now, overdue, set(), due)
    check_evidence(pool, "online_publication", now, found, facts, hours, {"publication": age, "begin": age})


@settings(max_examples=250, deadline=None)
@given(
    posted=st.lists(st.tuples(times, st.integers(-5, 40)), max_size=5),
    publications=st.lists(
        st.tuples(times, st.integers(0, 20), st.booleans()), max_size=4, unique_by=lambda p: p[0]
    ),
    shown=st.lists(
        st.tuples(times, st.integers(0, 4), st.sampled_from(["door", "hall"])),
        max_size=10,
        unique_by=lambda p: p[0],
    ),
    opening=spans,
    edges=closures,
    corrected=corrections,
    begin=st.integers(0, 60),
    age=st.integers(1, 60),
    now=times,
)
def test_posting_by_board_and_screens(
    posted: list[tuple[int, int]],
    publications: list[tuple[int, int, bool]],
    shown: list[tuple[int, int, str]],
    opening: list[tuple[int, int]],
    edges: list[int],
    corrected: list[tuple[int, int]],
    begin: int,
    age: int,
    now: int,
) -> None:
    hours = hours_of(opening, edges)
    pool = case_of(
        hours,
        begin,
        duty="posting",
        interval_s=age * CELL / 1000,
        grace_s=0.0,
        served_by=frozenset({ServedBy.NOTICE_BOARD}),
    )
    facts = []
    for index, (cell, lag) in enumerate(posted):
        by = f"p{index % 2}"
        pool.post(ms(cell), ms(cell - lag), FC, by=by)
        until = min(min(cell - lag, cell) + age, corrected_from(cell - lag, corrected))
        facts.append(Fact("notice_board", by, cell - lag, cell, until))
    for published, lag, is_value in publications:
        pool.publish(ms(published), ms(published - lag), value=0.6 if is_value else None)
    seen = set()
    for cell, which, display in shown:
        if which < len(publications):
            published, lag, is_value = publications[which]
            pool.show(ms(cell), f"hash-{ms(published)}", display=display)
            seen.add(cell)
            if is_value:
                measured = published - lag
                until = min(
                    min(measured, cell) + age,
                    measured + ONLINE_AGE,
                    cell + 5,
                    corrected_from(measured, corrected),
                )
                facts.append(Fact("screen", display, measured, cell, until))
        else:
            pool.show(ms(cell), "unknown", display=display)
    correct(pool, "fc-1", corrected)
    due = {cell for cell in hours.open if cell >= begin}
    covered = {cell for fact in facts for cell in range(fact.counts, fact.until)}
    since_begin = set(range(begin, begin + age))
    overdue: set[int] = set()
    unverified: set[int] = set()
    for first, after in hours.opening:
        for cell in range(first, after):
            if cell not in due or cell in covered:
                continue
            evidence = any(earlier in covered or earlier in seen for earlier in range(first, cell + 1))
            (overdue if evidence and cell not in since_begin else unverified).add(cell)
    found = check(pool, "posting", now, overdue, unverified, due)
    facts.append(Fact("begin", "", begin, begin, begin + age))
    check_evidence(pool, "posting", now, found, facts, hours, {"screen": age, "begin": age})


@settings(max_examples=250, deadline=None)
@given(
    readings=st.lists(st.tuples(times, st.integers(0, 30)), max_size=10, unique_by=lambda p: p[0]),
    opening=spans,
    edges=closures,
    corrected=corrections,
    begin=st.integers(0, 60),
    now=times,
)
def test_online_monitoring_with_late_readings(
    readings: list[tuple[int, int]],
    opening: list[tuple[int, int]],
    edges: list[int],
    corrected: list[tuple[int, int]],
    begin: int,
    now: int,
) -> None:
    hours = hours_of(opening, edges)
    age = ONLINE_AGE
    pool = case_of(hours, begin, duty="online_monitoring", interval_s=age * CELL / 1000, grace_s=0.0)
    facts = [Fact("begin", "", begin, begin, begin + age)]
    existing: set[int] = set()
    for measured, lag in readings:
        pool.reading("fc-1", ms(measured), stored_ms=ms(measured + lag))
        ends = min(measured + age, corrected_from(measured, corrected))
        if measured <= now:
            facts.append(Fact("online", "fc-1", measured, measured + lag, ends))
            existing |= set(range(measured, ends))
    correct(pool, "fc-1", corrected)
    due = {cell for cell in hours.open if cell >= begin}
    overdue = {cell for cell in due if not any(fact.counts <= cell < fact.until for fact in facts)}
    found = check(pool, "online_monitoring", now, overdue, set(), due)
    for finding in found.findings:
        if finding.end_ms is not None:
            cells = range((finding.start_ms - EPOCH) // CELL, (finding.end_ms - EPOCH) // CELL)
            late = sum(cell in existing for cell in cells) * CELL / 1000
            assert (finding.seconds_by_cause or {}).get("not_received", 0.0) == late
