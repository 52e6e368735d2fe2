"""The service over a real SQLite store: arrivals, deadlines without a message, restart, order of arrivals."""

import itertools
import random
from collections.abc import Iterator
from dataclasses import replace as changed
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analytics.results import (
    Cause,
    PoolCondition,
    PoolState,
    ReasonCode,
    ValueState,
    Verdict,
    VerdictState,
    decode_pool_state,
    decode_verdict,
)
from analytics.service import AnalyticsService
from analytics.verdicts import without_identity
from gateway.contract.quantities import Quantity
from gateway.contract.registry import OpeningHours, Pool, PoolKind, Registry, Sensor, Venue
from gateway.contract.times import format_timestamp
from ingest.store.batches import IngestBatch, batch_of_rows
from ingest.store.records import LogbookRow, PublicationRow, PublishedValue, ReadingRow
from ingest.store.sqlite import SqliteStore

# 2026-07-01 08:00 in China, a Wednesday: 00:00 UTC.
T0 = 1_782_864_000_000
QUANTITIES = {"fc-1": Quantity.FREE_CHLORINE_MG_L, "ph-1": Quantity.PH, "t-1": Quantity.WATER_TEMP_C}
GOOD = {Quantity.FREE_CHLORINE_MG_L: 0.6, Quantity.PH: 7.4, Quantity.WATER_TEMP_C: 27.0}


def make_pool(pool_id: str = "pool-a", *, hours: str = "24/7", profile: str = "demo") -> Pool:
    return Pool(
        pool_id=pool_id,
        venue_id="venue",
        name_zh="池",
        name_en="Pool",
        kind=PoolKind.INDOOR,
        volume_m3=400.0,
        opening=(OpeningHours(hours),),
        time_zone="Asia/Shanghai",
        profile=profile,
        sensors=tuple(
            Sensor(sensor_id, quantity, "return", 2.0) for sensor_id, quantity in QUANTITIES.items()
        ),
    )


def make_registry(*pools: Pool) -> Registry:
    venue = Venue("venue", "馆", "Venue", "wujin")
    return Registry({"venue": venue}, {pool.pool_id: pool for pool in pools}, {})


_SEQ = itertools.count()


def reading(pool_id: str, sensor_id: str, at_ms: int, value: float | None, **more: str) -> ReadingRow:
    quantity = QUANTITIES.get(sensor_id) or Quantity(more.pop("quantity"))
    return ReadingRow(
        pool_id,
        sensor_id,
        quantity,
        at_ms,
        value,
        more.get("status", "normal"),
        at_ms,
        "gw",
        "boot",
        next(_SEQ),
        0,
    )


def all_sensors(pool_id: str, at_ms: int, **values: float) -> list[ReadingRow]:
    return [
        reading(pool_id, sensor_id, at_ms, values.get(sensor_id.replace("-", "_"), GOOD[quantity]))
        for sensor_id, quantity in QUANTITIES.items()
    ]


def manual(pool_id: str, at_ms: int, **values: float) -> list[ReadingRow]:
    found = {quantity.value: value for quantity, value in GOOD.items()} | values
    return [
        reading(pool_id, "manual", at_ms, value, quantity=quantity, status="manual")
        for quantity, value in found.items()
    ]


def publication(pool_id: str, at_ms: int, *, measured_at_ms: int) -> PublicationRow:
    values = tuple(
        PublishedValue(quantity, sensor_id, measured_at_ms, GOOD[quantity], "normal")
        for sensor_id, quantity in QUANTITIES.items()
    )
    return PublicationRow(pool_id, at_ms, f"hash-{at_ms}", "public-1", "in_standard", values)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    opened = SqliteStore(tmp_path / "store.sqlite")
    yield opened
    opened.close()


def service_of(store: SqliteStore, registry: Registry, prefix: str = "v") -> AnalyticsService:
    numbers = itertools.count(1)
    return AnalyticsService(
        facts=store,
        results=store,
        registry=registry,
        clock=lambda: T0,
        new_id=lambda: f"{prefix}{next(numbers)}",
    )


