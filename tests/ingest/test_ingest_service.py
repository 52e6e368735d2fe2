"""The loop, with a broker and a store that do as they are told."""

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.contract.codec import decode_receipt
from gateway.contract.registry import Registry
from gateway.contract.registry_file import parse_registry
from ingest import intake, registry_source
from ingest.errors import JournalError, JournalUnavailableError
from ingest.incoming import Incoming
from ingest.journal.journal import Journal
from ingest.journal.quarantine import count_quarantine, read_quarantine
from ingest.journal.records import Appending
from ingest.registry_source import RegistrySource
from ingest.service import IngestService
from ingest.store.batches import IngestBatch, WriteOutcome
from ingest.store.records import GatewayStatusRow
from ingest.subscriber_figures import SubscriberFigures
from ingest.validation import Assessment, assess

TOPIC = "pools/north/gateways/gw-a/readings"
Build = Callable[..., Any]
WaitUntil = Callable[..., None]


class FakeSubscriber:
    """Gives prepared messages once; notes what was acknowledged and receipted."""

    def __init__(self) -> None:
        self.waiting: list[Incoming] = []
        self.acknowledged: list[int] = []
        self.receipts: list[tuple[str, bytes]] = []
        self.connected = True
        self.closed = False

    @property
    def is_connected(self) -> bool:
        return self.connected

    @property
    def is_drained(self) -> bool:
        return not self.waiting

    def figures(self) -> SubscriberFigures:
        return SubscriberFigures()

    def start(self) -> None:
        """Nothing to connect to."""

    def take(self, max_messages: int, *, wait_s: float) -> list[Incoming]:
        if not self.waiting:
            threading.Event().wait(min(wait_s, 0.01))
        taken, self.waiting = self.waiting[:max_messages], self.waiting[max_messages:]
        return taken

    def acknowledge(self, messages: Sequence[Incoming]) -> int:
        self.acknowledged += [message.packet_id for message in messages]
        return len(messages)

    def publish_receipt(self, gateway_id: str, payload: bytes) -> bool:
        if self.connected:
            self.receipts.append((gateway_id, payload))
        return self.connected

    def close(self) -> None:
        self.closed = True


class FakeStore:
    """Takes everything."""

    def __init__(self) -> None:
        self.readings = 0
        self.last_stored_at_ms = 0
        self.registries: list[str] = []

    def write(self, batch: IngestBatch, *, stored_at_ms: int) -> WriteOutcome:
        self.readings += len(batch.readings)
        self.last_stored_at_ms = stored_at_ms
        self.registries += [version.text for version in batch.registry_versions]
        return WriteOutcome(stored=len(batch.readings))


class FailingJournal(Journal):
    """A journal whose disk is full for the first attempts."""

    failures: list[Exception]

    def append_many(self, messages: Sequence[Incoming], assessments: Sequence[Assessment]) -> Appending:
        if self.failures:
            raise self.failures.pop(0)
        return super().append_many(messages, assessments)


class Bench:
    """A service under test and its surroundings."""

    def __init__(self, folder: Path, registry_text: str, now_ms: int) -> None:
        registry = folder / "pools.toml"
        registry.write_text(registry_text, encoding="utf-8")
        self.path = folder / "journal"
        self.subscriber, self.store = FakeSubscriber(), FakeStore()
        self.journal = FailingJournal(self.path)
        self.journal.failures = []
        self.service = IngestService(
            subscriber=self.subscriber,
            journal=self.journal,
            store=self.store,
            registry=RegistrySource(registry),
            clock=lambda: now_ms,
        )
        self.now_ms = now_ms

    def incoming(self, payload: bytes, *, mid: int) -> Incoming:
        return Incoming(TOPIC, payload, self.now_ms, mid, 1)

    @contextmanager
    def running(self) -> Iterator[None]:
        stop = threading.Event()
        thread = threading.Thread(target=self.service.run, args=(stop,))
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(20)
        assert not thread.is_alive()


@pytest.fixture
def bench(tmp_path: Path, registry_text: str, now_ms: int) -> Iterator[Bench]:
    made = Bench(tmp_path, registry_text, now_ms)
    yield made
    made.journal.close()


