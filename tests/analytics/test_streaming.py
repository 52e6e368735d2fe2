"""Streaming equals batch (DESIGN 12.1): whatever the partition and order of judging, the same verdicts and the same state.

The service is the real one over a real store. What it finds at once, in a fresh store, is what it must have found
however the facts came; and what files of the same readings give.
"""

import csv
import itertools
import random
from collections.abc import Sequence
from dataclasses import replace as changed
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

pytest.importorskip("pyarrow", reason="judging from files needs the extra `offline`")

import analytics.service
from analytics.offline.request import Request
from analytics.offline.run import judge_files
from analytics.results import (
    Doubt,
    DutyState,
    PoolCondition,
    PoolState,
    ReasonCode,
    Verdict,
    VerdictKind,
    VerdictState,
    decode_pool_state,
    decode_verdict,
)
from analytics.service import AnalyticsService
from analytics.standards.profile import DutyKind, load_profile
from analytics.verdicts import without_identity
from gateway.contract.quantities import Quantity
from gateway.contract.registry import OpeningHours, Pool, PoolKind, Registry, Sensor
from gateway.contract.times import format_timestamp
from ingest.store.batches import IngestBatch, batch_of_rows
from ingest.store.records import ReadingRow
from ingest.store.sqlite import SqliteStore
from tests.analytics.offline_case import table
from tests.analytics.streaming_case import (
    HOUR,
    MINUTE,
    POOL,
    T0,
    History,
    Stored,
    draw_history,
    registry_of,
    write,
)

Found = tuple[list[Verdict], PoolState]


