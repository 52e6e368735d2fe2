"""Ingest's loop: take, journal, acknowledge, receipt; a second thread fills the store."""

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import structlog

from gateway.contract.codec import encode_receipt
from gateway.contract.credentials import Credential
from gateway.contract.times import Clock
from gateway.contract.topics import TopicKind
from ingest.backoff import Backoff
from ingest.counters import IngestCounters
from ingest.errors import JournalUnavailableError
from ingest.journal import Journal
from ingest.journal_records import Appended, Entry
from ingest.receipt_book import INTERVAL_S, ReceiptBook
from ingest.registry_source import RegistrySource
from ingest.store.opening import open_store
from ingest.store.ports import ReadingWriter, Store, StoreUnavailableError
from ingest.store.records import RegistryVersionRow
from ingest.store_writer import StoreWriter
from ingest.subscriber import Incoming, MqttSubscriber
from ingest.validation import Assessment, assess, refusal_of

_MAX_MESSAGES = 500
#: How long an idle loop waits before it looks after receipts and the registry. A message ends the wait. [s]
_WAIT_S = 0.1
_REGISTRY_EVERY_S = 1.0
_STORE_OPEN_RETRY_S = 1.0

_log = structlog.get_logger()


class Subscriber(Protocol):
    """Where messages come from and receipts go."""

    def start(self) -> None:
        """Begin to receive."""
        ...

    def take(self, max_messages: int, *, wait_s: float) -> list[Incoming]:
        """Messages that are there, at most `max_messages`; waits up to `wait_s` for the first."""
        ...

    def acknowledge(self, messages: Sequence[Incoming]) -> int:
        """Acknowledge; returns how many could be."""
        ...

    def publish_receipt(self, gateway_id: str, payload: bytes) -> bool:
        """Publish a receipt; False if that is not possible now."""
        ...

    def close(self) -> None:
        """Leave."""
        ...