def verdicts(store: SqliteStore, pool_id: str = "pool-a") -> list[Verdict]:
    return [decode_verdict(row.body) for row in store.verdicts(pool_id)]


def state(store: SqliteStore, pool_id: str = "pool-a") -> PoolState:
    return decode_pool_state(store.pool_states()[pool_id].body)


def feed(
    store: SqliteStore, pool_id: str, from_s: int, to_s: int, *, publish: bool = True, **values: float
) -> None:
    """Readings every 2 s, stored and published at once."""
    for second in range(from_s, to_s, 2):
        at_ms = T0 + second * 1000
        store.write(
            IngestBatch(readings=batch_of_rows(all_sensors(pool_id, at_ms, **values))), stored_at_ms=at_ms
        )
        if publish:
            rows = [publication(pool_id, at_ms, measured_at_ms=at_ms)]
            store.write_publications(rows, stored_at_ms=at_ms)


def test_never_connected_until_the_first_reading(store: SqliteStore) -> None:
    service = service_of(store, make_registry(make_pool()))
    service.step(T0)
    assert state(store).state is PoolCondition.NOT_CONNECTED
    assert not verdicts(store)
    store.write(IngestBatch(readings=batch_of_rows(all_sensors("pool-a", T0 + 100))), stored_at_ms=T0 + 150)
    service.step(T0 + 200)
    assert state(store).state is PoolCondition.IN_STANDARD
    assert [value.value for value in state(store).values] == [0.6, 7.4, 27.0]
    assert not verdicts(store)


def test_a_deadline_without_any_message_opens_a_lapse_and_a_publication_closes_it(store: SqliteStore) -> None:
    service = service_of(store, make_registry(make_pool()))
    feed(store, "pool-a", 0, 10)  # the last at 8 s: in force until 28 s
    service.step(T0 + 9_000)
    # It says itself when it wants to be called: never later than the deadline.
    now_ms = T0 + 27_950
    wait_s = service.step(now_ms)
    assert wait_s <= 0.05
    assert not verdicts(store)
    service.step(T0 + 28_000)
    lapses = verdicts(store)
    assert {verdict.rule for verdict in lapses} == {"online_monitoring", "online_publication"}
    assert len(lapses) == 6
    assert {(v.state, v.start_ms, v.end_ms) for v in lapses} == {(VerdictState.OPEN, T0 + 28_000, None)}
    assert {v.cause for v in lapses} == {Cause.NOT_MEASURED}
    assert state(store).state is PoolCondition.OVERDUE
    assert state(store).values[0].value is None
    assert len(state(store).open_verdicts) == 6
    feed(store, "pool-a", 40, 42)
    service.step(T0 + 40_100)
    lapses = verdicts(store)
    assert {(v.state, v.start_ms, v.end_ms) for v in lapses} == {
        (VerdictState.CLOSED, T0 + 28_000, T0 + 40_000)
    }
    assert {tuple((v.seconds_by_cause or {}).items()) for v in lapses} == {(("not_measured", 12.0),)}
    assert state(store).state is PoolCondition.IN_STANDARD


def test_an_exceedance_opens_when_confirmed_and_closes_at_the_first_reading_well_inside(
    store: SqliteStore,
) -> None:
    service = service_of(store, make_registry(make_pool()))
    feed(store, "pool-a", 0, 20)
    feed(store, "pool-a", 20, 28, fc_1=0.2)
    service.step(T0 + 26_500)
    assert not verdicts(store)
    assert state(store).state is PoolCondition.OUT_OF_STANDARD
    reason = state(store).values[0].reason
    assert reason is not None
    assert reason.code is ReasonCode.NOT_YET_CONFIRMED
    feed(store, "pool-a", 28, 32, fc_1=0.1)
    service.step(T0 + 30_500)  # 20 s to 30 s: ten seconds, six readings
    (exceedance,) = verdicts(store)
    assert (exceedance.rule, exceedance.state) == ("free_chlorine.low", VerdictState.OPEN)
    assert (exceedance.start_ms, exceedance.worst_value) == (T0 + 20_000, 0.1)
    assert exceedance.margin == pytest.approx(0.2)
    assert state(store).open_verdicts == [exceedance.verdict_id]
    # 0.31 is inside but not by the hysteresis of 0.02: it ends nothing.
    feed(store, "pool-a", 32, 50, fc_1=0.31)
    service.step(T0 + 49_000)
    assert verdicts(store)[0].state is VerdictState.OPEN
    assert state(store).values[0].state is ValueState.OUT_OF_STANDARD
    reason = state(store).values[0].reason
    assert reason is not None
    assert reason.code is ReasonCode.OUTSIDE_LIMIT
    feed(store, "pool-a", 50, 62)
    service.step(T0 + 61_000)
    (exceedance,) = verdicts(store)
    assert (exceedance.state, exceedance.end_ms) == (VerdictState.CLOSED, T0 + 50_000)
    revisions = [decode_verdict(row.body) for row in store.verdict_revisions(exceedance.verdict_id)]
    assert [verdict.revision for verdict in revisions] == list(range(1, len(revisions) + 1))
    assert [verdict.state for verdict in revisions] == [VerdictState.OPEN, VerdictState.CLOSED]


