"""What every store does with logbook, registry, verdicts, states and publications."""

import numpy as np
import pytest

from ingest.store.batches import IngestBatch, batch_of_rows
from ingest.store.ports import Store, StoreRejectedError
from ingest.store.records import (
    STATUS_CODES,
    Arrival,
    ArrivalKind,
    GatewayStatusRow,
    LogbookRow,
    PoolStateRow,
    PublicationRow,
    PublishedValue,
    ReadingRow,
    RegistryVersionRow,
    SeriesKey,
    VerdictRow,
)

HOUR_MS = 3_600_000
T0 = 500_000 * HOUR_MS


def entry(at_ms: int = T0, *, pool: str = "p1", seq: int = 0, position: int = 0) -> LogbookRow:
    return LogbookRow(
        pool, "closure", at_ms, at_ms + 5, "gw-desk", "b1", seq, position, b'{"kind": "closure"}'
    )


def test_logbook_round_trip_repetition_and_arrivals(store: Store) -> None:
    rows = [entry(T0 + 2, seq=1), entry(T0, seq=0), entry(T0 + HOUR_MS, seq=2), entry(T0, pool="p2", seq=3)]
    for _ in range(2):
        store.write(IngestBatch(logbook=rows), stored_at_ms=T0 + 9)
    assert store.logbook("p1", from_ms=T0, to_ms=T0 + HOUR_MS) == [rows[1], rows[0]]
    assert store.logbook("p1", from_ms=T0 + 1, to_ms=T0 + HOUR_MS + 1) == [rows[0], rows[2]]
    assert store.logbook("nowhere", from_ms=0, to_ms=2**60) == []
    assert sorted(store.arrivals_after(None)[0]) == [
        Arrival(ArrivalKind.LOGBOOK, "p1", T0, 2, T0 + 9),
        Arrival(ArrivalKind.LOGBOOK, "p1", T0 + HOUR_MS, 1, T0 + 9),
        Arrival(ArrivalKind.LOGBOOK, "p2", T0, 1, T0 + 9),
    ]
    assert store.counts().logbook_by_pool == {"p1": 3, "p2": 1}
    assert store.counts().readings == 0


def test_the_newest_accepted_registry_is_in_force_also_when_it_comes_back(store: Store) -> None:
    first, second = RegistryVersionRow("aa", T0, "one"), RegistryVersionRow("bb", T0 + 1, "two")
    store.write(IngestBatch(registry_versions=[first]), stored_at_ms=T0)
    store.write(IngestBatch(registry_versions=[first, second]), stored_at_ms=T0 + 1)
    assert store.registry_text() == "two"
    store.write(IngestBatch(registry_versions=[first._replace(accepted_at_ms=T0 + 2)]), stored_at_ms=T0 + 2)
    assert store.registry_text() == "one"
    assert store.arrivals_after(None)[0] == [
        Arrival(ArrivalKind.REGISTRY, "", 0, 1, T0 + step) for step in range(3)
    ]


def test_statuses_of_gateways_arrive_nowhere(store: Store) -> None:
    status = GatewayStatusRow("gw-a", T0, "online", "b1", b"{}")
    store.write(IngestBatch(statuses=[status, status]), stored_at_ms=T0)
    assert store.arrivals_after(None)[0] == []
    assert store.gateway_statuses() == {"gw-a": status}


def test_the_newest_status_of_each_gateway_is_told_whatever_the_order_of_arrival(store: Store) -> None:
    rows = [
        GatewayStatusRow(gateway, T0 + at, state, "b1", f"{at}".encode())
        for gateway, at, state in [
            ("gw-b", 5, "online"),
            ("gw-a", 9, "offline"),
            ("gw-c", 1, "online"),
            ("gw-a", 3, "online"),
        ]
    ]
    store.write(IngestBatch(statuses=rows[:2]), stored_at_ms=T0)
    store.write(IngestBatch(statuses=rows[2:]), stored_at_ms=T0)
    assert store.gateway_statuses() == {"gw-a": rows[1], "gw-b": rows[0], "gw-c": rows[2]}


def verdict(
    name: str,
    revision: int = 1,
    *,
    start_ms: int = T0,
    end_ms: int | None = None,
    pool: str = "p1",
    kind: str = "lapse",
    state: str = "open",
) -> VerdictRow:
    return VerdictRow(
        name, revision, kind, pool, state, start_ms, end_ms, T0 + revision, f"{name} {revision}".encode()
    )