class IngestService:
    """Takes messages into the journal and tells broker and gateways so; runs the store writer beside it."""

    def __init__(
        self,
        *,
        subscriber: Subscriber,
        journal: Journal,
        store: ReadingWriter,
        registry: RegistrySource,
        clock: Clock,
        counters: IngestCounters | None = None,
        store_has_registry: str | None = None,
    ) -> None:
        self.counters = counters if counters is not None else IngestCounters()
        self._subscriber = subscriber
        self._journal = journal
        self._registry = registry
        self._clock = clock
        self._receipts = ReceiptBook()
        self._writer = StoreWriter(journal, store, clock=clock, counters=self.counters)
        self._look_at_registry_s = 0.0
        if store_has_registry != registry.current.text:
            self._store_registry()

    def run(self, stop: threading.Event) -> None:
        """Serve until `stop`; then send the receipts that are owed and let the store writer come to the journal's end."""
        writer_stop = threading.Event()
        writer = threading.Thread(target=self._writer.run, args=(writer_stop,), name="store-writer")
        writer.start()
        try:
            self._subscriber.start()
            while not stop.is_set():
                self._serve_once(stop)
            self._flush_receipts()
        finally:
            self._subscriber.close()
            writer_stop.set()
            self._writer.wake()
            writer.join()
        _log.info("ingest ended", journalled=self.counters.journalled_messages)

    def _serve_once(self, stop: threading.Event) -> None:
        messages = self._subscriber.take(_MAX_MESSAGES, wait_s=_WAIT_S)
        self._reload_registry()
        if messages:
            self._take_in(messages, stop)
        self._send_receipts()

    def _take_in(self, messages: Sequence[Incoming], stop: threading.Event) -> None:
        """Journal in one commit, and only then acknowledge and owe receipts."""
        self.counters.received_messages += len(messages)
        self.counters.last_received_at_ms = messages[-1].received_at_ms
        entries = [
            Entry(
                message.topic,
                message.payload,
                message.received_at_ms,
                self._assess(message),
                retained=message.retain,
            )
            for message in messages
        ]
        results = self._append(entries, stop)
        if results is None:
            return
        self.counters.acknowledged_messages += self._subscriber.acknowledge(messages)
        for entry, result in zip(entries, results, strict=True):
            self._note(entry.assessment, result)
        self._writer.wake()

    def _assess(self, message: Incoming) -> Assessment:
        try:
            return assess(
                topic=message.topic,
                payload=message.payload,
                registry=self._registry.current.registry,
                received_at_ms=message.received_at_ms,
            )
        except Exception as error:  # noqa: BLE001 - last resort: counted, logged, payload quarantined
            self.counters.unexpected_failures += 1
            _log.exception("a message could not be assessed", topic=message.topic)
            refusal = refusal_of(
                None,
                code="internal_error",
                text=f"ingest could not assess it ({type(error).__name__}): report this",
            )
            return Assessment(None, "", None, None, 0, (refusal,))

    def _append(self, entries: Sequence[Entry], stop: threading.Event) -> list[Appended] | None:
        """Journal, however long the disk takes to have room; None if `stop` came first, and nothing is acknowledged."""
        backoff = Backoff()
        while True:
            try:
                return self._journal.append_many(entries)
            except JournalUnavailableError as error:
                self.counters.journal_failures += 1
                if backoff.attempts == 0:
                    _log.error(
                        "the journal cannot be written; nothing is acknowledged until it can",
                        error=str(error),
                    )
                if stop.wait(backoff.next_s()):
                    return None

    def _note(self, found: Assessment, result: Appended) -> None:
        counters = self.counters
        if result is Appended.DUPLICATE:
            counters.duplicate_messages += 1
        else:
            counters.journalled_messages += 1
        if result is Appended.CLONED:
            counters.cloned_messages += 1
            _log.error(
                "two messages of one seq differ: a cloned or faulty gateway",
                gateway_id=found.gateway_id,
                boot_id=found.boot_id,
                seq=found.seq,
            )
        elif result is Appended.REFUSED:
            counters.refused_messages += 1
            _log.warning("message in quarantine", gateway_id=found.gateway_id, code=found.refusals[0].code)
        elif result is Appended.NEW and found.refusals:
            counters.refused_items += len(found.refusals)
            _log.warning(
                "readings or entries in quarantine",
                gateway_id=found.gateway_id,
                count=len(found.refusals),
                code=found.refusals[0].code,
            )
        if found.kind is not TopicKind.STATUS and found.boot_id is not None and found.seq is not None:
            self._receipts.add(gateway_id=found.gateway_id, boot_id=found.boot_id, seq=found.seq)

    def _send_receipts(self) -> None:
        now_s = time.monotonic()
        for gateway_id, receipt in self._receipts.due(now_s):
            if not self._subscriber.publish_receipt(gateway_id, encode_receipt(receipt)):
                return
            self._receipts.sent(gateway_id, receipt, now_s)
            self.counters.receipts += 1

    def _flush_receipts(self) -> None:
        """Send what is owed, as far as the contract's shortest interval allows within one such interval."""
        deadline_s = time.monotonic() + 1.5 * INTERVAL_S
        self._send_receipts()
        while not self._receipts.is_empty and time.monotonic() < deadline_s:
            time.sleep(_WAIT_S)
            self._send_receipts()

    def _reload_registry(self) -> None:
        now_s = time.monotonic()
        if now_s < self._look_at_registry_s:
            return
        self._look_at_registry_s = now_s + _REGISTRY_EVERY_S
        if self._registry.poll() is not None:
            self.counters.registry_reloads += 1
            self._store_registry()
        self.counters.registry_refusals = self._registry.refusals

    def _store_registry(self) -> None:
        version = self._registry.current
        self._writer.submit_registry(RegistryVersionRow(version.registry.sha256, self._clock(), version.text))


def run_ingest(
    *,
    registry_path: Path,
    credential: Credential,
    journal_path: Path,
    store_url: str,
    clock: Clock,
    stop: threading.Event,
    counters: IngestCounters | None = None,
) -> None:
    """Run ingest until `stop`.

    Raises
    ------
    RegistryUnusableError
        If there is no registry in force.
    JournalError
        If the journal is damaged or of a newer version.
    StoreError
        If the store's address cannot be used.
    """
    store = _open_store(store_url, stop)
    if store is None:
        return
    try:
        known = _registry_text(store)
        registry = RegistrySource(registry_path, fallback=known)
        journal = Journal(journal_path)
        try:
            IngestService(
                subscriber=MqttSubscriber(credential, clock=clock),
                journal=journal,
                store=store,
                registry=registry,
                clock=clock,
                counters=counters,
                store_has_registry=known,
            ).run(stop)
        finally:
            journal.close()
    finally:
        store.close()


def _open_store(url: str, stop: threading.Event) -> Store | None:
    """Open the store, however long that takes; None if `stop` came first."""
    while True:
        try:
            return open_store(url)
        except StoreUnavailableError as error:
            _log.error("the store cannot be opened yet", error=str(error))
            if stop.wait(_STORE_OPEN_RETRY_S):
                return None


def _registry_text(store: Store) -> str | None:
    try:
        return store.registry_text()
    except StoreUnavailableError as error:
        _log.warning("the store does not tell the last registry now", error=str(error))
        return None
