"""Rules of DESIGN 12.2 to 12.9 in single windows, each expected value worked out by hand in the test."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
import pytest

from analytics.entries import Entries, read_entries
from analytics.judge import Judgement, judge
from analytics.results import (
    Cause,
    Doubt,
    DutyStanding,
    PoolCondition,
    ReasonCode,
    ShownValue,
    ValueState,
    Verdict,
    VerdictState,
)
from analytics.spans import merged
from analytics.standards.profile import load_profile
from analytics.window import Window, split_samples
from gateway.contract.quantities import Quantity
from gateway.contract.registry import OpeningHours, Pool, PoolKind, Sensor, Venue
from gateway.contract.times import format_timestamp
from ingest.store.records import LogbookRow, PublicationColumns, ReadingColumns, SeriesKey, StatusCode

MINUTE = 60_000
HOUR = 60 * MINUTE
# A day that begins at 0 in these tests; open 06:00 to 22:00.
DAY = 1_782_864_000_000
OPENS, CLOSES = DAY + 6 * HOUR, DAY + 22 * HOUR
FC, PH, TEMP = "free_chlorine_mg_l", "ph", "water_temp_c"
FC1, PH1, T1 = SeriesKey("fc-1", FC), SeriesKey("ph-1", PH), SeriesKey("t-1", TEMP)
NAN = float("nan")


def clock(hours: int, minutes: float = 0) -> int:
    return DAY + hours * HOUR + round(minutes * MINUTE)


def sensor(sensor_id: str, quantity: str, place: str = "return", until_ms: int | None = None) -> Sensor:
    return Sensor(sensor_id, Quantity(quantity), place, 60.0, until_ms=until_ms)


@dataclass
class Case:
    """Facts of a pool, laid out by hand."""

    kind: PoolKind = PoolKind.INDOOR
    sensors: Sequence[Sensor] = (sensor("fc-1", FC), sensor("ph-1", PH), sensor("t-1", TEMP))
    from_ms: int | None = None
    opening: Sequence[tuple[int, int]] = ((OPENS, CLOSES), (OPENS + 24 * HOUR, CLOSES + 24 * HOUR))
    readings: dict[SeriesKey, list[tuple[int, float, int]]] = field(default_factory=dict)
    published: dict[SeriesKey, list[tuple[int, int, float, int]]] = field(default_factory=dict)
    entries: list[LogbookRow] = field(default_factory=list)
    lag_ms: int = 0

    def online(
        self,
        key: SeriesKey,
        from_ms: int,
        to_ms: int,
        value: float,
        *,
        step_ms: int = MINUTE,
        status: int = 0,
    ) -> "Case":
        rows = self.readings.setdefault(key, [])
        rows += [(at_ms, value, status) for at_ms in range(from_ms, to_ms, step_ms)]
        return self

    def healthy(self, from_ms: int, to_ms: int, *, but: SeriesKey | None = None) -> "Case":
        for key, value in ((FC1, 0.6), (PH1, 7.4), (T1, 27.0)):
            if key != but:
                self.online(key, from_ms, to_ms, value)
        return self

    def test(self, at_ms: int, *, status: StatusCode = StatusCode.MANUAL, **values: float) -> "Case":
        for quantity, value in values.items():
            self.readings.setdefault(SeriesKey("manual", quantity), []).append((at_ms, value, status))
        return self

    def publish(
        self, key: SeriesKey, at_ms: int, measured_at_ms: int, value: float = 0.6, status: int = 0
    ) -> "Case":
        self.published.setdefault(key, []).append((at_ms, measured_at_ms, value, status))
        return self

    def enter(self, kind: str, at_ms: int, **more: object) -> "Case":
        body = msgspec.json.encode({"kind": kind, "at": format_timestamp(at_ms), "by": "Li", **more})
        self.entries.append(
            LogbookRow("pool", kind, at_ms, at_ms, "desk", "boot", len(self.entries), 0, body)
        )
        return self

    def window(self) -> Window:
        columns = {}
        for key, unsorted in self.readings.items():
            rows = sorted(unsorted)
            at = np.array([row[0] for row in rows], dtype=np.int64)
            columns[key] = ReadingColumns(
                measured_at_ms=at,
                value=np.array([row[1] for row in rows], dtype=np.float64),
                status=np.array([row[2] for row in rows], dtype=np.uint8),
                received_at_ms=at,
                stored_at_ms=at + self.lag_ms,
            )
        published = {}
        for key, found in self.published.items():
            published[key] = PublicationColumns(
                published_at_ms=np.array([row[0] for row in found], dtype=np.int64),
                measured_at_ms=np.array([row[1] for row in found], dtype=np.int64),
                value=np.array([row[2] for row in found], dtype=np.float64),
                status=np.array([row[3] for row in found], dtype=np.uint8),
                stored_at_ms=np.array([row[0] for row in found], dtype=np.int64),
            )
        online, samples = split_samples(columns)
        first = min((int(part.measured_at_ms[0]) for part in columns.values()), default=None)
        pool = Pool(
            "pool", "venue", "池", "Pool", self.kind, None, (OpeningHours("Mo-Su 06:00-22:00"),), "Asia/Shanghai",
            "changzhou-2022", tuple(self.sensors), self.from_ms,
        )  # fmt: skip
        return Window(
            pool=pool,
            venue=Venue("venue", "馆", "Venue", "wujin"),
            profile=load_profile("changzhou-2022"),
            opening=merged(list(self.opening)),
            opening_to_ms=DAY + 8 * 24 * HOUR,
            online=online,
            samples=samples,
            publications=published,
            entries=read_entries(self.entries) if self.entries else Entries(),
            judged_from_ms=DAY - HOUR,
            look_from_ms=DAY - HOUR,
            known_from_ms=DAY - HOUR,
            complete=True,
            first_reading_ms=first,
        )

    def judge(self, now_ms: int) -> Judgement:
        return judge(self.window(), now_ms)


def shown(judgement: Judgement, quantity: str) -> ShownValue:
    return next(value for value in judgement.pool_state.values if value.quantity == quantity)


def of_rule(judgement: Judgement, rule: str, quantity: str | None = None) -> list[Verdict]:
    found = [f for f in judgement.findings if f.rule == rule and quantity in (None, f.quantity)]
    return sorted(found, key=lambda finding: finding.start_ms)


def standing(judgement: Judgement, duty: str, quantity: str = FC) -> DutyStanding:
    return next(d.standing for d in judgement.pool_state.duties if (d.duty, d.quantity) == (duty, quantity))


def code(judgement: Judgement) -> ReasonCode | None:
    reason = judgement.pool_state.reason
    return None if reason is None else reason.code


# -- state of the pool -------------------------------------------------------------------------------------------------


def test_in_standard_with_deadlines_by_kind() -> None:
    case = Case().healthy(clock(5), clock(8)).test(clock(7, 30), water_temp_c=26.5)
    found = case.judge(clock(8))
    state = found.pool_state
    assert (state.state, state.reason, state.open, state.expected) == (
        PoolCondition.IN_STANDARD,
        None,
        True,
        True,
    )
    assert (state.opens_at_ms, state.closes_at_ms) == (None, CLOSES)
    assert [value.quantity for value in state.values] == [FC, PH, TEMP]
    assert shown(found, FC).valid_until_ms == clock(7, 59 + 15)
    assert shown(found, FC).limit == (0.3, 1.0)
    # Both temperatures are good: the newest is shown.
    assert (shown(found, TEMP).value, shown(found, TEMP).kind) == (27.0, "online")


def test_not_connected_before_the_begin_and_silent_after_a_registered_one() -> None:
    assert Case().judge(clock(8)).pool_state.state is PoolCondition.NOT_CONNECTED
    assert Case(from_ms=clock(9)).judge(clock(8)).pool_state.state is PoolCondition.NOT_CONNECTED
    # The duty began at 07:00 and nothing ever came: a duty begun at 07:00 is overdue from 07:15.
    silent = Case(from_ms=clock(7)).judge(clock(8))
    assert silent.pool_state.state is PoolCondition.OVERDUE
    assert [(f.start_ms, f.cause) for f in of_rule(silent, "online_monitoring", FC)] == [
        (clock(7, 15), Cause.NOT_MEASURED)
    ]


def test_closed_by_hours_by_entry_and_maintenance() -> None:
    case = Case().healthy(clock(4), clock(8))
    closed = case.judge(clock(5)).pool_state
    assert (closed.state, closed.open, closed.opens_at_ms) == (PoolCondition.CLOSED, False, OPENS)
    assert closed.next_change_ms is not None
    assert closed.next_change_ms <= OPENS
    case.enter(
        "maintenance",
        clock(7),
        **{"from": format_timestamp(clock(7, 10)), "until": format_timestamp(clock(7, 20))},
    )
    assert case.judge(clock(7, 9)).pool_state.state is PoolCondition.IN_STANDARD
    work = case.judge(clock(7, 10))
    assert (work.pool_state.state, code(work), work.pool_state.expected) == (
        PoolCondition.MAINTENANCE,
        ReasonCode.MAINTENANCE_ENTRY,
        False,
    )
    assert case.judge(clock(7, 20)).pool_state.state is PoolCondition.IN_STANDARD
    case.enter("closure", clock(7, 30), text="pump")
    shut = case.judge(clock(8))
    assert (shut.pool_state.state, code(shut)) == (PoolCondition.CLOSED, ReasonCode.CLOSED_BY_ENTRY)
    case.enter("reopening", clock(7, 50))
    assert case.judge(clock(7, 50)).pool_state.state is PoolCondition.IN_STANDARD


def test_a_recommended_limit_gives_advice_and_no_verdict() -> None:
    case = Case().healthy(clock(5), clock(8), but=T1).online(T1, clock(5), clock(8), 31.0)
    found = case.judge(clock(8))
    assert shown(found, TEMP).state is ValueState.ADVICE
    assert not shown(found, TEMP).binding
    assert found.pool_state.state is PoolCondition.IN_STANDARD
    assert not [
        finding for finding in found.findings if finding.quantity == TEMP and finding.kind == "exceedance"
    ]


def test_the_full_value_is_compared() -> None:
    case = Case().healthy(clock(5), clock(8), but=FC1).online(FC1, clock(5), clock(8), 0.2999)
    found = case.judge(clock(8))
    assert found.pool_state.state is PoolCondition.OUT_OF_STANDARD
    (low,) = of_rule(found, "free_chlorine.low")
    assert (low.start_ms, low.end_ms, low.state, low.worst_value) == (OPENS, None, VerdictState.OPEN, 0.2999)


def test_the_worst_of_several_sensors_decides_and_on_a_tie_the_newest() -> None:
    sensors = (sensor("fc-1", FC, "return"), sensor("fc-2", FC, "supply"))
    second = SeriesKey("fc-2", FC)
    case = Case(sensors=sensors).online(FC1, clock(5), clock(8), 0.6).online(second, clock(5), clock(8), 1.4)
    value = shown(case.judge(clock(8)), FC)
    assert (value.sensor_id, value.place, value.state) == ("fc-2", "supply", ValueState.OUT_OF_STANDARD)
    equal = Case(sensors=sensors).online(FC1, clock(5), clock(8), 0.6)
    equal.online(second, clock(5), clock(7, 59), 0.5)
    assert shown(equal.judge(clock(8)), FC).sensor_id == "fc-1"


def test_overdue_at_the_deadline_and_not_before() -> None:
    case = Case().healthy(clock(5), clock(7), but=PH1).healthy(clock(7), clock(8), but=PH1)
    case.online(PH1, clock(5), clock(7), 7.4)
    # pH was measured last at 06:59: in force until 07:14.
    assert case.judge(clock(7, 14) - 1).pool_state.state is PoolCondition.IN_STANDARD
    late = case.judge(clock(7, 14))
    assert (late.pool_state.state, code(late)) == (PoolCondition.OVERDUE, ReasonCode.PROBE_SILENT)
    assert (shown(late, PH).state, shown(late, PH).value) == (ValueState.OVERDUE, None)
    assert case.judge(clock(7, 14) - 1).pool_state.next_change_ms == clock(7, 14)


def test_a_silent_probe_with_a_manual_result_in_force_shows_that_result() -> None:
    case = Case().healthy(clock(5), clock(9), but=FC1).online(FC1, clock(5), clock(7), 0.6)
    case.test(clock(6, 30), free_chlorine_mg_l=0.7)
    found = case.judge(clock(8))
    value = shown(found, FC)
    assert (value.value, value.kind, value.state) == (0.7, "manual", ValueState.IN_STANDARD)
    assert value.reason is not None
    assert (value.reason.code, value.reason.since_ms) == (ReasonCode.PROBE_SILENT, clock(6, 59))
    assert value.valid_until_ms == clock(9)  # 06:30 + 2 h + 30 min
    assert found.pool_state.state is PoolCondition.IN_STANDARD
    assert case.judge(clock(9)).pool_state.state is PoolCondition.OVERDUE


# -- exact zero --------------------------------------------------------------------------------------------------------


def test_a_dropout_to_zero_is_suspect_and_serves_nothing() -> None:
    case = Case().healthy(clock(5), clock(8), but=FC1).online(FC1, clock(5), clock(7), 0.6)
    case.online(FC1, clock(7), clock(8), 0.0)
    case.publish(FC1, clock(7, 30), clock(7, 30), value=0.0)
    found = case.judge(clock(8))
    value = shown(found, FC)
    assert (value.state, value.value) == (ValueState.SUSPECT, None)
    assert value.reason is not None
    assert (value.reason.code, value.reason.since_ms) == (ReasonCode.EXACT_ZERO, clock(7))
    assert found.pool_state.state is PoolCondition.SUSPECT
    assert not of_rule(found, "free_chlorine.low")
    # The last good reading was at 06:59; a published zero that is a dropout is no publication of a result.
    assert [f.start_ms for f in of_rule(found, "online_monitoring", FC)] == [clock(7, 14)]
    # The duty began at 05:00 and nothing good was ever published: overdue from opening on.
    assert [(f.start_ms, f.end_ms) for f in of_rule(found, "online_publication", FC)] == [(OPENS, None)]
    # A test by hand before the dropout does not vouch for it, one after it does.
    case.test(clock(6, 50), free_chlorine_mg_l=0.6)
    assert shown(case.judge(clock(8)), FC).state is ValueState.SUSPECT
    case.test(clock(7, 40), free_chlorine_mg_l=0.5)
    value = shown(case.judge(clock(8)), FC)
    assert (value.state, value.value, value.kind) == (ValueState.IN_STANDARD, 0.5, "manual")


def test_a_decline_to_zero_and_a_manual_zero_are_exceedances() -> None:
    case = Case().healthy(clock(5), clock(8), but=FC1)
    for minute, value in enumerate([0.6, 0.4, 0.15, 0.05, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]):
        case.online(FC1, clock(7, minute), clock(7, minute + 1), value)
    found = case.judge(clock(7, 10))
    (low,) = of_rule(found, "free_chlorine.low")
    assert (low.start_ms, low.worst_value) == (clock(7, 2), 0.0)
    by_hand = Case().healthy(clock(5), clock(8)).test(clock(7, 30), free_chlorine_mg_l=0.0).judge(clock(8))
    (low,) = of_rule(by_hand, "free_chlorine.low")
    assert (low.sensor_id, low.sample_kind, low.worst_value) == ("manual", "manual", 0.0)
    assert by_hand.pool_state.state is PoolCondition.OUT_OF_STANDARD


def test_a_number_that_no_instrument_can_report_is_suspect() -> None:
    case = Case().healthy(clock(5), clock(8), but=PH1).online(PH1, clock(5), clock(7, 50), 7.4)
    case.online(PH1, clock(7, 50), clock(8), 14.5)
    found = case.judge(clock(8))
    assert shown(found, PH).state is ValueState.SUSPECT
    reason = shown(found, PH).reason
    assert reason is not None
    assert reason.code is ReasonCode.OUTSIDE_PLAUSIBLE_RANGE
    assert not of_rule(found, "ph.high")


def test_readings_with_a_fault_status_cover_nothing() -> None:
    case = Case().healthy(clock(5), clock(8), but=PH1).online(PH1, clock(5), clock(7), 7.4)
    case.online(PH1, clock(7), clock(8), NAN, status=StatusCode.FAULT)
    found = case.judge(clock(8))
    reason = shown(found, PH).reason
    assert reason is not None
    assert reason.code is ReasonCode.SENSOR_STATUS
    assert [f.start_ms for f in of_rule(found, "online_monitoring", PH)] == [clock(7, 14)]


# -- exceedances -------------------------------------------------------------------------------------------------------


def test_not_yet_confirmed_is_out_of_standard_without_a_verdict() -> None:
    case = Case().healthy(clock(5), clock(8), but=PH1).online(PH1, clock(5), clock(7), 7.4)
    case.online(PH1, clock(7), clock(7, 5), 7.9)  # 07:00 to 07:04: four minutes
    found = case.judge(clock(7, 4))
    assert found.pool_state.state is PoolCondition.OUT_OF_STANDARD
    reason = shown(found, PH).reason
    assert reason is not None
    assert (reason.code, reason.since_ms) == (ReasonCode.NOT_YET_CONFIRMED, clock(7))
    assert not of_rule(found, "ph.high")
    case.online(PH1, clock(7, 5), clock(7, 6), 8.1)
    (high,) = of_rule(case.judge(clock(7, 5)), "ph.high")
    assert (high.start_ms, high.worst_value, high.limit) == (clock(7), 8.1, 7.8)
    assert high.margin == pytest.approx(0.3)
    assert (high.clause_status, high.consequence, high.tier) == (
        "second_hand",
        "order_and_warning_fine_at_discretion",
        "operating",
    )


def test_two_tiers_and_each_end_by_itself() -> None:
    case = Case().healthy(clock(5), clock(8), but=PH1).online(PH1, clock(6), clock(7), 8.3)
    case.online(PH1, clock(7), clock(8), 6.9)
    found = case.judge(clock(8))
    spans = {
        rule: [(f.start_ms, f.end_ms) for f in of_rule(found, rule)]
        for rule in ("ph.high", "ph_closure.high", "ph.low")
    }
    # The reading of 07:00 jumps by 1.4 within a minute and is not believed; what follows it is.
    assert spans == {
        "ph.high": [(clock(6), clock(7, 1))],
        "ph_closure.high": [(clock(6), clock(7, 1))],
        "ph.low": [(clock(7, 1), None)],
    }
    assert not of_rule(found, "ph_closure.low")
    assert of_rule(found, "ph_closure.high")[0].clause_status == "borrowed"


def test_exceedances_are_cut_by_opening_and_closed_time_counts_for_the_machine() -> None:
    case = Case().healthy(clock(5), clock(23), but=PH1).online(PH1, clock(5, 30), clock(22, 30), 7.9)
    found = case.judge(clock(22, 30))
    (high,) = of_rule(found, "ph.high")
    # Confirmed before opening: it is there from the first open instant to the last.
    assert (high.start_ms, high.end_ms, high.state) == (OPENS, CLOSES, VerdictState.CLOSED)


def test_unverified_since_the_last_reading_until_the_next() -> None:
    case = Case().healthy(clock(5), clock(9), but=PH1).online(PH1, clock(6), clock(7), 7.9)
    found = case.judge(clock(7, 15))
    (high,) = of_rule(found, "ph.high")
    assert (high.state, high.end_ms, high.unverified_since_ms) == (
        VerdictState.UNVERIFIED,
        None,
        clock(6, 59),
    )
    value = shown(found, PH)
    assert (value.state, value.value) == (ValueState.UNVERIFIED, None)
    assert found.pool_state.state is PoolCondition.OUT_OF_STANDARD
    case.online(PH1, clock(8), clock(9), 7.4)
    (high,) = of_rule(case.judge(clock(9)), "ph.high")
    # The first reading after an hour of silence is often stale: it clears nothing, the next does.
    assert (high.state, high.end_ms) == (VerdictState.CLOSED, clock(8, 1))


@pytest.mark.parametrize(("chlorine", "doubt"), [(0.25, Doubt.PH_OUT_OF_LINE), (0.05, None)])
def test_a_ph_out_of_line_makes_low_chlorine_doubtful_and_it_stands(
    chlorine: float, doubt: Doubt | None
) -> None:
    """At pH 8.2 a probe shows 0.25 in 0.82 mg/L, and 0.05 in 0.16 (see test_doubt)."""
    case = Case().online(PH1, clock(5), clock(8), 8.2)
    for start, end, value in ((5, 6, 0.6), (6, 7, chlorine), (7, 8, 0.6)):
        case.online(FC1, clock(start), clock(end), value)
    (low,) = of_rule(case.judge(clock(8)), "free_chlorine.low")
    assert (low.start_ms, low.doubt) == (clock(6), doubt)
    assert {finding.doubt for finding in of_rule(case.judge(clock(8)), "ph.high")} == {None}


def test_a_sensors_until_ends_its_exceedance() -> None:
    sensors = (sensor("fc-1", FC), sensor("ph-1", PH, until_ms=clock(7, 30)), sensor("t-1", TEMP))
    case = Case(sensors=sensors).healthy(clock(5), clock(8), but=PH1).online(PH1, clock(6), clock(8), 7.9)
    (high,) = of_rule(case.judge(clock(8)), "ph.high")
    assert (high.start_ms, high.end_ms, high.state) == (clock(6), clock(7, 30), VerdictState.CLOSED)


def test_a_sample_raises_a_retest_ends_and_between_them_the_retest_falls_due() -> None:
    case = Case().healthy(clock(5), clock(12)).test(clock(7), free_chlorine_mg_l=1.5)
    (high,) = of_rule(case.judge(clock(9, 29)), "free_chlorine.high")
    assert (high.start_ms, high.state) == (clock(7), VerdictState.OPEN)
    overdue = case.judge(clock(9, 30))  # 2 h and 30 min after
    assert of_rule(overdue, "free_chlorine.high")[0].state is VerdictState.RETEST_DUE
    assert (shown(overdue, FC).state, shown(overdue, FC).value) == (ValueState.RETEST_DUE, None)
    assert overdue.pool_state.state is PoolCondition.OUT_OF_STANDARD
    # A laboratory's result is another kind and ends nothing.
    case.test(clock(9, 40), status=StatusCode.LABORATORY, free_chlorine_mg_l=0.6)
    assert of_rule(case.judge(clock(9, 50)), "free_chlorine.high")[0].end_ms is None
    case.test(clock(10), free_chlorine_mg_l=0.6)
    (high,) = of_rule(case.judge(clock(10, 1)), "free_chlorine.high")
    assert (high.state, high.end_ms) == (VerdictState.CLOSED, clock(10))


def test_a_sample_before_opening_counts_from_opening() -> None:
    case = Case().healthy(clock(5), clock(8)).test(clock(5, 50), free_chlorine_mg_l=1.5)
    (high,) = of_rule(case.judge(clock(8)), "free_chlorine.high")
    assert (high.start_ms, high.worst_value) == (OPENS, 1.5)


def test_readings_of_the_future_wait_for_their_time() -> None:
    case = Case().healthy(clock(5), clock(8)).online(FC1, clock(8, 5), clock(8, 6), 0.9)
    found = case.judge(clock(8))
    assert shown(found, FC).value == 0.6
    assert shown(case.judge(clock(8, 5)), FC).value == 0.9
    assert found.pool_state.next_change_ms is not None
    assert found.pool_state.next_change_ms <= clock(8, 5)


# -- duties ------------------------------------------------------------------------------------------------------------


def test_daily_tests_of_indoor_chlorine_every_two_hours_with_grace() -> None:
    case = (
        Case(from_ms=DAY)
        .healthy(clock(5), clock(12))
        .test(clock(5, 30), free_chlorine_mg_l=0.6, ph=7.4, water_temp_c=27)
    )
    case.test(clock(9), free_chlorine_mg_l=0.6)
    found = case.judge(clock(12))
    # 05:30 + 2:30 = 08:00, tested again at 09:00, then in force until 11:30. pH once before the session is enough.
    assert [(f.start_ms, f.end_ms, f.seconds_by_cause) for f in of_rule(found, "daily_test")] == [
        (clock(8), clock(9), {"not_measured": 3600.0}),
        (clock(11, 30), None, None),
    ]
    assert of_rule(found, "daily_test")[0].consequence == "order_to_correct_then_fine"
    assert standing(found, "daily_test") is DutyStanding.OVERDUE
    assert standing(found, "daily_test", PH) is DutyStanding.KEPT


def test_a_test_more_than_an_hour_before_a_session_does_not_serve_it() -> None:
    early = Case(from_ms=DAY).healthy(clock(4), clock(8))
    early.test(clock(4, 59), free_chlorine_mg_l=0.6, ph=7.4, water_temp_c=27.0)
    found = early.judge(clock(6, 30))
    assert {(f.quantity, f.start_ms) for f in of_rule(found, "daily_test")} == {
        (FC, OPENS),
        (PH, OPENS),
        (TEMP, OPENS),
    }
    in_time = Case(from_ms=DAY).healthy(clock(4), clock(8))
    in_time.test(clock(5), free_chlorine_mg_l=0.6, ph=7.4, water_temp_c=27.0)
    assert not of_rule(in_time.judge(clock(6, 30)), "daily_test")


def test_outdoors_chlorine_is_tested_once_a_session() -> None:
    case = Case(kind=PoolKind.OUTDOOR, from_ms=DAY).healthy(clock(5), clock(21))
    case.test(clock(5, 30), free_chlorine_mg_l=0.6, ph=7.4, water_temp_c=27.0)
    assert not of_rule(case.judge(clock(21)), "daily_test")


def test_publication_lapses_and_their_causes() -> None:
    # Measured each minute from 05:00 to 06:20 and from 07:00, stored 2 min later; published at 06:00 and 08:00.
    case = Case(lag_ms=2 * MINUTE).healthy(clock(5), clock(6, 21)).healthy(clock(7), clock(8, 5))
    case.publish(FC1, clock(6), clock(6)).publish(FC1, clock(8), clock(7, 55))
    found = case.judge(clock(8, 20))
    first, second = of_rule(found, "online_publication", FC)
    # In force until 06:15. Then: a young reading in the store until 06:35 (06:20 + 15), none until 07:00,
    # measured but not received until 07:02, in the store until published at 08:00.
    assert (first.start_ms, first.end_ms, first.cause) == (clock(6, 15), clock(8), Cause.NOT_PUBLISHED)
    assert first.seconds_by_cause == {
        "not_published": (20 + 58) * 60.0,
        "not_measured": 25 * 60.0,
        "not_received": 2 * 60.0,
    }
    # Published at 08:00 but measured at 07:55: in force until 08:10.
    assert (second.start_ms, second.end_ms, second.state) == (clock(8, 10), None, VerdictState.OPEN)
    assert (second.consequence, second.clause_status) == ("none", "ours")


def test_publishing_no_valid_value_is_not_publishing_a_result() -> None:
    case = Case().healthy(clock(5), clock(7)).publish(FC1, clock(6), clock(6))
    case.publish(FC1, clock(6, 10), clock(6, 10), value=NAN).publish(
        FC1, clock(6, 12), clock(6, 12), status=StatusCode.FAULT
    )
    assert [f.start_ms for f in of_rule(case.judge(clock(6, 30)), "online_publication", FC)] == [clock(6, 15)]


def test_lapses_end_at_closing_and_at_a_closure_by_entry() -> None:
    case = Case().healthy(clock(5), clock(6)).enter("closure", clock(7)).enter("reopening", clock(8))
    lapses = of_rule(case.judge(clock(23)), "online_monitoring", FC)
    # The last reading of 05:59 is in force until 06:14.
    assert [(f.start_ms, f.end_ms) for f in lapses] == [(clock(6, 14), clock(7)), (clock(8), CLOSES)]


def test_posting_without_evidence_is_unverified_and_with_it_judged() -> None:
    case = Case().healthy(clock(5), clock(12))
    found = case.judge(clock(12))
    assert standing(found, "posting") is DutyStanding.UNVERIFIED
    assert not of_rule(found, "posting")
    case.enter("notice_board", clock(7), measured_at=format_timestamp(clock(6, 50)), quantities=[FC])
    case.publish(FC1, clock(9), clock(9))
    found = case.judge(clock(12))
    (lapse,) = of_rule(found, "posting")
    # Measured at 06:50: in force until 09:20; a page on the network is not a posting in the venue.
    assert (lapse.quantity, lapse.start_ms, lapse.end_ms, lapse.state) == (
        FC,
        clock(9, 20),
        None,
        VerdictState.OPEN,
    )
    assert lapse.cause is Cause.NOT_DISPLAYED
    assert standing(case.judge(clock(9)), "posting") is DutyStanding.KEPT
    assert standing(found, "posting", PH) is DutyStanding.UNVERIFIED


def test_the_full_test_is_kept_by_a_passing_report_only() -> None:
    case = Case().healthy(clock(5), clock(12)).enter("laboratory_report", clock(6), passed=False)
    assert standing(case.judge(clock(12)), "full_test", "") is DutyStanding.UNVERIFIED
    case.enter("laboratory_report", clock(7), passed=True)
    assert standing(case.judge(clock(12)), "full_test", "") is DutyStanding.KEPT


def test_duties_are_not_due_while_closed() -> None:
    found = Case().healthy(clock(4), clock(5)).judge(clock(5))
    assert {
        standing(found, duty) for duty in ("daily_test", "posting", "online_monitoring", "online_publication")
    } == {DutyStanding.NOT_DUE}
