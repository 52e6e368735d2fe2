"""What every store does with readings: round trip, repetition, duplicates, conflicts, arrivals."""

from collections import Counter
from itertools import count, permutations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.contract.readings import ReadingStatus
from ingest.store.batches import IngestBatch, WriteOutcome, batch_of_rows
from ingest.store.ports import Store, StoreRejectedError
from ingest.store.records import STATUS_CODES, Arrival, ArrivalKind, ReadingRow, SeriesKey

HOUR_MS = 3_600_000
T0 = 500_000 * HOUR_MS  # a whole hour in 2027
FC = SeriesKey("fc-1", "free_chlorine_mg_l")


def reading(
    at_ms: int = T0,
    value: float | None = 0.5,
    *,
    pool: str = "p1",
    series: SeriesKey = FC,
    status: str = "normal",
    received_ms: int = T0 + 10,
    gateway: str = "gw-a",
    boot: str = "b1",
    seq: int = 0,
    position: int = 0,
    by: str | None = None,
) -> ReadingRow:
    return ReadingRow(
        pool,
        *series,
        at_ms,
        value,
        status,
        received_ms,
        gateway,
        boot,
        seq,
        position,
        by,
        "DPD" if by else None,
    )


def write(store: Store, *rows: ReadingRow, stored_at_ms: int = T0 + 20) -> WriteOutcome:
    return store.write(IngestBatch(readings=batch_of_rows(rows)), stored_at_ms=stored_at_ms)


def test_an_empty_store_knows_nothing(store: Store) -> None:
    assert store.readings("p1", from_ms=0, to_ms=2**50) == {}
    assert store.latest("p1") == {}
    assert store.first_reading_ms("p1") is None
    assert store.arrivals_after(None)[0] == []
    assert store.counts().readings == 0
    assert store.registry_text() is None
    assert store.progress() is None
    assert store.readings_waiting() == 0
    assert store.readings_by_pool(from_ms=0, to_ms=2**50) == {}
    assert store.gateway_statuses() == {}
    assert store.poll_s > 0


@pytest.mark.parametrize("status", list(ReadingStatus))
@pytest.mark.parametrize("value", [None, 0.0, 0.1 + 0.2])
def test_value_and_null_of_every_status_round_trip(
    store: Store, status: ReadingStatus, value: float | None
) -> None:
    write(store, reading(value=value, status=status.value), stored_at_ms=T0 + 77)
    (columns,) = store.readings("p1", from_ms=T0, to_ms=T0 + 1).values()
    assert columns.measured_at_ms.tolist() == [T0]
    assert columns.measured_at_ms.dtype == np.int64
    assert columns.value.dtype == np.float64
    assert columns.status.dtype == np.uint8
    assert np.isnan(columns.value[0]) if value is None else columns.value[0] == value
    assert columns.status.tolist() == [STATUS_CODES[status.value]]
    assert columns.received_at_ms.tolist() == [T0 + 10]
    assert columns.stored_at_ms.tolist() == [T0 + 77]


def test_reads_are_half_open_sorted_and_by_series(store: Store) -> None:
    ph = SeriesKey("ph-1", "ph")
    instants = [T0 + step * 599_999 for step in (5, 0, 3, 1, 4, 2)]  # several buckets, out of order
    write(store, *(reading(at, seq=number) for number, at in enumerate(instants)))
    write(store, reading(T0, 7.2, series=ph, seq=9), reading(T0, 0.9, pool="p2", seq=10))
    found = store.readings("p1", from_ms=T0 + 599_999, to_ms=T0 + 4 * 599_999)
    assert found.keys() == {FC}
    assert found[FC].measured_at_ms.tolist() == [T0 + step * 599_999 for step in (1, 2, 3)]
    everything = store.readings("p1", from_ms=-(2**60), to_ms=2**60)
    assert everything[FC].measured_at_ms.tolist() == sorted(instants)
    assert everything[ph].value.tolist() == [7.2]
    assert store.readings("p1", from_ms=T0, to_ms=T0) == {}
    assert store.readings("nowhere", from_ms=0, to_ms=2**60) == {}


def test_latest_and_first_follow_measured_at_and_not_the_order_of_arrival(store: Store) -> None:
    write(store, reading(T0 + 3000, 0.7, seq=1))
    write(store, reading(T0 + 1000, 0.6, seq=2), reading(T0 + 2000, None, status="fault", seq=3))
    latest = store.latest("p1")[FC]
    assert (latest.measured_at_ms.tolist(), latest.value.tolist()) == ([T0 + 3000], [0.7])
    assert store.first_reading_ms("p1") == T0 + 1000


