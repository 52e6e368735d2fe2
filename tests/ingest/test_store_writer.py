import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from gateway.contract.registry import Registry
from ingest.counters import IngestCounters
from ingest.errors import JournalUnavailableError
from ingest.incoming import Incoming
from ingest.intake import Rows, assess_many
from ingest.journal.records import JournalMessage, Outcome
from ingest.journal.releases import Release
from ingest.offers import Offer, Offers
from ingest.store.batches import IngestBatch, WriteOutcome
from ingest.store.ports import StoreRejectedError, StoreUnavailableError
from ingest.store.records import (
    GatewayStatusRow,
    LogbookRow,
    ReadingRow,
    RegistryVersionRow,
)
from ingest.store.sqlite import SqliteStore
from ingest.store_writer import StoreWriter
from ingest.validation import Refusal

TOPIC = "pools/north/gateways/gw-a/readings"
Build = Callable[..., Any]


class FakeStore:
    """Keeps readings by their key; away, rejecting or in conflict as it is told."""

    def __init__(self) -> None:
        self.readings: dict[tuple[int, int], ReadingRow] = {}
        self.logbook: list[LogbookRow] = []
        self.statuses: list[GatewayStatusRow] = []
        self.batches: list[IngestBatch] = []
        self.stored_at_ms: list[int] = []
        self.failures: list[Exception] = []
        self.poison: set[float] = set()
        self.poisonous_status = False
        self.conflicting = -1.0

    def write(self, batch: IngestBatch, *, stored_at_ms: int) -> WriteOutcome:
        if self.failures:
            raise self.failures.pop(0)
        rows = batch.readings.rows()
        if any(row.value in self.poison for row in rows) or (self.poisonous_status and batch.statuses):
            raise StoreRejectedError("a value it will not take")
        self.batches.append(batch)
        self.stored_at_ms.append(stored_at_ms)
        conflicts = [row for row in rows if row.value == self.conflicting]
        known = [row for row in rows if (row.seq, row.position) in self.readings]
        taken = {(row.seq, row.position): row for row in rows if row.value != self.conflicting}
        new = len(taken.keys() - self.readings.keys())
        self.readings |= taken
        self.logbook += batch.logbook
        self.statuses += batch.statuses
        return WriteOutcome(stored=new, duplicates=tuple(known), conflicts=tuple(conflicts))


class Journalled(NamedTuple):
    message_id: int
    topic: str
    payload: bytes
    received_at_ms: int
    outcome: str
    refusals: tuple[Refusal, ...]


class FakeJournal:
    """Keeps messages in memory; may be unable to advance."""

    def __init__(self) -> None:
        self.messages: list[Journalled] = []
        self.at = 0
        self.refused: list[tuple[ReadingRow | LogbookRow, str, str]] = []
        self.duplicates: list[ReadingRow] = []
        self.failures: list[Exception] = []
        self.reads: list[tuple[int, int]] = []
        self.releases: list[Release] = []

    def cursor(self) -> int:
        return self.at

    def read_after(self, cursor: int, *, limit: int) -> list[Journalled]:
        assert limit > 0
        self.reads.append((cursor, limit))
        return self.messages[cursor : cursor + limit]

    def advance(
        self,
        cursor: int,
        *,
        refused: Sequence[tuple[ReadingRow | LogbookRow, str, str]] = (),
        duplicates: Sequence[ReadingRow] = (),
    ) -> None:
        if self.failures:
            raise self.failures.pop(0)
        assert self.at < cursor <= len(self.messages)
        self.at = cursor
        self.refused += refused
        self.duplicates += duplicates

    def releases_waiting(self, limit: int) -> list[Release]:
        return self.releases[:limit]

    def released(
        self,
        releases: Sequence[Release],
        *,
        refused: Sequence[tuple[ReadingRow | LogbookRow, str, str]] = (),
        duplicates: Sequence[ReadingRow] = (),
    ) -> None:
        done = {release.request_id for release in releases}
        self.releases = [release for release in self.releases if release.request_id not in done]
        self.refused += refused
        self.duplicates += duplicates


@pytest.fixture
def journal() -> FakeJournal:
    return FakeJournal()


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def counters() -> IngestCounters:
    return IngestCounters()


@pytest.fixture
def build_writer(journal: FakeJournal, store: FakeStore, counters: IngestCounters, now_ms: int) -> Build:
    ticks = iter(range(now_ms, now_ms + 1_000_000))

    def build(**options: int) -> StoreWriter:
        return StoreWriter(journal, store, clock=lambda: next(ticks), counters=counters, **options)

    return build