def test_late_readings_do_not_undo_a_monitoring_lapse_but_name_its_cause(store: SqliteStore) -> None:
    service = service_of(store, make_registry(make_pool()))
    feed(store, "pool-a", 0, 10)
    service.step(T0 + 29_000)
    backlog = [row for second in range(10, 60, 2) for row in all_sensors("pool-a", T0 + second * 1000)]
    store.write(IngestBatch(readings=batch_of_rows(backlog)), stored_at_ms=T0 + 60_000)
    service.step(T0 + 60_100)
    lapses = [verdict for verdict in verdicts(store) if verdict.rule == "online_monitoring"]
    # Covered until 28 s, stored again at 60 s: 32 s in which readings existed but had not been received.
    assert {(v.start_ms, v.end_ms, v.cause) for v in lapses} == {
        (T0 + 28_000, T0 + 60_000, Cause.NOT_RECEIVED)
    }
    assert {tuple((v.seconds_by_cause or {}).items()) for v in lapses} == {(("not_received", 32.0),)}


def test_closure_and_maintenance_by_entry(store: SqliteStore) -> None:
    service = service_of(store, make_registry(make_pool()))
    feed(store, "pool-a", 0, 10)
    at = format_timestamp(T0 + 9_000)
    closure = LogbookRow(
        "pool-a",
        "closure",
        T0 + 9_000,
        T0 + 9_000,
        "desk",
        "b",
        0,
        0,
        msgspec.json.encode({"kind": "closure", "at": at, "by": "Li", "text": "pump"}),
    )
    store.write(IngestBatch(logbook=[closure]), stored_at_ms=T0 + 9_000)
    service.step(T0 + 9_500)
    found = state(store)
    assert (found.state, found.open, found.expected) == (PoolCondition.CLOSED, False, False)
    assert found.reason is not None
    assert (found.reason.code, found.reason.by, found.reason.text) == (
        ReasonCode.CLOSED_BY_ENTRY,
        "Li",
        "pump",
    )
    service.step(T0 + 200_000)
    assert not verdicts(store)
    reopening = closure._replace(
        kind="reopening",
        at_ms=T0 + 300_000,
        seq=1,
        body=msgspec.json.encode({"kind": "reopening", "at": format_timestamp(T0 + 300_000), "by": "Li"}),
    )
    store.write(IngestBatch(logbook=[reopening]), stored_at_ms=T0 + 300_000)
    service.step(T0 + 300_100)
    assert state(store).state is PoolCondition.OVERDUE
    assert {v.start_ms for v in verdicts(store)} == {T0 + 300_000}


def test_restart_goes_on_with_the_same_verdicts(store: SqliteStore) -> None:
    registry = make_registry(make_pool())
    service = service_of(store, registry)
    feed(store, "pool-a", 0, 10)
    feed(store, "pool-a", 10, 40, fc_1=1.5)
    service.step(T0 + 39_000)
    before = [(v.verdict_id, v.revision) for v in verdicts(store)]
    state_before = state(store)
    assert len(before) == 1
    again = service_of(store, registry, prefix="w")
    again.step(T0 + 39_000)
    assert [(v.verdict_id, v.revision) for v in verdicts(store)] == before
    assert state(store) == state_before
    feed(store, "pool-a", 40, 60)
    again.step(T0 + 59_000)
    assert [(v.verdict_id, v.state, v.end_ms) for v in verdicts(store)] == [
        (before[0][0], VerdictState.CLOSED, T0 + 40_000)
    ]