def test_a_repeated_write_changes_nothing(store: Store) -> None:
    rows = [reading(T0 + step, 0.5 + step / 100, seq=step) for step in range(5)]
    assert write(store, *rows) == WriteOutcome(stored=5)
    arrivals, cursor = store.arrivals_after(None)
    assert write(store, *rows, stored_at_ms=T0 + 9999) == WriteOutcome(stored=0)
    assert store.arrivals_after(cursor) == ([], cursor)
    assert [arrival.rows for arrival in arrivals] == [5]
    (columns,) = store.readings("p1", from_ms=T0, to_ms=T0 + 9).values()
    assert columns.stored_at_ms.tolist() == [T0 + 20] * 5
    assert store.counts().readings == 5


def test_a_batch_that_is_partly_known_stores_the_rest(store: Store) -> None:
    write(store, reading(T0, seq=0))
    outcome = write(store, reading(T0, seq=0), reading(T0 + 1, seq=1), reading(T0 + HOUR_MS, seq=2))
    assert outcome == WriteOutcome(stored=2)
    rows: Counter[int] = Counter()
    for arrival in store.arrivals_after(None)[0]:
        rows[arrival.hour_ms] += arrival.rows
    assert rows == {T0: 2, T0 + HOUR_MS: 1}


def test_the_same_value_from_another_message_is_a_duplicate(store: Store) -> None:
    write(store, reading(seq=0))
    assert write(store, reading(seq=1)) == WriteOutcome(stored=0, duplicates=(reading(seq=1),))
    assert write(store, reading(seq=0)) == WriteOutcome(stored=0)
    null = reading(value=None, status="fault", series=SeriesKey("x", "ph"))
    assert write(store, null).stored == 1
    assert write(store, null._replace(seq=7)).duplicates == (null._replace(seq=7),)
    assert store.counts().readings == 2


def test_a_reading_twice_in_one_message_is_stored_once_and_the_other_is_a_duplicate(store: Store) -> None:
    once, again = reading(position=0), reading(position=1)
    assert write(store, once, again) == WriteOutcome(stored=1, duplicates=(again,))
    assert store.counts().readings == 1


def test_many_readings_at_once_end_as_each_by_itself(store: Store) -> None:
    rows = [
        reading(T0 + step * 1000, step / 8, pool=f"p{pool}", series=series, seq=step, position=position)
        for step in range(150)
        for pool in range(4)
        for position, series in enumerate([FC, SeriesKey("ph-1", "ph")])
    ]
    known = [rows[number] for number in range(0, len(rows), 7)]
    assert write(store, *known) == WriteOutcome(stored=len(known))
    others = [row._replace(seq=row.seq + 1000) for row in known[:5]]
    wrong = [row._replace(value=99.0, seq=row.seq + 1000) for row in known[5:9]]
    outcome = write(store, *rows, *others, *wrong)
    assert outcome.stored == len(rows) - len(known)
    assert (set(outcome.duplicates), set(outcome.conflicts)) == (set(others), set(wrong))
    for pool in range(4):
        for key, columns in store.readings(f"p{pool}", from_ms=T0, to_ms=T0 + HOUR_MS).items():
            assert key in (FC, ("ph-1", "ph"))
            assert columns.measured_at_ms.tolist() == [T0 + step * 1000 for step in range(150)]
            assert columns.value.tolist() == [step / 8 for step in range(150)]
    by_pool = {f"p{pool}": 300 for pool in range(4)}
    assert store.counts().readings_by_pool == by_pool
    arrived: Counter[str] = Counter()
    for arrival in store.arrivals_after(None)[0]:
        arrived[arrival.pool_id] += arrival.rows
    assert arrived == by_pool


def test_readings_are_counted_by_pool_within_a_span(store: Store) -> None:
    rows = [reading(T0 + step * 400_000, seq=step) for step in range(10)]
    write(store, *rows, reading(T0 + 800_000, pool="p2", seq=20))
    assert store.readings_by_pool(from_ms=T0, to_ms=T0 + 800_000) == {"p1": 2}
    assert store.readings_by_pool(from_ms=T0 + 800_000, to_ms=T0 + 800_001) == {"p1": 1, "p2": 1}
    assert store.readings_by_pool(from_ms=0, to_ms=2**50) == {"p1": 10, "p2": 1}
    assert store.readings_by_pool(from_ms=T0 + 1, to_ms=T0 + 2) == {}


