"""Facts that prove a lapse: which, where from, and that an open lapse does not become new revisions by itself."""

import itertools

import numpy as np
import pytest

from analytics.duties.facts import FactPart, serving_facts
from analytics.results import (
    DutyStanding,
    EndedBy,
    Evidence,
    ServingFact,
    Verdict,
    VerdictState,
    decode_verdict,
    encode,
)
from analytics.spans import EMPTY
from analytics.verdicts import reconcile
from gateway.contract.registry import PoolKind
from tests.analytics.duty_case import FC, HOUR, MINUTE, DutyCase, at

BEGIN = at("2026-06-30 23:00")


def day(clock: str, day_of_july: int = 1) -> int:
    return at(f"2026-07-{day_of_july:02d} {clock}")


def test_a_daily_tests_lapse_names_the_test_before_and_the_one_that_ended_it() -> None:
    pool = DutyCase(from_ms=BEGIN).test(day("05:30"), FC).test(day("09:00"), FC, stored_ms=day("10:00"))
    first, second = pool.verdicts("daily_test", day("12:00"))
    assert (first.start_ms, first.end_ms) == (day("08:00"), day("09:00"))
    assert first.evidence == Evidence(
        ServingFact("manual", "manual", day("05:30"), day("05:30")),
        EndedBy.FACT,
        ServingFact("manual", "manual", day("09:00"), day("09:00")),
    )
    assert second.evidence == Evidence(ServingFact("manual", "manual", day("09:00"), day("09:00")))
    assert decode_verdict(encode(first)) == first


def test_yesterdays_test_is_named_though_it_did_not_serve_the_session() -> None:
    pool = DutyCase(kind=PoolKind.OUTDOOR, from_ms=BEGIN).test(day("05:30"), FC).test(day("21:00"), FC)
    (lapse,) = pool.verdicts("daily_test", day("23:00", 2))
    assert (lapse.start_ms, lapse.end_ms) == (day("06:00", 2), day("22:00", 2))
    assert lapse.evidence == Evidence(
        ServingFact("manual", "manual", day("21:00"), day("21:00")), EndedBy.CLOSING
    )


def test_of_a_day_without_anything_no_fact_is_named() -> None:
    pool = DutyCase(from_ms=BEGIN).test(day("05:30"), FC)
    *_, lapse = pool.verdicts("daily_test", day("23:00", 3))
    assert (lapse.start_ms, lapse.evidence) == (day("06:00", 3), Evidence(None, EndedBy.CLOSING))


def test_publishing_and_arriving_count_from_when_they_did() -> None:
    pool = DutyCase(from_ms=BEGIN).reading("fc-1", day("06:00"), stored_ms=day("06:02"))
    pool.publish(day("06:03"), day("06:00")).reading("fc-1", day("06:30"), stored_ms=day("06:31"))
    pool.enter("closure", day("06:40"))
    for duty, served_by, counted in (
        ("online_monitoring", "online", day("06:02")),
        ("online_publication", "publication", day("06:03")),
    ):
        *_, lapse = pool.verdicts(duty, day("07:00"))
        last = ServingFact(served_by, "fc-1", day("06:00"), counted)
        assert lapse.start_ms == day("06:15")
        if duty == "online_monitoring":
            by = ServingFact("online", "fc-1", day("06:30"), day("06:31"))
            assert (lapse.end_ms, lapse.evidence) == (day("06:31"), Evidence(last, EndedBy.FACT, by))
        else:
            assert (lapse.end_ms, lapse.evidence) == (day("06:40"), Evidence(last, EndedBy.CLOSURE))


def test_a_fact_that_served_for_no_time_is_not_the_last() -> None:
    pool = DutyCase(from_ms=BEGIN).publish(day("06:00"), day("06:00"))
    pool.publish(day("06:14"), day("05:50"))  # already too old
    (lapse,) = [v for v in pool.verdicts("online_publication", day("06:30")) if v.start_ms == day("06:15")]
    assert lapse.evidence == Evidence(ServingFact("publication", "fc-1", day("06:00"), day("06:00")))