@pytest.fixture(autouse=True)
def _judged_whenever_due(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a judging takes here, the next is not put off."""
    monkeypatch.setattr(analytics.service, "_REST_FROM_S", float("inf"))


def service_of(store: SqliteStore, registry: Registry, prefix: str) -> AnalyticsService:
    numbers = itertools.count(1)
    return AnalyticsService(
        facts=store,
        results=store,
        registry=registry,
        clock=lambda: T0,
        new_id=lambda: f"{prefix}{next(numbers)}",
    )


def current(store: SqliteStore) -> list[Verdict]:
    verdicts = [decode_verdict(row.body) for row in store.verdicts(POOL)]
    return [verdict for verdict in verdicts if verdict.state is not VerdictState.WITHDRAWN]


def state_of(store: SqliteStore) -> PoolState:
    return decode_pool_state(store.pool_states()[POOL].body)


def essence(state: PoolState) -> PoolState:
    """A state without identity, and without what counts on by itself."""
    duties = [
        DutyState(duty.duty, duty.quantity, duty.standing, duty.clause, deadline_ms=duty.deadline_ms)
        for duty in state.duties
    ]
    return replace(state, at_ms=0, duties=duties, open_verdicts=[], next_change_ms=None)


def found_in(store: SqliteStore) -> Found:
    verdicts = current(store)
    open_ids = {verdict.verdict_id for verdict in verdicts if verdict.state is not VerdictState.CLOSED}
    assert len({verdict.verdict_id for verdict in verdicts}) == len(verdicts)
    assert set(state_of(store).open_verdicts) == open_ids
    return sorted((without_identity(verdict) for verdict in verdicts), key=repr), essence(state_of(store))


def at_once(folder: Path, history: History, *, now_ms: int) -> Found:
    """By a service that finds everything in the store when it starts."""
    store = SqliteStore(folder / "once.sqlite")
    for stored in history.facts:
        write(store, stored)
    service = service_of(store, history.registry, "once-")
    service.step(now_ms)
    assert not service.counters.failures
    found = found_in(store)
    store.close()
    return found


def in_parts(
    folder: Path, history: History, facts: Sequence[Stored], random_: random.Random, *, now_ms: int
) -> Found:
    """Written and judged in parts of one to many, in the order given; the service starts again now and then.

    The last judging of all facts is up to a minute before `now_ms`: what time alone changes has to be seen too.
    """
    store = SqliteStore(folder / "parts.sqlite")
    service, starts = service_of(store, history.registry, "s0-"), 1
    part = max(1, len(facts) // random_.choice([4, 8, 16]))
    at_ms, done = T0, 0
    while done < len(facts):
        after = done + random_.choice([1, part, part, random_.randrange(1, 2 * part + 1)])
        for stored in facts[done:after]:
            write(store, stored)
            at_ms = max(at_ms, stored.stored_ms)
        done = after
        at_ms = max(at_ms, min(history.end_ms, at_ms + random_.choice([0, 1, 1000, 20_000])))
        service.step(at_ms)
        if random_.random() < 0.08:
            service, starts = service_of(store, history.registry, f"s{starts}-"), starts + 1
    service.step(history.end_ms + MINUTE + 1000)
    service.step(now_ms)
    assert not service.counters.failures
    found = found_in(store)
    store.close()
    return found


def orders(history: History, random_: random.Random) -> dict[str, Sequence[Stored]]:
    """As stored; in any order; as a backlog, the newest hour first."""
    shuffled = random_.sample(history.facts, len(history.facts))
    backlog = sorted(history.facts, key=lambda stored: (-(stored.at_ms // HOUR), stored.at_ms))
    return {"stored": history.facts, "shuffled": shuffled, "backlog": backlog}


@settings(max_examples=14, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 100_000),
    profile=st.sampled_from(["demo", "changzhou-2022", "changzhou-2022"]),
    order=st.sampled_from(["stored", "shuffled", "backlog"]),
)
def test_any_partition_and_order_gives_what_judging_at_once_gives(
    tmp_path_factory: pytest.TempPathFactory, seed: int, profile: str, order: str
) -> None:
    random_ = random.Random(seed)
    history = draw_history(random_, profile=profile, hours=random_.choice([3, 6, 14]))
    now_ms = history.end_ms + MINUTE + random_.choice([1_001, 6_001, 30_000, 60_000])
    folder = tmp_path_factory.mktemp("store")
    facts = orders(history, random_)[order]
    streamed = in_parts(folder, history, facts, random_, now_ms=now_ms)
    assert streamed == at_once(folder, history, now_ms=now_ms)


@pytest.mark.parametrize("seed", [5151, 2021])
def test_what_is_long_past_is_read_again_when_it_changes(tmp_path: Path, seed: int) -> None:
    """A day and more of a pool: what was judged has been put away, and late readings and entries reach back to it."""
    random_ = random.Random(seed)
    history = draw_history(random_, profile="changzhou-2022", hours=30)
    now_ms = history.end_ms + 2 * MINUTE
    streamed = in_parts(tmp_path, history, history.facts, random_, now_ms=now_ms)
    assert streamed == at_once(tmp_path, history, now_ms=now_ms)


def pool_of(*sensors: tuple[str, Quantity], hours: str = "24/7", **more: Any) -> Pool:
    return Pool(
        pool_id=POOL,
        venue_id="venue",
        name_zh="池",
        name_en="Pool",
        kind=PoolKind.INDOOR,
        volume_m3=400.0,
        opening=(OpeningHours(hours),),
        time_zone="Asia/Shanghai",
        profile="changzhou-2022",
        sensors=tuple(Sensor(sensor_id, quantity, "return", 60.0) for sensor_id, quantity in sensors),
        **more,
    )


FC, PH, ORP = Quantity.FREE_CHLORINE_MG_L, Quantity.PH, Quantity.ORP_MV
_SEQ = itertools.count()


def put(
    store: SqliteStore,
    sensor_id: str,
    quantity: Quantity,
    readings: Sequence[tuple[int, float]],
    *,
    stored_ms: int | None = None,
    received_ms: int | None = None,
) -> None:
    """Store (time after T0, value) of one sensor; [ms]."""
    for at_ms, value in readings:
        stamp = T0 + at_ms if stored_ms is None else T0 + stored_ms
        row = ReadingRow(
            POOL,
            sensor_id,
            quantity,
            T0 + at_ms,
            value,
            "normal",
            stamp if received_ms is None else T0 + received_ms,
            "gw",
            "boot",
            next(_SEQ),
            0,
        )
        store.write(IngestBatch(readings=batch_of_rows([row])), stored_at_ms=stamp)


def every_minute(from_ms: int, to_ms: int, value: float) -> list[tuple[int, float]]:
    return [(at_ms, value + 0.01 * (at_ms // MINUTE % 2)) for at_ms in range(from_ms, to_ms, MINUTE)]


def exceedances(store: SqliteStore, rule: str) -> list[Verdict]:
    return [verdict for verdict in current(store) if verdict.rule == rule]


@pytest.mark.parametrize("order", ["newest first", "oldest first", "any"])
def test_a_backlog_keeps_one_id_for_each_exceedance(tmp_path: Path, order: str) -> None:
    """Ten hours far below the limit, after an hour within it; hour by hour, judged after each."""
    pool = pool_of(("fc-1", FC))
    store = SqliteStore(tmp_path / "store.sqlite")
    service = service_of(store, registry_of(pool), "v")
    hours = list(range(11))
    if order == "newest first":
        hours.reverse()
    elif order == "any":
        hours = [4, 0, 9, 2, 7, 10, 1, 5, 3, 8, 6]
    for number, hour in enumerate(hours):
        value = 0.5 if hour == 0 else 0.1
        readings = every_minute(hour * HOUR, (hour + 1) * HOUR, value)
        now_ms = 11 * HOUR + number * MINUTE
        put(store, "fc-1", FC, readings, stored_ms=now_ms)
        service.step(T0 + now_ms + 100)
    (verdict,) = exceedances(store, "free_chlorine.low")
    assert (verdict.start_ms, verdict.end_ms) == (T0 + HOUR, None)
    # Nothing was ever withdrawn or named anew: silence in between does not end an exceedance.
    ever = [row for row in store.verdicts(POOL) if decode_verdict(row.body).rule == "free_chlorine.low"]
    assert [row.verdict_id for row in ever] == [verdict.verdict_id]
    store.close()


def test_the_first_value_after_a_silence_is_known_as_that_after_a_restart_and_a_late_entry(
    tmp_path: Path,
) -> None:
    """What a probe said two days before its silence is beyond what is judged again; and yet it was not its first word."""
    pool = pool_of(("fc-1", FC), ("ph-1", PH))
    store = SqliteStore(tmp_path / "store.sqlite")
    put(store, "fc-1", FC, every_minute(0, HOUR, 0.5))
    put(store, "ph-1", PH, [(at_ms, 7.4) for at_ms in range(0, 60 * HOUR, 10 * MINUTE)])
    service_of(store, registry_of(pool), "a").step(T0 + 60 * HOUR)
    again = service_of(store, registry_of(pool), "b")
    again.step(T0 + 60 * HOUR + MINUTE)
    silent = state_of(store).values[0]
    assert silent.quantity == FC
    assert silent.reason is not None
    assert (silent.reason.code, silent.reason.since_ms) == (ReasonCode.PROBE_SILENT, T0 + 59 * MINUTE)
    put(store, "fc-1", FC, [(60 * HOUR + 2 * MINUTE, 0.1)])
    again.step(T0 + 60 * HOUR + 2 * MINUTE + 100)
    reason = state_of(store).values[0].reason
    assert reason is not None
    assert reason.code is ReasonCode.FIRST_AFTER_SILENCE
    store.close()


@pytest.mark.parametrize("restart", [False, True])
def test_a_probe_not_believed_that_falls_silent_is_silent(tmp_path: Path, restart: bool) -> None:  # noqa: FBT001 - a parameter of pytest
    """Chlorine falls from 0.5 to an exact zero for an hour (a dropout), then nothing for six hours more."""
    pool = pool_of(("fc-1", FC), ("ph-1", PH))
    store = SqliteStore(tmp_path / "store.sqlite")
    service = service_of(store, registry_of(pool), "a")
    put(
        store, "fc-1", FC, [*every_minute(0, HOUR, 0.5), *((at, 0.0) for at in range(HOUR, 2 * HOUR, MINUTE))]
    )
    for at_ms in range(0, 8 * HOUR, 10 * MINUTE):
        put(store, "ph-1", PH, [(at_ms, 7.4 + at_ms % (HOUR) / (100 * HOUR))])
        service.step(T0 + at_ms + 100)
        value = state_of(store).values[0]
        assert value.reason is None or value.reason.code in (ReasonCode.EXACT_ZERO, ReasonCode.PROBE_SILENT)
        if HOUR + MINUTE < at_ms < 2 * HOUR:
            assert value.reason is not None
            assert (value.reason.code, value.reason.since_ms) == (ReasonCode.EXACT_ZERO, T0 + HOUR)
        if restart and at_ms == 6 * HOUR:
            service = service_of(store, registry_of(pool), "b")
    value = state_of(store).values[0]
    assert value.reason is not None
    assert (value.reason.code, value.reason.since_ms) == (ReasonCode.PROBE_SILENT, T0 + 59 * MINUTE)
    assert state_of(store).state is PoolCondition.OVERDUE
    store.close()


def test_a_reading_that_is_replaced_is_judged_anew(tmp_path: Path) -> None:
    """Of two values for one time the one received first stands, though it is stored last: 0.5, not 0.1."""
    pool = pool_of(("fc-1", FC))
    store = SqliteStore(tmp_path / "store.sqlite")
    service = service_of(store, registry_of(pool), "v")
    low = every_minute(10 * MINUTE, 20 * MINUTE, 0.1)
    put(store, "fc-1", FC, [*every_minute(0, 10 * MINUTE, 0.5), *every_minute(20 * MINUTE, 50 * MINUTE, 0.5)])
    put(store, "fc-1", FC, low, stored_ms=50 * MINUTE)
    service.step(T0 + 50 * MINUTE + 100)
    assert len(exceedances(store, "free_chlorine.low")) == 1
    right = [(at_ms, 0.5) for at_ms, _ in low]
    put(store, "fc-1", FC, right, stored_ms=51 * MINUTE, received_ms=21 * MINUTE)
    service.step(T0 + 51 * MINUTE + 100)
    assert exceedances(store, "free_chlorine.low") == []
    store.close()


@pytest.mark.parametrize("restart", [False, True])
def test_what_a_removed_probe_measured_stays_asked_for(tmp_path: Path, restart: bool) -> None:  # noqa: FBT001 - a parameter of pytest
    pool = pool_of(("fc-1", FC), ("ph-1", PH))
    gone = changed(pool.sensors[0], until_ms=T0 + HOUR)
    pool = changed(pool, sensors=(gone, pool.sensors[1]))
    store = SqliteStore(tmp_path / "store.sqlite")
    service = service_of(store, registry_of(pool), "a")
    for at_ms in range(0, 2 * HOUR, 10 * MINUTE):
        put(store, "ph-1", PH, [(at_ms, 7.4)])
        if at_ms < HOUR:
            put(store, "fc-1", FC, [(at_ms, 0.5)])
        service.step(T0 + at_ms + 100)
    if restart:
        service_of(store, registry_of(pool), "b").step(T0 + 2 * HOUR)
    assert [value.quantity for value in state_of(store).values] == [FC, PH]
    assert state_of(store).state is PoolCondition.OVERDUE
    store.close()


def test_readings_from_before_the_pool_began_make_no_exceedance(tmp_path: Path) -> None:
    """Its probes were tried out: out of the limit up to two minutes before the pool's `from`, then within it."""
    pool = pool_of(("fc-1", FC), from_ms=T0 + HOUR)
    store = SqliteStore(tmp_path / "store.sqlite")
    put(store, "fc-1", FC, every_minute(0, HOUR - MINUTE, 0.1))
    put(store, "fc-1", FC, every_minute(HOUR, 2 * HOUR, 0.5))
    service_of(store, registry_of(pool), "v").step(T0 + 2 * HOUR)
    assert exceedances(store, "free_chlorine.low") == []
    store.close()


@pytest.mark.parametrize(
    ("first", "second", "doubt"), [("ph-1", "ph-2", None), ("ph-2", "ph-1", Doubt.PH_OUT_OF_LINE)]
)
def test_of_two_probes_the_first_of_the_registry_makes_chlorine_doubtful(
    tmp_path: Path, first: str, second: str, doubt: Doubt | None
) -> None:
    """Whichever spoke first: ph-1 shows 7.7, within the limit, and ph-2 8.1, beyond it."""
    pool = pool_of(("fc-1", FC), (first, PH), (second, PH))
    store = SqliteStore(tmp_path / "store.sqlite")
    put(store, "ph-2", PH, every_minute(0, HOUR, 8.1))
    put(store, "ph-1", PH, every_minute(0, HOUR, 7.7))
    put(store, "fc-1", FC, every_minute(0, HOUR, 0.25))
    service_of(store, registry_of(pool), "v").step(T0 + HOUR)
    assert [verdict.doubt for verdict in exceedances(store, "free_chlorine.low")] == [doubt]
    store.close()


@pytest.mark.parametrize("seed", [3, 24, 40])
def test_files_of_the_same_readings_give_the_same_exceedances_and_lapses(tmp_path: Path, seed: int) -> None:
    history = draw_history(random.Random(seed), profile="changzhou-2022", hours=14, plain=True)
    to_ms = history.end_ms
    verdicts, _ = at_once(tmp_path, history, now_ms=to_ms)
    shown = [verdict for verdict in verdicts if verdict.start_ms < to_ms]
    online = {
        (v.sensor_id, v.quantity, v.rule, v.start_ms, v.end_ms or to_ms, str(v.state), v.doubt)
        for v in shown
        if v.kind is VerdictKind.EXCEEDANCE
    }
    lapses = {
        (v.quantity, v.rule, v.start_ms, v.end_ms or to_ms, str(v.state))
        for v in shown
        if v.rule in (DutyKind.ONLINE_MONITORING, DutyKind.DAILY_TEST)
    }
    assert online
    assert lapses

    path = tmp_path / "readings.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("pool_id", "sensor_id", "quantity", "measured_at", "value", "status"))
        for stored in history.facts:
            assert isinstance(stored.fact, IngestBatch)
            writer.writerows(
                (
                    POOL,
                    row.sensor_id,
                    row.quantity,
                    format_timestamp(row.measured_at_ms),
                    row.value,
                    row.status,
                )
                for row in stored.fact.readings.rows()
            )
    profiles = {history.pool.profile: load_profile(history.pool.profile)}
    judge_files(Request(path, history.registry, profiles, tmp_path / "out", first=T0, last=to_ms))

    def ms(row: dict[str, Any], name: str) -> int:
        instant: datetime = row[name]
        return round(instant.timestamp() * 1000)

    assert {
        (
            row["sensor_id"],
            row["quantity"],
            row["rule"],
            ms(row, "start"),
            ms(row, "end"),
            row["state"],
            row["doubt"],
        )
        for row in table(tmp_path, "exceedances")
    } == online
    assert {
        (row["quantity"], row["rule"], ms(row, "start"), ms(row, "end"), row["state"])
        for row in table(tmp_path, "lapses")
    } == lapses