def test_a_full_disk_holds_back_every_acknowledgement_until_it_has_room(
    bench: Bench, payload: Build, reading: Build, wait_until: WaitUntil
) -> None:
    bench.journal.failures = [JournalUnavailableError("database or disk is full")] * 3
    bench.subscriber.waiting = [bench.incoming(payload([reading()], seq=0), mid=7)]
    acknowledged_during: list[int] = []
    with bench.running():
        wait_until(lambda: bench.service.counters.journal_failures >= 2)
        acknowledged_during += bench.subscriber.acknowledged if bench.journal.failures else []
        wait_until(lambda: bench.subscriber.acknowledged == [7])
        wait_until(lambda: bench.store.readings == 1)
    assert acknowledged_during == []
    assert bench.service.counters.journal_failures == 3


def test_a_stop_while_the_disk_is_full_acknowledges_nothing(
    bench: Bench, payload: Build, reading: Build, wait_until: WaitUntil
) -> None:
    bench.journal.failures = [JournalUnavailableError("disk is full")] * 10_000
    bench.subscriber.waiting = [bench.incoming(payload([reading()], seq=0), mid=7)]
    with bench.running():
        wait_until(lambda: bench.service.counters.journal_failures >= 1)
    assert bench.subscriber.acknowledged == []
    assert bench.subscriber.receipts == []
    assert bench.subscriber.closed


def test_a_damaged_journal_ends_the_service_without_acknowledging(
    bench: Bench, payload: Build, reading: Build
) -> None:
    bench.journal.failures = [JournalError("malformed database schema")]
    bench.subscriber.waiting = [bench.incoming(payload([reading()], seq=0), mid=7)]
    with pytest.raises(JournalError, match="malformed"):
        bench.service.run(threading.Event())
    assert bench.subscriber.acknowledged == []
    assert bench.subscriber.closed


def test_receipts_wait_for_a_connection_and_are_flushed_at_the_end(
    bench: Bench, payload: Build, reading: Build, wait_until: WaitUntil
) -> None:
    bench.subscriber.connected = False
    bench.subscriber.waiting = [
        bench.incoming(payload([reading(value=seq / 10)], seq=seq), mid=seq) for seq in (0, 1, 4)
    ]
    with bench.running():
        wait_until(lambda: bench.subscriber.acknowledged == [0, 1, 4])
        assert bench.subscriber.receipts == []
        bench.subscriber.connected = True
    ((gateway_id, receipt),) = bench.subscriber.receipts
    assert gateway_id == "gw-a"
    assert decode_receipt(receipt).stored == [(0, 1), (4, 4)]


def test_duplicates_and_refused_messages_are_receipted_too(
    bench: Bench, payload: Build, reading: Build, wait_until: WaitUntil
) -> None:
    good = payload([reading()], seq=0)
    refused = payload([], seq=1)
    bench.subscriber.waiting = [
        bench.incoming(body, mid=mid) for mid, body in enumerate((good, good, refused))
    ]
    with bench.running():
        wait_until(lambda: bool(bench.subscriber.receipts))
    assert bench.subscriber.acknowledged == [0, 1, 2]
    assert decode_receipt(bench.subscriber.receipts[0][1]).stored == [(0, 1)]
    counters = bench.service.counters
    assert (counters.journalled_messages, counters.duplicate_messages, counters.refused_messages) == (2, 1, 1)
    assert count_quarantine(bench.path) == {"empty": 1}


