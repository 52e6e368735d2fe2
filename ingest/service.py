"""Ingest's loop: take, journal, acknowledge, receipt; a second thread fills the store."""

import threading
import time
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

import structlog

from gateway.contract.codec import encode_receipt
from gateway.contract.receipts import INTERVAL_S
from gateway.contract.times import Clock, format_timestamp
from ingest.counters import IngestCounters
from ingest.errors import IngestError
from ingest.gauges import gauges_of
from ingest.incoming import Incoming
from ingest.intake import prepare_registry
from ingest.journal.journal import Journal
from ingest.latencies import Latencies
from ingest.registry_source import RegistrySource, RegistryVersion
from ingest.store.ports import ReadingWriter
from ingest.store.records import GatewayStatusRow, RegistryVersionRow
from ingest.store_timing import TimedWriter
from ingest.store_writer import StoreWriter
from ingest.subscriber_figures import SubscriberFigures
from ingest.taking import Taking

_MAX_MESSAGES = 6000
#: How long an idle loop waits before it looks after receipts. A message ends the wait. [s]
_WAIT_S = 0.1
_REGISTRY_EVERY_S = 1.0
_UPKEEP_EVERY_S = 60.0
#: A reading that the store has not taken for so long makes ingest unready. Ours.
_STORE_BEHIND_MS = 60_000

_log = structlog.get_logger()