@pytest.fixture
def writer(build_writer: Build) -> StoreWriter:
    built: StoreWriter = build_writer()
    return built


@pytest.fixture
def append(journal: FakeJournal, registry: Registry, now_ms: int) -> Build:
    """Journal payloads as new; gives their rows and ids, as ingest offers them."""

    def run(*payloads: bytes, topic: str = TOPIC) -> tuple[Rows, int, int]:
        messages = [Incoming(topic, payload, now_ms) for payload in payloads]
        assessments, rows = assess_many(messages, registry)
        first_id = len(journal.messages) + 1
        for message, found in zip(messages, assessments, strict=True):
            outcome = "refused" if found.is_refused else "accepted"
            number = len(journal.messages) + 1
            journal.messages.append(
                Journalled(number, topic, message.payload, now_ms, outcome, found.refusals)
            )
        return rows, first_id, len(journal.messages)

    return run


@pytest.fixture
def fill(append: Build, payload: Build, reading: Build) -> Build:
    """Journal messages whose one reading has the value of their seq, numbered on."""
    seqs = iter(range(1_000_000))

    def run(messages: int) -> tuple[Rows, int, int]:
        chosen = [next(seqs) for _ in range(messages)]
        appended: tuple[Rows, int, int] = append(
            *(payload([reading(value=float(seq))], seq=seq) for seq in chosen)
        )
        return appended

    return run


def offer(writer: StoreWriter, appended: tuple[Rows, int, int]) -> None:
    rows, first_id, last_id = appended
    writer.offer(rows, first_id=first_id, last_id=last_id)


def to_the_end(writer: StoreWriter) -> int:
    """Write until there is nothing; how many writes that took."""
    writes = 0
    while writer.write_once():
        writes += 1
    return writes


def sizes(store: FakeStore) -> list[int]:
    return [len(batch.readings) for batch in store.batches]


def test_it_follows_the_journal_in_batches_to_its_end(
    build_writer: Build, store: FakeStore, journal: FakeJournal, fill: Build
) -> None:
    writer = build_writer(batch_readings=50)
    fill(120)
    assert [writer.write_once() for _ in range(4)] == [True, True, True, False]
    assert sizes(store) == [50, 50, 20]
    assert sorted(store.readings) == [(seq, 0) for seq in range(120)]
    assert journal.at == 120


def test_it_reads_as_many_messages_as_make_a_batch_of_readings(
    build_writer: Build, store: FakeStore, append: Build, payload: Build, reading: Build
) -> None:
    writer = build_writer(batch_readings=40)
    append(*(payload([reading() for _ in range(20)], seq=seq) for seq in range(50)))
    to_the_end(writer)
    assert sizes(store)[1:] == [40] * (len(store.batches) - 2) + sizes(store)[-1:]
    assert len(store.readings) == 1000


def test_a_lone_reading_is_written_at_once(writer: StoreWriter, store: FakeStore, fill: Build) -> None:
    offer(writer, fill(1))
    assert writer.write_once()
    assert sizes(store) == [1]


def test_offers_that_follow_are_written_together_without_reading_the_journal(
    build_writer: Build, store: FakeStore, journal: FakeJournal, fill: Build
) -> None:
    writer = build_writer(batch_readings=50)
    for _ in range(5):
        offer(writer, fill(20))
    assert to_the_end(writer) == 3
    assert sizes(store) == [40, 40, 20]
    assert [reads for reads in journal.reads if reads[0] < 100] == []
    assert journal.at == len(store.readings) == 100


def test_an_offer_and_the_journal_give_the_same_rows(
    build_writer: Build,
    store: FakeStore,
    journal: FakeJournal,
    append: Build,
    payload: Build,
    reading: Build,
) -> None:
    entry = payload([{"kind": "closure", "at": reading()["measured_at"], "by": "Li"}], name="entries", seq=9)
    offered = [
        append(
            payload([reading(), reading(sensor_id="fc-9"), reading(value=0.8)], seq=0),
            b"{oh",
            payload([reading(sensor_id="manual", status="manual", by="Li")], seq=1),
            payload([reading(value=None, status="fault")], seq=2),
        ),
        append(entry, topic="pools/north/gateways/gw-a/logbook"),
        append(
            b'{"state": "online", "boot_id": "b1", "since": "2026-07-01T08:00:00Z"}',
            topic="gateways/gw-a/status",
        ),
    ]
    writer = build_writer()
    for one in offered:
        offer(writer, one)
    to_the_end(writer)
    assert journal.at == 6
    assert sorted(store.readings) == [(0, 0), (0, 2), (1, 0), (2, 0)]
    assert (len(store.logbook), len(store.statuses)) == (1, 1)
    from_offers = [(b.readings.rows(), list(b.logbook), list(b.statuses)) for b in store.batches]
    journal.at = 0
    store.batches.clear()
    to_the_end(build_writer())
    assert [(b.readings.rows(), list(b.logbook), list(b.statuses)) for b in store.batches] == from_offers


