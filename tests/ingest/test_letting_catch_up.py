"""Intake lets a store that takes rows catch up for a moment, and waits for nothing else."""

import threading
from collections.abc import Sequence
from typing import Any

import pytest

from ingest import store_writer
from ingest.counters import IngestCounters
from ingest.intake import Rows
from ingest.store.batches import IngestBatch, ReadingBatch, WriteOutcome, batch_of_rows
from ingest.store.ports import StoreUnavailableError
from ingest.store.records import ReadingRow
from ingest.store_writer import StoreWriter

READINGS = 60
SOON_S = 20.0


class Journal:
    def __init__(self) -> None:
        self.at = 0

    def cursor(self) -> int:
        return self.at

    def read_after(self, cursor: int, *, limit: int) -> Sequence[Any]:
        del cursor, limit
        return ()

    def advance(self, cursor: int, **late: object) -> None:
        del late
        self.at = cursor

    def releases_waiting(self, limit: int) -> list[Any]:
        del limit
        return []

    def released(self, releases: Sequence[Any], **late: object) -> None:
        del releases, late


class Store:
    def __init__(self) -> None:
        self.is_away = False

    def write(self, batch: IngestBatch, *, stored_at_ms: int) -> WriteOutcome:
        del stored_at_ms
        if self.is_away:
            raise StoreUnavailableError("away")
        return WriteOutcome(stored=len(batch.readings))


def readings() -> ReadingBatch:
    return batch_of_rows(
        ReadingRow("p1", "fc-1", "ph", at, 7.0, "normal", 0, "gw-a", "b1", 0, at) for at in range(READINGS)
    )


class Waiting:
    """Intake's thread, in `let_catch_up`."""

    def __init__(self, writer: StoreWriter) -> None:
        self._thread = threading.Thread(target=writer.let_catch_up, daemon=True)
        self._thread.start()

    def ends(self, within_s: float = SOON_S) -> bool:
        self._thread.join(within_s)
        return not self._thread.is_alive()


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def writer(store: Store, monkeypatch: pytest.MonkeyPatch) -> StoreWriter:
    monkeypatch.setattr(store_writer, "_CATCH_UP_S", 10 * SOON_S)
    return StoreWriter(
        Journal(), store, clock=lambda: 0, counters=IngestCounters(), offered_readings=2 * READINGS
    )


def test_it_waits_while_there_is_little_room_and_no_longer(writer: StoreWriter) -> None:
    writer.offer(Rows(readings()), first_id=1, last_id=1)
    waiting = Waiting(writer)
    assert not waiting.ends(within_s=0.2)
    assert writer.write_once()
    assert not writer.write_once()  # it looks again, and lets go what is stored
    assert waiting.ends()


def test_it_waits_not_at_all_with_room(writer: StoreWriter) -> None:
    assert Waiting(writer).ends()


def test_it_does_not_wait_for_a_store_that_is_away(writer: StoreWriter, store: Store) -> None:
    store.is_away = True
    writer.offer(Rows(readings()), first_id=1, last_id=1)
    stop = threading.Event()
    running = threading.Thread(target=writer.run, args=(stop,), kwargs={"drain_s": 0.0})
    running.start()
    while not writer.error:
        stop.wait(0.01)
    assert Waiting(writer).ends()
    stop.set()
    running.join()


def test_it_does_not_wait_for_a_store_that_is_far_behind(
    writer: StoreWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_writer, "_NEAR_MESSAGES", 10)
    writer.offer(Rows(readings()), first_id=1, last_id=11)
    assert Waiting(writer).ends()
