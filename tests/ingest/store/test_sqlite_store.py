"""What only the SQLite store does: its file, its locks, and how it is chosen."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.store.batches import IngestBatch, Signature, WriteOutcome, batch_of_rows
from ingest.store.opening import open_store
from ingest.store.ports import StoreError, StoreRejectedError, StoreUnavailableError
from ingest.store.records import Arrival, ArrivalKind, GatewayStatusRow, ReadingRow
from ingest.store.sqlite import SqliteStore

READING = ReadingRow("p1", "fc-1", "ph", 1_800_000_000_000, 7.0, "normal", 1, "gw-a", "b1", 0, 0)


def write(store: SqliteStore, *rows: ReadingRow, stored_at_ms: int = 1) -> WriteOutcome:
    return store.write(IngestBatch(readings=batch_of_rows(rows)), stored_at_ms=stored_at_ms)


@pytest.mark.parametrize("url", ["telegram:http://x", "store.sqlite", "", "SQLITE:x"])
def test_an_unknown_scheme_names_the_known_ones(url: str) -> None:
    with pytest.raises(StoreError, match="sqlite:"):
        open_store(url)


@pytest.mark.parametrize("url", ["sqlite:", "sqlite::memory:"])
def test_a_store_without_a_file_is_refused(url: str) -> None:
    with pytest.raises(StoreError, match="PATH"):
        open_store(url)


def test_a_missing_folder_may_come_back(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailableError, match="folder"):
        open_store(f"sqlite:{tmp_path / 'absent' / 'store.sqlite'}")


def test_a_file_that_is_no_database_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    path.write_bytes(b"this is a text that somebody put here by mistake" * 100)
    with pytest.raises(StoreRejectedError, match="not a database"):
        SqliteStore(path)
    assert path.read_bytes().startswith(b"this is a text")


def test_a_file_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match="layout 99"):
        SqliteStore(path)


def test_a_file_of_an_older_layout_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE reading (old)")
        connection.execute("PRAGMA user_version = 1")
    with pytest.raises(StoreError, match=r"layout 1.*fill a new file from the journal"):
        SqliteStore(path)
    with closing(sqlite3.connect(path)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master").fetchall()
    assert tables == [("reading",)]


def test_commits_are_durable(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.sqlite")
    with store._session.writing() as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    store.close()


def test_many_open_a_new_file_at_once(tmp_path: Path) -> None:
    failures: list[BaseException] = []
    start = threading.Barrier(6)

    def open_and_close() -> None:
        start.wait()
        try:
            SqliteStore(tmp_path / "store.sqlite").close()
        except BaseException as error:  # noqa: BLE001 - reported below
            failures.append(error)

    threads = [threading.Thread(target=open_and_close) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_lock_that_is_never_given_back_is_unavailable_and_reads_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.store.sqlite_schema.BUSY_TIMEOUT_S", 0.05)
    path = tmp_path / "store.sqlite"
    store = SqliteStore(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailableError, match="locked"):
            write(store, READING)
        assert store.latest("p1") == {}
        other.execute("ROLLBACK")
    assert write(store, READING).stored == 1
    store.close()


def test_a_full_disk_is_unavailable_and_the_batch_can_be_written_later(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.sqlite")
    with store._session.writing() as connection:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")
    rows = [READING._replace(measured_at_ms=n, method="m" * 200, seq=n) for n in range(500)]
    with pytest.raises(StoreUnavailableError, match="full"):
        write(store, *rows)
    assert store.counts().readings == 0
    with store._session.writing() as connection:
        connection.execute("PRAGMA max_page_count = 1000000")
    assert write(store, *rows).stored == 500
    store.close()


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.sqlite")
    store.close()
    with pytest.raises(StoreRejectedError, match="closed"):
        store.pool_states()


def test_names_of_a_transaction_that_failed_are_given_out_anew(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.sqlite")
    lost = READING._replace(pool_id="p-lost")
    with pytest.raises(StoreRejectedError):
        write(store, lost, lost._replace(measured_at_ms=1, seq=2**70))
    write(store, READING)
    write(store, lost)
    assert store.latest("p-lost").keys() == store.latest("p1").keys()
    assert store.counts().readings == 2
    store.close()


@pytest.fixture
def sqlite_store(tmp_path: Path) -> Iterator[SqliteStore]:
    with closing(SqliteStore(tmp_path / "store.sqlite")) as opened:
        yield opened


def test_another_place_in_the_same_message_is_another_reading(sqlite_store: SqliteStore) -> None:
    again = READING._replace(position=1)
    assert write(sqlite_store, READING).stored == 1
    assert write(sqlite_store, again) == WriteOutcome(stored=0, duplicates=(again,))


def test_a_write_is_one_arrival_an_hour_and_a_replaced_reading_one_of_no_row(
    sqlite_store: SqliteStore,
) -> None:
    at_ms = READING.measured_at_ms
    hour_ms = at_ms - at_ms % 3_600_000
    write(sqlite_store, *(READING._replace(measured_at_ms=at_ms + n, position=n) for n in range(5)))
    earlier = READING._replace(value=6.0, received_at_ms=0)
    write(sqlite_store, earlier, READING._replace(measured_at_ms=at_ms - 1, seq=4), stored_at_ms=2)
    assert sqlite_store.arrivals_after(None)[0] == [
        Arrival(ArrivalKind.READINGS, "p1", hour_ms, 5, 1),
        Arrival(ArrivalKind.READINGS, "p1", (at_ms - 1) // 3_600_000 * 3_600_000, 1, 2),
        Arrival(ArrivalKind.READINGS, "p1", hour_ms, 0, 2),
    ]


_FACTS = st.lists(
    st.tuples(
        st.integers(-1, 1),  # when
        st.sampled_from(["p1", "p2"]),
        st.sampled_from([0.4, 0.5, None]),
        st.sampled_from(["normal", "fault"]),
        st.integers(0, 2),  # received
        st.sampled_from(["gw-a", "gw-b"]),
        st.integers(0, 2),  # seq
        st.sampled_from([None, "Li"]),
    ),
    min_size=1,
    max_size=16,
)


@settings(max_examples=80, deadline=None)
@given(facts=_FACTS, cuts=st.integers(1, 16))
def test_a_large_write_ends_as_many_of_one_row(
    tmp_path_factory: pytest.TempPathFactory, facts: list[tuple[Any, ...]], cuts: int
) -> None:
    rows = [
        ReadingRow(
            pool, "fc-1", "ph", when * 700_000, value, status, received, gateway, "b1", seq, position, by
        )
        for position, (when, pool, value, status, received, gateway, seq, by) in enumerate(facts)
    ]
    folder = tmp_path_factory.mktemp("stores")
    with (
        closing(SqliteStore(folder / "large.sqlite")) as large,
        closing(SqliteStore(folder / "one.sqlite")) as one,
    ):
        for first in range(0, len(rows), cuts):
            part = rows[first : first + cuts]
            together = write(large, *part)
            single = [write(one, row) for row in part]
            assert together.stored == sum(outcome.stored for outcome in single)
            assert sorted(map(repr, together.duplicates)) == sorted(
                repr(row) for outcome in single for row in outcome.duplicates
            )
            assert sorted(map(repr, together.conflicts)) == sorted(
                repr(row) for outcome in single for row in outcome.conflicts
            )
        with large._session.reading() as many, one._session.reading() as few:
            everything = """SELECT pool_name.text, measured_at_ms, value, status, received_at_ms, gateway_name.text, seq,
                position, "by", method FROM reading JOIN series ON series.id = series
                JOIN message ON message.id = message JOIN name AS pool_name ON pool_name.id = pool
                JOIN name AS gateway_name ON gateway_name.id = gateway ORDER BY 1, 2"""
            assert many.execute(everything).fetchall() == few.execute(everything).fetchall()
        assert large.counts() == one.counts()
        assert large.readings_by_pool(from_ms=-(2**50), to_ms=2**50) == large.counts().readings_by_pool
        for pool_id in ("p1", "p2"):
            assert large.first_reading_ms(pool_id) == one.first_reading_ms(pool_id)
            assert [c.measured_at_ms.tolist() for c in large.latest(pool_id).values()] == [
                c.measured_at_ms.tolist() for c in one.latest(pool_id).values()
            ]


def test_a_batch_may_name_more_series_and_messages_than_it_has_readings_of(sqlite_store: SqliteStore) -> None:
    rows = [READING._replace(pool_id=f"p{n}", seq=n, by="Li" if n == 3 else None) for n in range(6)]
    batch = batch_of_rows(rows)
    some = batch.take(np.array([5, 3]))
    assert some.signatures == {1: Signature("Li", None)}
    sqlite_store.write(IngestBatch(readings=some), stored_at_ms=1)
    assert sqlite_store.counts().readings_by_pool == {"p3": 1, "p5": 1}
    with sqlite_store._session.reading() as connection:
        assert connection.execute("SELECT seq FROM message ORDER BY seq").fetchall() == [(3,), (5,)]
        assert connection.execute('SELECT "by" FROM reading WHERE "by" NOT NULL').fetchall() == [("Li",)]


def test_of_two_statuses_of_one_millisecond_the_one_that_came_last_counts(tmp_path: Path) -> None:
    with closing(SqliteStore(tmp_path / "store.sqlite")) as store:
        for state in ("online", "offline"):
            status = GatewayStatusRow("gw-a", 1_782_892_800_000, state, "b1", state.encode())
            store.write(IngestBatch(statuses=[status]), stored_at_ms=1_782_892_800_001)
        assert store.gateway_statuses()["gw-a"].state == "offline"