def test_what_had_no_room_in_memory_is_read_from_the_journal(
    build_writer: Build, store: FakeStore, journal: FakeJournal, fill: Build
) -> None:
    writer = build_writer(batch_readings=50, offered_readings=64)
    store.failures = [StoreUnavailableError("away")]
    for _ in range(10):
        offer(writer, fill(20))
    with pytest.raises(StoreUnavailableError):
        writer.write_once()
    assert writer.write_once()
    assert journal.reads == []  # 60 readings had room
    offer(writer, fill(20))  # has room again, behind a hole
    to_the_end(writer)
    assert journal.at == 220
    assert sorted(store.readings) == [(seq, 0) for seq in range(220)]
    assert sum(sizes(store)) == 220  # each once
    assert {reads for reads in journal.reads if reads[0] < 200} != set()


def test_offers_behind_the_cursor_and_across_it_are_let_go(
    build_writer: Build, store: FakeStore, journal: FakeJournal, fill: Build
) -> None:
    writer = build_writer(batch_readings=30)
    late, also_late = fill(20), fill(20)
    assert writer.write_once()  # it has looked before they were offered: 30 of 40
    offer(writer, late)
    offer(writer, also_late)
    to_the_end(writer)
    assert sum(sizes(store)) == journal.at == 40


def test_memory_for_offers_is_bounded_also_without_a_reading() -> None:
    offers = Offers(100)
    kept = [offers.put(Offer(number, number, Rows())) for number in range(1, 1000)]
    assert kept == [True] * 100 + [False] * 899
    assert offers.next_id(50) == 51
    assert offers.put(Offer(1000, 1000, Rows()))
    assert [one.first_id for one in offers.following(50, most_readings=9)] == list(range(51, 101))
    assert offers.following(40, most_readings=9) == []


def test_nothing_is_offered_for_no_message(writer: StoreWriter) -> None:
    writer.offer(Rows(), first_id=5, last_id=4)
    assert not writer.write_once()


def test_a_store_that_is_away_is_tried_again_with_a_fresh_stored_at(
    writer: StoreWriter, store: FakeStore, counters: IngestCounters, fill: Build, now_ms: int
) -> None:
    offer(writer, fill(3))
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
    writer: StoreWriter, store: FakeStore, journal: FakeJournal, fill: Build
) -> None:
    fill(1)
    store.failures = [StoreUnavailableError("away") for _ in range(1000)]
    stop = threading.Event()
    stop.set()
    writer.run(stop, drain_s=0.3)
    assert journal.at == 0


def test_news_during_an_outage_do_not_make_it_hurry(
    writer: StoreWriter, store: FakeStore, fill: Build, wait_until: Build
) -> None:
    store.failures = [StoreUnavailableError("away") for _ in range(1000)]
    stop = threading.Event()
    thread = threading.Thread(target=writer.run, args=(stop,), kwargs={"drain_s": 0.1})
    thread.start()
    try:
        for _ in range(200):
            offer(writer, fill(1))
        wait_until(lambda: len(store.failures) < 998)
    finally:
        stop.set()
        thread.join(15)
    assert len(store.failures) > 980


def test_the_rows_that_the_store_rejects_are_found_and_the_others_go_on(
    writer: StoreWriter, store: FakeStore, journal: FakeJournal, counters: IngestCounters, fill: Build
) -> None:
    store.poison = {13.0, 14.0, 39.0}
    fill(40)
    assert writer.write_once()
    assert sorted(store.readings) == [(seq, 0) for seq in range(40) if float(seq) not in store.poison]
    assert [(row.seq, row.position, code) for row, code, _ in journal.refused] == [
        (seq, 0, "store_rejected") for seq in (13, 14, 39)
    ]
    assert all("a value it will not take" in text for _, _, text in journal.refused)
    assert journal.at == 40
    assert (counters.stored_readings, counters.store_rejections) == (37, 3)