def test_a_message_that_breaks_ingest_itself_is_kept_and_the_rest_goes_on(
    bench: Bench, payload: Build, reading: Build, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:

    def break_on_one(**given: Any) -> Any:
        if b"0.99" in given["payload"]:
            raise RuntimeError("a bug")
        return assess(**given)

    def break_on_all(*_given: Any, **_more: Any) -> Any:
        raise RuntimeError("another bug")

    monkeypatch.setattr(intake, "assess", break_on_one)
    monkeypatch.setattr(intake, "read_usual", break_on_all)
    bench.subscriber.waiting = [
        bench.incoming(payload([reading(value=value)], seq=seq), mid=seq)
        for seq, value in enumerate((0.5, 0.99, 0.6))
    ]
    with bench.running():
        wait_until(lambda: bench.store.readings == 2)
    assert bench.subscriber.acknowledged == [0, 1, 2]
    (refusal,) = read_quarantine(bench.path)
    assert refusal.code == "internal_error"
    assert "0.99" in refusal.excerpt
    assert bench.service.counters.unexpected_failures >= 2


def test_the_registry_in_force_is_stored_once_and_not_again_if_the_store_has_it(
    bench: Bench, registry_text: str, tmp_path: Path, wait_until: WaitUntil
) -> None:
    with bench.running():
        wait_until(lambda: bench.store.registries == [registry_text])
    store = FakeStore()
    again = IngestService(
        subscriber=FakeSubscriber(),
        journal=bench.journal,
        store=store,
        registry=RegistrySource(tmp_path / "pools.toml"),
        clock=lambda: 1,
        store_has_registry=registry_text,
    )
    stop = threading.Event()
    stop.set()
    again.run(stop)
    assert store.registries == []


def test_what_operators_watch_is_told_even_if_the_folder_is_gone(bench: Bench, tmp_path: Path) -> None:
    told = {name: number for name, (_, number) in bench.service.gauges().items()}
    assert (told["journal_days"], told["releases_waiting"], told["connected"]) == (0, 0, 1)
    (tmp_path / "journal").rename(tmp_path / "elsewhere")
    told = {name: number for name, (_, number) in bench.service.gauges().items()}
    (tmp_path / "elsewhere").rename(tmp_path / "journal")
    assert math.isnan(told["journal_days"])
    assert math.isnan(told["releases_waiting"])
    assert told["connected"] == 1


def test_statuses_are_kept_for_who_wants_them(bench: Bench, wait_until: WaitUntil) -> None:
    wanted: dict[str, GatewayStatusRow] = {}
    bench.service.statuses = wanted
    for next_seq in (1, 2):
        body = b'{"state":"online","boot_id":"b","since":"2026-07-01T08:00:00Z","next_seq":%d,"outbox":[],"dropped":[]}'
        bench.subscriber.waiting.append(
            Incoming("gateways/gw-a/status", body % next_seq, bench.now_ms, next_seq, 1)
        )
    with bench.running():
        wait_until(lambda: len(bench.subscriber.acknowledged) == 2)
    assert wanted["gw-a"].body.count(b'"next_seq":2') == 1
    histograms = {
        name: latencies.observed().number for name, (_, latencies) in bench.service.latencies().items()
    }
    assert histograms["journal_commit_seconds"] == histograms["taken_in_seconds"] >= 1
    assert histograms["store_write_seconds"] >= 1


def test_messages_are_taken_while_a_large_registry_is_read(
    bench: Bench,
    registry_text: str,
    tmp_path: Path,
    payload: Build,
    reading: Build,
    wait_until: WaitUntil,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    may_end, is_reading = threading.Event(), threading.Event()

    def read_slowly(text: str) -> Registry:
        is_reading.set()
        assert may_end.wait(60)
        return parse_registry(text)

    monkeypatch.setattr(registry_source, "parse_registry", read_slowly)
    renamed = registry_text.replace("Hall", "Hall of many names")
    assert renamed != registry_text
    with bench.running():
        (tmp_path / "pools.toml").write_text(renamed, encoding="utf-8")
        wait_until(is_reading.is_set)
        bench.subscriber.waiting = [bench.incoming(payload([reading()], seq=0), mid=7)]
        wait_until(lambda: bench.subscriber.acknowledged == [7])
        assert bench.service.counters.registry_reloads == 0
        may_end.set()
        wait_until(lambda: bench.service.counters.registry_reloads == 1)
        wait_until(lambda: bench.store.registries == [registry_text, renamed])


def test_a_registry_that_cannot_be_looked_at_leaves_the_one_before_in_force(
    bench: Bench, payload: Build, reading: Build, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(source: RegistrySource, before: object = None) -> None:
        del source, before
        raise RuntimeError("no such thing was thought of")

    monkeypatch.setattr(RegistrySource, "poll", fail)
    with bench.running():
        wait_until(lambda: bench.service.counters.unexpected_failures >= 2)
        bench.subscriber.waiting = [bench.incoming(payload([reading()], seq=0), mid=7)]
        wait_until(lambda: bench.subscriber.acknowledged == [7])
