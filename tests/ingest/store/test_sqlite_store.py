"""What only the SQLite store does: its file, its locks, and how it is chosen."""

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from ingest.store.opening import open_store
from ingest.store.ports import StoreError, StoreRejectedError, StoreUnavailableError
from ingest.store.records import IngestBatch, ReadingRow
from ingest.store.sqlite import SqliteStore

READING = ReadingRow("p1", "fc-1", "ph", 1_800_000_000_000, 7.0, "normal", 1, "gw-a", "b1", 0, 0)


@pytest.mark.parametrize("url", ["influx:http://x", "store.sqlite", "", "SQLITE:x"])
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
            store.write(IngestBatch(readings=[READING]), stored_at_ms=1)
        assert store.latest("p1") == {}
        other.execute("ROLLBACK")
    assert store.write(IngestBatch(readings=[READING]), stored_at_ms=1).stored == 1
    store.close()


def test_a_full_disk_is_unavailable_and_the_batch_can_be_written_later(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.sqlite")
    with store._session.writing() as connection:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")
    rows = [READING._replace(measured_at_ms=n, method="m" * 200, seq=n) for n in range(500)]
    with pytest.raises(StoreUnavailableError, match="full"):
        store.write(IngestBatch(readings=rows), stored_at_ms=1)
    assert store.counts().readings == 0
    with store._session.writing() as connection:
        connection.execute("PRAGMA max_page_count = 1000000")
    assert store.write(IngestBatch(readings=rows), stored_at_ms=1).stored == 500
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
        store.write(IngestBatch(readings=[lost, lost._replace(value=float("inf"))]), stored_at_ms=1)
    store.write(IngestBatch(readings=[READING]), stored_at_ms=1)
    store.write(IngestBatch(readings=[lost]), stored_at_ms=1)
    assert store.latest("p-lost").keys() == store.latest("p1").keys()
    assert store.counts().readings == 2
    store.close()