def test_who_signed_a_reading_is_told_with_its_conflict(store: Store) -> None:
    signed = reading(value=0.4, status="manual", by="Li", seq=5)
    write(store, reading(T0 + 1, seq=1), signed)
    earlier = reading(value=0.5, status="manual", by="Wang", seq=4)
    assert write(store, earlier).conflicts == (signed,)


SMALLER_AND_LARGER = [
    (reading(received_ms=T0 + 1, gateway="z", boot="z", seq=9), reading(value=0.9, received_ms=T0 + 2)),
    (reading(gateway="gw-a", boot="z", seq=9), reading(value=0.9, gateway="gw-b", boot="a", seq=0)),
    (reading(boot="b1", seq=9), reading(value=0.9, boot="b2", seq=0)),
    (reading(seq=2), reading(value=0.9, seq=10)),
    (reading(seq=2), reading(value=0.5, status="manual", seq=3)),
    (reading(seq=2, value=None, status="fault"), reading(value=0.5, seq=3)),
]


@pytest.mark.parametrize(("smaller", "larger"), SMALLER_AND_LARGER)
def test_of_two_values_the_smallest_origin_stands(
    store: Store, smaller: ReadingRow, larger: ReadingRow
) -> None:
    assert write(store, smaller).stored == 1
    for _ in range(2):
        assert write(store, larger) == WriteOutcome(stored=0, conflicts=(larger,))
    standing = store.latest("p1")[FC]
    assert standing.status.tolist() == [STATUS_CODES[smaller.status]]
    assert standing.received_at_ms.tolist() == [smaller.received_at_ms]
    assert sum(arrival.rows for arrival in store.arrivals_after(None)[0]) == 1


@pytest.mark.parametrize(("smaller", "larger"), SMALLER_AND_LARGER)
def test_a_smaller_one_that_comes_later_replaces_and_the_old_one_is_the_conflict(
    store: Store, smaller: ReadingRow, larger: ReadingRow
) -> None:
    write(store, larger._replace(by="Li", method="DPD"))
    cursor = store.arrivals_after(None)[1]
    for _ in range(2):  # the second time as after a crash between the store's commit and the journal's cursor
        outcome = write(store, smaller, stored_at_ms=T0 + 500)
        expected = larger._replace(by="Li", method="DPD")
        assert outcome == WriteOutcome(stored=0, conflicts=(expected,))
    standing = store.latest("p1")[FC]
    assert np.array_equal(
        standing.value, [np.nan if smaller.value is None else smaller.value], equal_nan=True
    )
    assert standing.status.tolist() == [STATUS_CODES[smaller.status]]
    assert standing.stored_at_ms.tolist() == [T0 + 500]
    arrivals = store.arrivals_after(cursor)[0]
    assert set(arrivals) == {Arrival(ArrivalKind.READINGS, "p1", T0, 0, T0 + 500)}
    assert store.counts().readings == 1
    assert store.counts().readings_by_pool == {"p1": 1}


def test_two_values_within_one_batch_are_judged_the_same(store: Store) -> None:
    smaller, larger = reading(seq=1), reading(value=0.9, seq=2)
    assert write(store, larger, smaller) == WriteOutcome(stored=1, conflicts=(larger,))
    other = SeriesKey("other", "ph")
    smaller, larger = smaller._replace(sensor_id="other"), larger._replace(sensor_id="other")
    assert write(store, smaller, larger) == WriteOutcome(stored=1, conflicts=(larger,))
    assert {key.sensor_id: columns.value.tolist() for key, columns in store.latest("p1").items()} == {
        "fc-1": [0.5],
        other.sensor_id: [0.5],
    }


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_any_order_of_three_leaves_the_same_value(store: Store, order: tuple[int, ...]) -> None:
    # The duplicate of the third has the smallest origin: 0.5 must stand in every order.
    three = [reading(value=0.5, seq=1), reading(value=0.9, seq=2), reading(value=0.5, seq=3)]
    for number in order:
        write(store, three[number])
    assert store.latest("p1")[FC].value.tolist() == [0.5]
    assert store.counts().readings == 1


Origin = st.tuples(st.integers(0, 2), st.sampled_from(["gw-a", "gw-b"]), st.integers(0, 3))