def test_the_state_of_every_registered_pool_is_written_each_minute(store: SqliteStore) -> None:
    service = service_of(store, make_registry(make_pool(), make_pool("pool-b")))
    for second in range(0, 181, 10):
        service.step(T0 + second * 1000)
    rows, _ = store.pool_states_after(None)
    assert [row.at_ms - T0 for row in rows if row.pool_id == "pool-b"] == [0, 60_000, 120_000, 180_000]


def test_facts_ahead_of_the_clock_are_told_until_none_came_for_ten_minutes(store: SqliteStore) -> None:
    service = service_of(store, make_registry(make_pool()))

    def arrive(at_ms: int, *, ahead_ms: int) -> None:
        batch = batch_of_rows(all_sensors("pool-a", at_ms))
        store.write(IngestBatch(readings=batch), stored_at_ms=at_ms + ahead_ms)

    arrive(T0, ahead_ms=30_000)
    service.step(T0)
    assert service.not_ready() == []
    arrive(T0 + 2000, ahead_ms=30_001)
    service.step(T0 + 2000)
    arrive(T0 + 4000, ahead_ms=30_001)
    service.step(T0 + 4000)
    (reason,) = service.not_ready()
    assert "stamped ahead" in reason
    assert service.counters.fast_clocks == 2
    service.step(T0 + 603_999)
    assert service.not_ready() == [reason]
    service.step(T0 + 604_000)
    assert service.not_ready() == []


def test_queues_and_ages_are_counted(store: SqliteStore) -> None:
    service = service_of(store, make_registry(make_pool("pool-a"), make_pool("pool-b")))
    service.step(T0)
    store.write(IngestBatch(readings=batch_of_rows(all_sensors("pool-a", T0 + 1000))), stored_at_ms=T0 + 1000)
    service.step(T0 + 3500)
    counters = service.counters
    assert (counters.arrival_age_ms, counters.arrivals_waiting, counters.waiting_pools) == (2500, 0, 0)
    store.write_publications(
        [publication("pool-a", T0 + 4000, measured_at_ms=T0 + 1000)], stored_at_ms=T0 + 4000
    )
    service.step(T0 + 4000)
    store.write_publications(
        [publication("pool-a", T0 + 5000, measured_at_ms=T0 + 1000)], stored_at_ms=T0 + 5000
    )
    service.step(T0 + 5000)
    # A publication that ends no lapse is judged with the next reading.
    assert counters.waiting_pools == 1


def test_a_pool_that_cannot_be_judged_does_not_stop_the_others(store: SqliteStore) -> None:
    broken = changed(make_pool("pool-b"), profile="no-such-profile")
    service = service_of(store, make_registry(broken, make_pool()))
    feed(store, "pool-b", 0, 4)
    feed(store, "pool-a", 0, 4)
    service.step(T0 + 3_000)
    assert state(store).state is PoolCondition.IN_STANDARD
    assert service.counters.failures >= 1
    assert "pool-b" not in store.pool_states()


def test_what_came_for_a_pool_that_could_not_be_judged_is_judged_after_a_restart(store: SqliteStore) -> None:
    """Its late hour is older than what a restart judges afresh, so only the arrival tells of it."""
    good = make_registry(make_pool())
    two_days_ms = 2 * 86_400_000
    service = service_of(store, good)
    feed(store, "pool-a", 0, 4)
    service.step(T0 + 3_000)
    service.step(T0 + two_days_ms)
    broken = service_of(store, make_registry(changed(make_pool(), profile="no-such-profile")))
    feed(store, "pool-a", 100, 160, fc_1=1.6)
    broken.step(T0 + two_days_ms + 1_000)
    broken.step(T0 + two_days_ms + 7_000)
    assert broken.counters.failures >= 1
    service_of(store, good, "w").step(T0 + two_days_ms + 9_000)
    found = [verdict for verdict in verdicts(store) if verdict.rule == "free_chlorine.high"]
    assert [verdict.start_ms - T0 for verdict in found] == [100_000]