@pytest.mark.parametrize("duty", ["daily_test", "posting", "online_monitoring"])
def test_an_open_lapse_judged_again_and_again_has_one_revision_and_one_more_when_it_ends(duty: str) -> None:
    pool = DutyCase(from_ms=BEGIN).reading("fc-1", day("06:00")).test(day("06:00"), FC)
    pool.post(day("06:10"), day("06:00"), FC)
    end = day("10:00")
    # The first reading after hours of silence is not believed; the next one ends the lapse.
    pool.reading("fc-1", end - MINUTE).reading("fc-1", end).test(end, FC).post(end, end, FC)
    current: dict[str, Verdict] = {}
    revisions: list[Verdict] = []
    names = (f"v{number}" for number in itertools.count())
    for now_ms in range(day("06:00"), day("10:05"), 5 * MINUTE):
        open_starts = [v.start_ms for v in current.values() if v.state is VerdictState.OPEN]
        # As the service does: back to the start of what is open, and no further than the latest past otherwise.
        look_from_ms = min([now_ms - 30 * MINUTE, *(start - 10 * MINUTE for start in open_starts)])
        found = pool.outcome(duty, now_ms, look_from_ms=look_from_ms).findings
        reach = [v for v in current.values() if v.end_ms is None or v.end_ms >= look_from_ms]
        written = reconcile(found, reach, judged_at_ms=now_ms, new_id=lambda: next(names))
        revisions += written
        current |= {verdict.verdict_id: verdict for verdict in written}
    states = [(v.verdict_id, v.revision, v.state, v.end_ms) for v in revisions if v.start_ms > day("06:00")]
    assert [state[1:] for state in states] == [(1, "open", None), (2, "closed", end)]
    assert len({state[0] for state in states}) == 1


def test_sources_are_told_apart_and_ties_are_broken_by_name() -> None:
    def part(source: str, counts: list[int], measured: list[int]) -> FactPart:
        return FactPart("online", source, np.array(counts), np.array(measured))

    facts = serving_facts(
        [part("b", [10, 30], [10, 30]), part("a", [10], [10]), part("c", [20], [5]), part("begin", [0], [0])],
        age_ms=15,
        sessions=EMPTY,
        before_session_ms=None,
    )
    assert facts.last_before(10) == ServingFact("online", "a", 10, 10)
    assert facts.last_before(29) == ServingFact("online", "a", 10, 10)  # c was 15 old when it counted
    assert facts.last_before(30) == ServingFact("online", "b", 30, 30)
    assert facts.last_before(-1) is None
    assert facts.ending_at(10) == ServingFact("online", "a", 10, 10)
    assert facts.ending_at(20) is None
    assert facts.serving.from_ms.tolist() == [10, 30, 10, 20]


def test_the_end_of_the_sensor_ends_the_online_duty() -> None:
    pool = DutyCase(from_ms=BEGIN, probe_until_ms=day("07:00")).reading("fc-1", day("06:00"))
    (lapse,) = [v for v in pool.verdicts("online_monitoring", day("08:00")) if v.start_ms > day("06:00")]
    assert (lapse.start_ms, lapse.end_ms) == (day("06:15"), day("07:00"))
    assert lapse.evidence is not None
    assert lapse.evidence.ended is EndedBy.NOT_BOUND
    assert pool.standing("online_monitoring", day("08:00")) is DutyStanding.NOT_DUE


def test_facts_older_than_any_window_must_hold_are_not_named() -> None:
    # Tested 26 h before the opening: whether a window still holds that depends on how far it looks back.
    pool = DutyCase(hours="Jul 1 06:00-22:00; Jul 3 06:00-22:00", from_ms=BEGIN).test(day("21:00"), FC)
    *_, lapse = pool.verdicts("daily_test", day("07:00", 3))
    assert (lapse.start_ms, lapse.evidence) == (day("06:00", 3), Evidence(None))
    assert day("06:00", 3) - day("21:00") > 26 * HOUR