def judge(store: Store, *verdicts: VerdictRow) -> None:
    store.write_results(verdicts=verdicts, states=[])


def test_the_newest_revision_is_current_and_all_are_kept(store: Store) -> None:
    one, two, three = verdict("v", 1), verdict("v", 2), verdict("v", 3, end_ms=T0 + 9, state="closed")
    judge(store, one)
    judge(store, three, two)
    assert store.verdicts("p1") == [three]
    assert store.verdict_revisions("v") == [one, two, three]
    assert store.verdict_revisions("unknown") == []


def test_a_revision_is_never_overwritten(store: Store) -> None:
    judge(store, verdict("v"))
    judge(store, verdict("v"))
    assert store.verdict_revisions("v") == [verdict("v")]
    with pytest.raises(StoreRejectedError, match="revision 1"):
        judge(store, verdict("w"), verdict("v", state="withdrawn"))
    assert store.verdicts("p1") == [verdict("v")]
    assert len(store.verdicts_after(None)[0]) == 1


def test_verdicts_overlap_half_open_and_an_open_end_reaches_for_ever(store: Store) -> None:
    closed = verdict("closed", start_ms=T0, end_ms=T0 + 10, state="closed")
    begun = verdict("begun", start_ms=T0 + 20)
    instant = verdict("instant", start_ms=T0 + 5, end_ms=T0 + 5, state="withdrawn", kind="exceedance")
    judge(store, begun, closed, instant, verdict("foreign", pool="p2"))

    def found(from_ms: int | None, to_ms: int | None, kind: str | None = None) -> list[str]:
        return [row.verdict_id for row in store.verdicts("p1", from_ms=from_ms, to_ms=to_ms, kind=kind)]

    assert found(None, None) == ["closed", "instant", "begun"]
    assert found(T0 + 10, T0 + 20) == []
    assert found(T0 + 9, T0 + 20) == ["closed"]
    assert found(T0 + 10, T0 + 21) == ["begun"]
    assert found(2**50, None) == ["begun"]
    assert found(None, T0) == []
    assert found(None, T0 + 1) == ["closed"]
    assert found(T0 + 5, T0 + 6) == ["closed", "instant"]
    assert found(T0 + 6, T0 + 7) == ["closed"]
    assert found(None, None, "exceedance") == ["instant"]


def test_revisions_follow_a_cursor_in_the_order_of_writing(store: Store) -> None:
    rows = [verdict("b"), verdict("a"), verdict("b", 2)]
    judge(store, *rows)
    first, cursor = store.verdicts_after(None, limit=2)
    second, cursor = store.verdicts_after(cursor, limit=2)
    assert (first, second) == (rows[:2], rows[2:])
    assert store.verdicts_after(cursor) == ([], cursor)


def test_states_are_appended_and_the_last_is_the_latest(store: Store) -> None:
    rows = [
        PoolStateRow(pool, T0 + 60_000 * n, "in_standard", b"%d" % n)
        for n, pool in enumerate(["p1", "p2", "p1"])
    ]
    store.write_results(verdicts=[], states=rows[:2])
    store.write_results(verdicts=[], states=rows[2:])
    assert store.pool_states() == {"p1": rows[2], "p2": rows[1]}
    first, cursor = store.pool_states_after(None, limit=2)
    second, cursor = store.pool_states_after(cursor)
    assert first + second == rows
    assert store.pool_states_after(cursor) == ([], cursor)


def test_of_the_states_of_a_minute_the_latest_of_each_condition_can_be_read(store: Store) -> None:
    minute = T0 - T0 % 60_000
    rows = [
        PoolStateRow("p1", minute + 1, "in_standard", b"1"),
        PoolStateRow("p1", minute + 2, "in_standard", b"2"),
        PoolStateRow("p1", minute + 3, "overdue", b"3"),
        PoolStateRow("p1", minute + 4, "in_standard", b"4"),
        PoolStateRow("p1", minute + 60_000, "in_standard", b"5"),
    ]
    for row in rows:
        store.write_results(verdicts=[], states=[row])
    found, _ = store.pool_states_after(None)
    assert set(found) >= {rows[1], rows[2], rows[3], rows[4]}
    assert store.pool_states() == {"p1": rows[4]}