def test_a_publication_that_ends_no_lapse_waits_for_the_next_reading(store: SqliteStore) -> None:
    service = service_of(store, make_registry(make_pool()))
    feed(store, "pool-a", 0, 4)
    service.step(T0 + 3_000)
    judged = service.counters.judgements
    store.write_publications(
        [publication("pool-a", T0 + 3_100, measured_at_ms=T0 + 2_000)], stored_at_ms=T0 + 3_100
    )
    service.step(T0 + 3_200)
    assert service.counters.judgements == judged
    service.step(T0 + 8_300)
    assert service.counters.judgements == judged
    feed(store, "pool-a", 10, 12, publish=False)
    service.step(T0 + 10_100)
    assert service.counters.judgements == judged + 1
    monitored = next(duty for duty in state(store).duties if duty.duty == "online_publication")
    assert monitored.deadline_ms == T0 + 22_000
    # Past the deadline of 20 s a lapse is open, and the publication that ends it is judged at once.
    feed(store, "pool-a", 20, 24, publish=False)
    service.step(T0 + 23_500)
    assert any(verdict.state is VerdictState.OPEN for verdict in verdicts(store))
    store.write_publications(
        [publication("pool-a", T0 + 24_000, measured_at_ms=T0 + 22_000)], stored_at_ms=T0 + 24_000
    )
    service.step(T0 + 24_100)
    closed = [v for v in verdicts(store) if v.rule == "online_publication"]
    assert closed
    assert {verdict.state for verdict in closed} == {VerdictState.CLOSED}


def test_an_open_lapse_is_not_judged_again_before_something_can_change(store: SqliteStore) -> None:
    service = service_of(store, make_registry(make_pool()))
    feed(store, "pool-a", 0, 4)
    service.step(T0 + 3_000)
    service.step(T0 + 22_000)
    service.step(T0 + 22_100)
    assert any(verdict.state is VerdictState.OPEN for verdict in verdicts(store))
    judged = service.counters.judgements
    for tenth in range(1, 100):
        service.step(T0 + 22_100 + tenth * 100)
    assert service.counters.judgements == judged


def _facts(seed: int) -> list[tuple[int, IngestBatch | PublicationRow]]:
    """Ten minutes of a pool with trouble of every kind, as (stored_at, facts)."""
    random_ = random.Random(seed)
    facts: list[tuple[int, IngestBatch | PublicationRow]] = []
    fc, second = 0.5, 0
    while second < 400:
        second += random_.choice([1, 2, 2, 2, 3, 25])
        at_ms = T0 + second * 1000
        fc = random_.choice([fc, fc, fc, fc, 0.0, 0.25, 0.31, 0.5, 1.01, 1.3])
        stored_ms = at_ms + random_.choice([50, 100, 30_000])
        facts.append((stored_ms, IngestBatch(readings=batch_of_rows(all_sensors("pool-a", at_ms, fc_1=fc)))))
        if random_.random() < 0.8:
            facts.append((stored_ms + 50, publication("pool-a", stored_ms + 20, measured_at_ms=at_ms)))
        if random_.random() < 0.05:
            tested = manual("pool-a", at_ms + 500, free_chlorine_mg_l=random_.choice([0.2, 0.6]))
            facts.append((stored_ms, IngestBatch(readings=batch_of_rows(tested))))
    return facts


def _write(store: SqliteStore, stored_ms: int, fact: IngestBatch | PublicationRow) -> None:
    if isinstance(fact, IngestBatch):
        store.write(fact, stored_at_ms=stored_ms)
    else:
        store.write_publications([fact], stored_at_ms=stored_ms)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10_000), shuffled=st.booleans())