def test_a_replaced_reading_is_told_of_beside_a_new_one_of_its_hour(store: Store) -> None:
    standing = reading(value=0.5)
    write(store, standing)
    cursor = store.arrivals_after(None)[1]
    earlier = standing._replace(value=0.6, received_at_ms=standing.received_at_ms - 1)
    other = standing._replace(measured_at_ms=T0 + 60_000)
    write(store, earlier, other, stored_at_ms=T0 + 500)
    arrivals = store.arrivals_after(cursor)[0]
    assert {arrival.hour_ms for arrival in arrivals} == {T0}
    assert sum(arrival.rows for arrival in arrivals) == 1


_POOLS = count()


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
)
@given(
    facts=st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from([0.4, 0.5, None]), Origin), min_size=1, max_size=14
    ),
    cuts=st.integers(1, 5),
)
def test_readings_arrivals_and_counts_agree_with_a_dictionary(
    store: Store, facts: list[tuple[int, float | None, tuple[int, str, int]]], cuts: int
) -> None:
    pool = f"pool-{next(_POOLS)}"  # of this example alone, as the store stays
    rows = [
        reading(
            T0 + step * HOUR_MS,
            value,
            pool=pool,
            received_ms=T0 + received,
            gateway=gateway,
            seq=100 * seq + number,
        )
        for number, (step, value, (received, gateway, seq)) in enumerate(facts)
    ]
    expected: dict[int, ReadingRow] = {}
    for row in rows:
        old = expected.get(row.measured_at_ms)
        order = (row.received_at_ms, row.gateway_id, row.boot_id, row.seq)
        if old is None or order < (old.received_at_ms, old.gateway_id, old.boot_id, old.seq):
            expected[row.measured_at_ms] = row
    cursor = store.arrivals_after(None, limit=100_000)[1]
    outcomes = [write(store, *rows[first : first + cuts]) for first in range(0, len(rows), cuts)]
    (columns,) = store.readings(pool, from_ms=0, to_ms=2**50).values()
    assert columns.measured_at_ms.tolist() == sorted(expected)
    values = [expected[at].value for at in sorted(expected)]
    assert np.array_equal(columns.value, np.array(values, dtype=float), equal_nan=True)
    assert sum(outcome.stored for outcome in outcomes) == len(expected)
    # Every row of a batch ends in exactly one way.
    ends = sum(outcome.stored + len(outcome.duplicates) + len(outcome.conflicts) for outcome in outcomes)
    assert ends == len(rows)
    arrivals = store.arrivals_after(cursor, limit=100_000)[0]
    assert sum(arrival.rows for arrival in arrivals if arrival.pool_id == pool) == len(expected)
    assert store.counts().readings_by_pool[pool] == len(expected)
    assert store.readings_by_pool(from_ms=0, to_ms=2**50)[pool] == len(expected)


def test_a_rejected_batch_leaves_nothing_behind(store: Store) -> None:
    with pytest.raises(StoreRejectedError, match="inf"):
        write(store, reading(pool="new-pool"), reading(T0 + 1, float("inf")))
    odd = batch_of_rows([reading(pool="new-pool"), reading(T0 + 1)])
    odd.status[1] = 99
    with pytest.raises(StoreRejectedError, match="99"):
        store.write(IngestBatch(readings=odd), stored_at_ms=T0)
    assert store.arrivals_after(None)[0] == []
    assert store.first_reading_ms("new-pool") is None
    assert write(store, reading(pool="new-pool")).stored == 1
    assert store.latest("new-pool").keys() == {FC}


def test_arrivals_page_by_cursor_and_strange_cursors_are_refused(store: Store) -> None:
    for step in range(5):
        write(store, reading(T0 + step * HOUR_MS, seq=step), stored_at_ms=T0 + step)
    found: list[Arrival] = []
    page, cursor = store.arrivals_after(None, limit=2)
    while page:
        found += page
        page, cursor = store.arrivals_after(cursor, limit=2)
    assert [arrival.hour_ms for arrival in found] == [T0 + n * HOUR_MS for n in range(5)]
    assert [arrival.stored_at_ms for arrival in found] == [T0 + n for n in range(5)]
    assert store.arrivals_after(cursor, limit=2) == ([], cursor)
    with pytest.raises(StoreRejectedError, match="cursor"):
        store.arrivals_after("yesterday")
