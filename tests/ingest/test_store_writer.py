import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.contract.registry import Registry
from ingest.counters import IngestCounters
from ingest.errors import JournalUnavailableError
from ingest.journal import Journal
from ingest.journal_records import Entry
from ingest.quarantine import read_quarantine
from ingest.store.ports import StoreRejectedError, StoreUnavailableError
from ingest.store.records import IngestBatch, ReadingRow, RegistryVersionRow, WriteOutcome
from ingest.store_writer import StoreWriter
from ingest.validation import assess

TOPIC = "pools/north/gateways/gw-a/readings"
Build = Callable[..., Any]


class FakeStore:
    """Keeps readings by their key; away, rejecting or in conflict as it is told."""

    def __init__(self) -> None:
        self.readings: dict[tuple[int, int], ReadingRow] = {}
        self.batches: list[IngestBatch] = []
        self.stored_at_ms: list[int] = []
        self.failures: list[Exception] = []
        self.poison: float | None = None
        self.conflicting: float | None = None

    def write(self, batch: IngestBatch, *, stored_at_ms: int) -> WriteOutcome:
        if self.failures:
            raise self.failures.pop(0)
        if any(row.value == self.poison for row in batch.readings if self.poison is not None):
            raise StoreRejectedError("a value it will not take")
        self.batches.append(batch)
        self.stored_at_ms.append(stored_at_ms)
        conflicts = [row for row in batch.readings if row.value == self.conflicting]
        taken = {(row.seq, row.position): row for row in batch.readings if row.value != self.conflicting}
        new = len(taken.keys() - self.readings.keys())
        self.readings |= taken
        return WriteOutcome(stored=new, duplicates=0, conflicts=tuple(conflicts))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    opened = Journal(path)
    yield opened
    opened.close()


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def counters() -> IngestCounters:
    return IngestCounters()


@pytest.fixture
def writer(journal: Journal, store: FakeStore, counters: IngestCounters, now_ms: int) -> StoreWriter:
    ticks = iter(range(now_ms, now_ms + 1_000_000))
    return StoreWriter(journal, store, clock=lambda: next(ticks), counters=counters)


@pytest.fixture
def fill(
    journal: Journal, registry: Registry, payload: Build, reading: Build, now_ms: int
) -> Callable[[int], None]:
    """Journal messages 0…n-1 whose one reading has the value of their seq."""

    def build(messages: int) -> None:
        entries = []
        for seq in range(messages):
            message = payload([reading(value=float(seq))], seq=seq)
            found = assess(topic=TOPIC, payload=message, registry=registry, received_at_ms=now_ms)
            entries.append(Entry(TOPIC, message, now_ms, found))
        journal.append_many(entries)

    return build


def test_it_follows_the_journal_in_batches_to_its_end(
    writer: StoreWriter, store: FakeStore, journal: Journal, fill: Build
) -> None:
    fill(1200)
    assert [writer.write_once() for _ in range(4)] == [True, True, True, False]
    assert [len(batch.readings) for batch in store.batches] == [500, 500, 200]
    assert sorted(store.readings) == [(seq, 0) for seq in range(1200)]
    assert journal.cursor() == 1200


def test_a_store_that_is_away_is_tried_again_with_a_fresh_stored_at(
    writer: StoreWriter, store: FakeStore, counters: IngestCounters, fill: Build, now_ms: int
) -> None:
    fill(3)
    store.failures = [StoreUnavailableError("locked"), StoreUnavailableError("locked"), RuntimeError("a bug")]
    stop = threading.Event()
    thread = threading.Thread(target=writer.run, args=(stop,), kwargs={"drain_s": 10.0})
    thread.start()
    stop.set()  # it leaves when it has come to the end
    writer.wake()
    thread.join(15)
    assert not thread.is_alive()
    assert sorted(store.readings) == [(0, 0), (1, 0), (2, 0)]
    assert (counters.store_failures, counters.unexpected_failures) == (3, 1)
    assert store.stored_at_ms == [now_ms + 3]


def test_a_store_that_stays_away_does_not_keep_the_process(
    writer: StoreWriter, store: FakeStore, journal: Journal, fill: Build
) -> None:
    fill(1)
    store.failures = [StoreUnavailableError("away") for _ in range(1000)]
    stop = threading.Event()
    stop.set()
    writer.run(stop, drain_s=0.3)
    assert journal.cursor() == 0


def test_the_row_that_the_store_rejects_is_found_and_the_others_go_on(
    writer: StoreWriter,
    store: FakeStore,
    journal: Journal,
    path: Path,
    counters: IngestCounters,
    fill: Build,
) -> None:
    store.poison = 13.0
    fill(40)
    assert writer.write_once()
    assert sorted(store.readings) == [(seq, 0) for seq in range(40) if seq != 13]
    (refusal,) = read_quarantine(path)
    assert (refusal.message_id, refusal.position, refusal.code) == (14, 0, "store_rejected")
    assert journal.cursor() == 40
    assert (counters.stored_readings, counters.store_rejections) == (39, 1)


def test_a_conflict_goes_to_quarantine(
    writer: StoreWriter, store: FakeStore, journal: Journal, path: Path, fill: Build
) -> None:
    store.conflicting = 2.0
    fill(4)
    assert writer.write_once()
    (refusal,) = read_quarantine(path)
    assert (refusal.message_id, refusal.code) == (3, "conflict")
    (account,) = journal.account()
    assert account.readings == len(store.readings) + account.quarantined_readings


def test_a_crash_between_store_and_cursor_writes_the_same_rows_again(
    writer: StoreWriter, store: FakeStore, journal: Journal, fill: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(3)
    with monkeypatch.context() as patch:

        def fail(*_arguments: object, **_options: object) -> None:
            raise JournalUnavailableError("disk full")

        patch.setattr(journal, "advance", fail)
        with pytest.raises(JournalUnavailableError):
            writer.write_once()
    assert writer.write_once()
    assert store.batches[0] == store.batches[1]
    assert len(store.readings) == 3


def test_a_registry_version_goes_before_the_messages(
    writer: StoreWriter, store: FakeStore, fill: Build
) -> None:
    fill(1)
    version = RegistryVersionRow("abc", 5, "schema = 1")
    writer.submit_registry(version)
    store.failures = [StoreUnavailableError("away")]
    with pytest.raises(StoreUnavailableError):
        writer.write_once()
    assert writer.write_once()
    assert [list(batch.registry_versions) for batch in store.batches] == [[version], []]


def test_refused_items_stay_out_of_the_store(
    writer: StoreWriter,
    store: FakeStore,
    journal: Journal,
    registry: Registry,
    payload: Build,
    reading: Build,
    now_ms: int,
) -> None:
    message = payload([reading(), reading(sensor_id="fc-9"), reading(value=0.8)])
    found = assess(topic=TOPIC, payload=message, registry=registry, received_at_ms=now_ms)
    journal.append_many([Entry(TOPIC, message, now_ms, found), Entry(TOPIC, b"{oh", now_ms, _bad(registry))])
    assert writer.write_once()
    assert sorted(store.readings) == [(0, 0), (0, 2)]


def _bad(registry: Registry) -> Any:
    return assess(topic=TOPIC, payload=b"{oh", registry=registry, received_at_ms=0)