def test_progress_moves_with_the_results_and_tells_the_readings_that_wait(store: Store) -> None:
    def write_step(step: int) -> str:
        rows = [
            ReadingRow("p1", "fc-1", "ph", T0 + 10 * step + n, 7.0, "normal", T0, "gw-a", "b1", step, n)
            for n in range(2)
        ]
        store.write(IngestBatch(readings=batch_of_rows(rows)), stored_at_ms=T0 + step)
        store.write(IngestBatch(logbook=[entry(seq=step)]), stored_at_ms=T0 + step)
        return store.arrivals_after(None)[1]

    write_step(0)
    cursor = write_step(1)
    assert store.readings_waiting() == 4
    store.write_results(verdicts=[verdict("v")], states=[], progress=cursor)
    assert (store.progress(), store.readings_waiting()) == (cursor, 0)
    last = write_step(2)
    store.write_results(verdicts=[], states=[])
    assert (store.progress(), store.readings_waiting()) == (cursor, 2)
    with pytest.raises(StoreRejectedError):
        store.write_results(verdicts=[verdict("v", state="closed")], states=[], progress=last)
    assert store.readings_waiting() == 2
    store.write_results(verdicts=[], states=[], progress=last)
    assert store.readings_waiting() == 0


def publication(at_ms: int, *values: PublishedValue, replica: str = "public-1") -> PublicationRow:
    return PublicationRow("p1", at_ms, f"hash-{len(values)}", replica, "in_standard", values)


def test_publications_round_trip_repetition_and_arrivals(store: Store) -> None:
    fc = PublishedValue("free_chlorine_mg_l", "fc-1", T0 - 2, 0.5, "normal")
    nothing = PublishedValue("ph", "ph-1", T0 - 9, None, "fault")
    rows = [
        publication(T0 + HOUR_MS, fc, nothing),
        publication(T0, fc),
        publication(T0, fc, replica="public-2"),
    ]
    for stored_at_ms in (T0 + 50, T0 + 60):
        store.write_publications(rows, stored_at_ms=stored_at_ms)
    found = store.publications("p1", from_ms=T0, to_ms=T0 + HOUR_MS + 1)
    chlorine = found[SeriesKey("fc-1", "free_chlorine_mg_l")]
    assert chlorine.published_at_ms.tolist() == [T0, T0, T0 + HOUR_MS]
    assert chlorine.measured_at_ms.tolist() == [T0 - 2] * 3
    assert chlorine.value.tolist() == [0.5] * 3
    assert chlorine.stored_at_ms.tolist() == [T0 + 50] * 3
    acidity = found[SeriesKey("ph-1", "ph")]
    assert np.isnan(acidity.value).tolist() == [True]
    assert acidity.status.tolist() == [STATUS_CODES["fault"]]
    assert store.publications("p1", from_ms=T0 + 1, to_ms=T0 + HOUR_MS) == {}
    assert store.publications("nowhere", from_ms=0, to_ms=2**60) == {}
    assert sorted(store.arrivals_after(None)[0]) == [
        Arrival(ArrivalKind.PUBLICATION, "p1", T0, 2, T0 + 50),
        Arrival(ArrivalKind.PUBLICATION, "p1", T0 + HOUR_MS, 1, T0 + 50),
    ]


def test_the_account_counts_publications_distinct_published_readings_and_standing_verdicts(
    store: Store,
) -> None:
    fc = PublishedValue("free_chlorine_mg_l", "fc-1", T0, 0.5, "normal")
    null = PublishedValue("ph", "ph-1", T0, None, "fault")
    store.write_publications(
        [
            publication(T0, fc),
            publication(T0 + 1, fc, null),
            publication(T0 + 2, fc._replace(measured_at_ms=T0 + 1)),
        ],
        stored_at_ms=T0 + 3,
    )
    judge(
        store, verdict("a"), verdict("b"), verdict("c", kind="exceedance"), verdict("b", 2, state="withdrawn")
    )
    counts = store.counts()
    assert (counts.publications, counts.published_readings) == (3, 2)
    assert counts.verdicts == {"lapse": 1, "exceedance": 1}


def test_a_rejected_publication_leaves_nothing_behind(store: Store) -> None:
    bad = PublishedValue("ph", "ph-1", T0, float("inf"), "normal")
    with pytest.raises(StoreRejectedError, match="inf"):
        store.write_publications([publication(T0), publication(T0 + 1, bad)], stored_at_ms=T0)
    assert store.counts().publications == 0
    assert store.arrivals_after(None)[0] == []