class Subscriber(Protocol):
    """Where messages come from and receipts go."""

    @property
    def is_connected(self) -> bool:
        """Whether the broker has accepted the present connection."""
        ...

    @property
    def is_drained(self) -> bool:
        """Whether a session that is being retired holds nothing any more."""
        ...

    def figures(self) -> SubscriberFigures:
        """What operators watch."""
        ...

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
        store_away: Callable[[], str] = str,
        keep_days: int | None = None,
    ) -> None:
        self.counters = counters if counters is not None else IngestCounters()
        self._subscriber = subscriber
        self._journal = journal
        self._registry = registry
        self._clock = clock
        self._store = TimedWriter(store)
        #: The newest status of each gateway since somebody wanted them; any thread may copy it. None: nobody wants them.
        self.statuses: dict[str, GatewayStatusRow] | None = None
        self._writer = StoreWriter(journal, self._store, clock=clock, counters=self.counters)
        self._store_away = store_away
        self._keep_days = keep_days
        self._taking = Taking(
            journal=journal, acknowledge=subscriber.acknowledge, clock=clock, counters=self.counters
        )
        self._receipts = self._taking.receipts
        self.counters.registry_since_ms = clock()
        if store_has_registry != registry.current.text:
            self._announce(registry.current)

    def run(self, stop: threading.Event) -> None:
        """Serve until `stop`; then send the receipts that are owed and let the store writer come to the journal's end."""
        leave = threading.Event()
        beside = [
            threading.Thread(target=work, args=(leave,), name=name)
            for name, work in (
                ("store-writer", self._writer.run),
                ("journal-upkeep", self._maintain),
                ("registry-follower", self._follow_registry),
            )
        ]
        for thread in beside:
            thread.start()
        try:
            self._subscriber.start()
            while not stop.is_set():
                self._serve_once(stop)
            self._flush_receipts()
        finally:
            self._subscriber.close()
            leave.set()
            self._writer.wake()
            for thread in beside:
                thread.join()
        _log.info("ingest ended", journalled=self.counters.journalled_messages)

    def drain(self, stop: threading.Event) -> bool:
        """Serve until the session that is being retired holds nothing; False if `stop` came first."""
        drained = threading.Event()
        leave = threading.Event()

        def watch() -> None:
            while not leave.wait(_WAIT_S) and not stop.is_set():
                if self._subscriber.is_drained:
                    drained.set()
                    break
            leave.set()

        watcher = threading.Thread(target=watch, name="drain-watcher")
        watcher.start()
        try:
            self.run(leave)
        finally:
            leave.set()
            watcher.join()
        return drained.is_set()

    def _serve_once(self, stop: threading.Event) -> None:
        messages = self._subscriber.take(_MAX_MESSAGES, wait_s=_WAIT_S)
        if messages:
            self._take_in(messages, stop)
        self._send_receipts()
        self.counters.last_round_at_ms = self._clock()

    def _maintain(self, stop: threading.Event) -> None:
        """Compress closed days of the journal, and remove those that are kept no longer and are in the store."""
        more = True
        while not stop.wait(0.0 if more else _UPKEEP_EVERY_S):
            try:
                more = self._journal.maintain(self._clock(), keep_days=self._keep_days)
            except IngestError as error:
                more = False
                self.counters.upkeep_failures += 1
                _log.error("the journal's upkeep failed; it is tried again", error=str(error))
            except Exception:  # noqa: BLE001 - upkeep must not end: counted, logged, and nothing is lost by it
                more = False
                self.counters.upkeep_failures += 1
                self.counters.unexpected_failures += 1
                _log.exception("the journal's upkeep failed in an unexpected way")

    def gateways(self) -> Collection[str]:
        """Ids of the gateways that the registry in force has."""
        return self._registry.current.registry.gateways.keys()

    def not_ready(self) -> list[str]:
        """What keeps messages from being taken in or stored, in words."""
        reasons = []
        if not self._subscriber.is_connected:
            reasons.append("the broker is not connected: see that it runs, and ingest's credentials")
        if self._taking.journal_error:
            reasons.append(f"nothing is acknowledged: {self._taking.journal_error}")
        away = self._store_away()
        if away:
            reasons.append(f"the store is away, messages wait in the journal: {away}")
        waiting_ms = self.counters.waiting_since_ms
        if waiting_ms and self._clock() - waiting_ms > _STORE_BEHIND_MS:
            cause = self._writer.error or "it takes rows more slowly than they come"
            reasons.append(f"the store is behind since {format_timestamp(waiting_ms)}: {cause}")
        if self._taking.alarm.is_raised:
            reasons.append(
                f"{self._taking.alarm.last_hour} refusals within an hour: see `poolwatch quarantine list`"
            )
        return reasons

    def gauges(self) -> dict[str, tuple[str, float]]:
        """What is computed when asked: help text and number, by name."""
        return gauges_of(
            subscriber=self._subscriber,
            journal=self._journal,
            writer=self._writer,
            store=self._store,
            receipts=self._receipts,
            registry=self._registry,
            alarm=self._taking.alarm,
            waiting_since_ms=self.counters.waiting_since_ms,
            now_ms=self._clock(),
        )

    def latencies(self) -> dict[str, tuple[str, Latencies]]:
        """How long things take: help text and histogram, by name."""
        return {
            "journal_commit_seconds": (
                "How long messages waited for the journal's commit, failed attempts included. [s]",
                self._taking.journal_latencies,
            ),
            "taken_in_seconds": (
                "How long messages took from the network to their acknowledgement. [s]",
                self._taking.latencies,
            ),
            "store_write_seconds": (
                "How long a write to the store took, failed or not. [s]",
                self._store.latencies,
            ),
        }

    def _take_in(self, messages: Sequence[Incoming], stop: threading.Event) -> None:
        """Take messages, and only then let the store writer have their rows."""
        taken = self._taking.take(messages, self._registry.current.registry, stop)
        if taken is None:
            return
        rows = taken.rows
        if self.statuses is not None:
            self.statuses.update((status.gateway_id, status) for status in rows.statuses)
        self._writer.offer(rows, first_id=taken.first_id, last_id=taken.last_id)
        self._writer.let_catch_up()

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

    def _follow_registry(self, stop: threading.Event) -> None:
        """Read the registry when its file changes; a large one takes its time, and intake goes on with the one before."""
        while not stop.wait(_REGISTRY_EVERY_S):
            try:
                found = self._registry.poll(before=self._announce)
            except Exception:  # noqa: BLE001 - to follow must not end: counted, logged, and the one before stays in force
                self.counters.unexpected_failures += 1
                _log.exception("looking at the registry failed in an unexpected way")
                continue
            if found is not None:
                self.counters.registry_reloads += 1
                self.counters.registry_since_ms = self._clock()
            self.counters.registry_refusals = self._registry.refusals

    def _announce(self, version: RegistryVersion) -> None:
        """Have a version ready and on its way to the store before a message is judged by it."""
        prepare_registry(version.registry)
        self._writer.submit_registry(RegistryVersionRow(version.registry.sha256, self._clock(), version.text))