def test_any_order_and_partition_gives_the_same_verdicts(
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    shuffled: bool,  # noqa: FBT001 - drawn
) -> None:
    """DESIGN 12.1: step by step as facts come in, in a wild order with restarts, or all at once."""
    facts = _facts(seed)
    end_ms = T0 + 470_000
    registry = make_registry(make_pool())
    found = []
    for stepwise in (True, False):
        store = SqliteStore(tmp_path_factory.mktemp("store") / "store.sqlite")
        service = service_of(store, registry)
        order = sorted(facts, key=lambda fact: fact[0])
        if stepwise and shuffled:
            random.Random(seed).shuffle(order)
        now_ms = T0
        for number, (stored_ms, fact) in enumerate(order):
            _write(store, stored_ms, fact)
            now_ms = max(now_ms, stored_ms)
            if stepwise and number % 3 == 0:
                service.step(now_ms)
            if stepwise and number % 70 == 69:
                service = service_of(store, registry, prefix=f"r{number}-")
        service.step(end_ms)
        service.step(end_ms + 1)
        current = [v for v in verdicts(store) if v.state is not VerdictState.WITHDRAWN]
        found.append(sorted((without_identity(v) for v in current), key=repr))
        ids = [v.verdict_id for v in current]
        assert len(ids) == len(set(ids))
        found_state = state(store)
        assert set(found_state.open_verdicts) == {v.verdict_id for v in current if v.end_ms is None}
        store.close()
    assert found[0] == found[1]


@pytest.mark.parametrize("hours", ["24/7", "Mo-Su 06:00-09:30, 11:00-12:20, 12:25-13:15"])
@pytest.mark.parametrize("seed", [1, 2])
def test_hours_of_small_steps_equal_one_judging_from_the_start(
    store: SqliteStore, tmp_path: Path, seed: int, hours: str
) -> None:
    """Across hours the service judges from a moving start with what it knows of before; that must not show.

    Chlorine often stays for long between the limit and its hysteresis, where only what was before decides.
    """
    random_ = random.Random(seed)
    pool = make_pool(hours=hours, profile="changzhou-2022")
    pool = changed(pool, sensors=tuple(changed(sensor, interval_s=60.0) for sensor in pool.sensors))
    registry = make_registry(pool)
    service = service_of(store, registry)
    fc, hold, now_ms = 0.5, 0, T0
    for minute in range(6 * 60):
        at_ms = T0 + minute * 60_000
        hold -= 1
        if hold < 0:
            fc, hold = (
                random_.choice([0.5, 0.31, 0.31, 0.25, 0.25, 0.0, 1.2, 0.99]),
                random_.choice([1, 4, 12, 90]),
            )
        if random_.random() < 0.97 and not 150 < minute < 175 + seed * 20:
            now_ms = at_ms + 300
            store.write(
                IngestBatch(readings=batch_of_rows(all_sensors("pool-a", at_ms, fc_1=fc))),
                stored_at_ms=now_ms,
            )
            if random_.random() < 0.9:
                store.write_publications(
                    [publication("pool-a", now_ms, measured_at_ms=at_ms)], stored_at_ms=now_ms
                )
        if random_.random() < 0.02:
            late_ms = at_ms - random_.choice([10, 70, 130]) * 60_000 + 7_000
            store.write(
                IngestBatch(readings=batch_of_rows(all_sensors("pool-a", late_ms, fc_1=0.2))),
                stored_at_ms=at_ms + 400,
            )
        service.step(at_ms + 500)
        if minute == 100 * seed:
            service = service_of(store, registry, prefix="w")
    end_ms = T0 + 6 * 3_600_000
    service.step(end_ms)
    bench = service._places["pool-a"].bench
    assert bench is not None
    assert bench._seeds, "the moving start was never used"
    stepwise = sorted(
        (without_identity(v) for v in verdicts(store) if v.state is not VerdictState.WITHDRAWN), key=repr
    )

    afresh = SqliteStore(tmp_path / "afresh.sqlite")
    again = AnalyticsService(facts=store, results=afresh, registry=registry, clock=lambda: T0)
    again.step(end_ms)
    at_once = sorted((without_identity(v) for v in verdicts(afresh)), key=repr)
    afresh.close()
    assert stepwise == at_once
    assert {v.kind for v in at_once} == {"exceedance", "lapse"}