def test_a_status_that_the_store_rejects_does_not_keep_the_others(
    writer: StoreWriter,
    store: FakeStore,
    journal: FakeJournal,
    append: Build,
    fill: Build,
    counters: IngestCounters,
) -> None:
    store.poisonous_status = True
    status = b'{"state": "online", "boot_id": "b1", "since": "2026-07-01T08:00:00Z"}'
    append(status, topic="gateways/gw-a/status")
    fill(5)
    assert writer.write_once()
    assert (len(store.readings), journal.refused, counters.store_rejections) == (5, [], 1)


def test_conflicts_go_to_quarantine_and_duplicates_to_the_account(
    writer: StoreWriter, store: FakeStore, journal: FakeJournal, counters: IngestCounters, fill: Build
) -> None:
    store.conflicting = 2.0
    fill(4)
    to_the_end(writer)
    ((row, code, _),) = journal.refused
    assert (getattr(row, "value", None), code) == (2.0, "conflict")
    journal.at = 0
    to_the_end(writer)
    assert [row.seq for row in journal.duplicates] == [0, 1, 3]
    assert (counters.store_conflicts, counters.store_duplicates) == (2, 3)


@pytest.mark.parametrize("offered", [True, False])
def test_a_crash_between_store_and_cursor_writes_the_same_rows_again(
    writer: StoreWriter, store: FakeStore, journal: FakeJournal, fill: Build, *, offered: bool
) -> None:
    appended = fill(3)
    if offered:
        offer(writer, appended)
    journal.failures = [JournalUnavailableError("disk full")]
    with pytest.raises(JournalUnavailableError):
        writer.write_once()
    assert writer.write_once()
    assert store.batches[0].readings.rows() == store.batches[1].readings.rows()
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


def test_an_accepted_message_that_cannot_be_decoded_any_more_is_passed(
    writer: StoreWriter, store: FakeStore, journal: FakeJournal, fill: Build, now_ms: int
) -> None:
    fill(1)
    journal.messages.append(Journalled(2, TOPIC, b"{oh", now_ms, "accepted", ()))
    fill(1)
    to_the_end(writer)
    assert (journal.at, len(store.readings)) == (3, 2)


@pytest.fixture
def sqlite_store(tmp_path: Path) -> Iterator[SqliteStore]:
    with closing(SqliteStore(tmp_path / "store.sqlite")) as opened:
        yield opened


def test_into_a_real_store_while_messages_come(
    journal: FakeJournal,
    sqlite_store: SqliteStore,
    counters: IngestCounters,
    fill: Build,
    wait_until: Build,
    now_ms: int,
) -> None:
    writer = StoreWriter(
        journal,
        sqlite_store,
        clock=lambda: now_ms,
        counters=counters,
        batch_readings=64,
        offered_readings=200,
    )
    stop = threading.Event()
    thread = threading.Thread(target=writer.run, args=(stop,))
    thread.start()
    try:
        for number in range(60):
            appended = fill(17)
            if number % 3:
                offer(writer, appended)
            writer.wake()
        wait_until(lambda: journal.at == 60 * 17)
    finally:
        stop.set()
        writer.wake()
        thread.join(15)
    assert not thread.is_alive()
    # One instant of one sensor in all of them: the first value stands, each other is in conflict.
    assert sqlite_store.counts().readings_by_pool == {"north": 1}
    assert counters.stored_readings == 1
    assert sorted(row.seq for row, code, _ in journal.refused if code == "conflict") == list(range(1, 1020))


def test_what_is_released_is_written_without_what_stays_refused(
    journal: FakeJournal,
    store: FakeStore,
    writer: StoreWriter,
    counters: IngestCounters,
    payload: Build,
    reading: Build,
    now_ms: int,
) -> None:
    body = payload(
        [reading(), reading(sensor_id="ph-1", quantity="ph", value=7.2), reading(value=9.9)], seq=4
    )
    message = JournalMessage(
        3,
        "pools/north/gateways/gw-a/readings",
        body,
        now_ms,
        Outcome.ACCEPTED,
        "readings",
        "gw-a",
        "b1",
        4,
        3,
        (),
    )
    journal.releases = [Release(1, message, positions=(1,), items=3)]
    assert writer.write_once()
    assert [(row.quantity, row.value, row.seq) for row in store.readings.values()] == [("ph", 7.2, 4)]
    assert journal.releases == []
    assert (counters.released_items, counters.stored_readings) == (1, 1)
