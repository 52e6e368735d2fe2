"""From the journal to the store: a thread that follows the journal from its cursor and never gives up."""

import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

import structlog

from gateway.contract.errors import MessageError
from gateway.contract.times import Clock
from ingest.backoff import Backoff
from ingest.counters import IngestCounters
from ingest.errors import IngestError
from ingest.journal import Journal
from ingest.journal_records import JournalMessage, Outcome
from ingest.store.ports import ReadingWriter, StoreRejectedError, StoreUnavailableError
from ingest.store.records import (
    GatewayStatusRow,
    IngestBatch,
    LogbookRow,
    ReadingRow,
    RegistryVersionRow,
)
from ingest.validation import build_rows

_BATCH_MESSAGES = 500
#: Without being woken, look this often for something new. [s]
_LOOK_EVERY_S = 0.5
#: While leaving, between two attempts at a store that is away. [s]
_DRAIN_RETRY_S = 0.1

_Row = ReadingRow | LogbookRow | GatewayStatusRow
_log = structlog.get_logger()


class _RefusedRow(NamedTuple):
    """A row that the store did not take, and why."""

    row: ReadingRow | LogbookRow
    code: str
    text: str


class _Written(NamedTuple):
    """How a batch ended in the store."""

    stored: int
    duplicates: int
    refused: list[_RefusedRow]


class StoreWriter:
    """Writes what the journal accepted into the store, in the journal's order, at least once; the store makes it once."""

    def __init__(
        self,
        journal: Journal,
        store: ReadingWriter,
        *,
        clock: Clock,
        counters: IngestCounters,
        batch_messages: int = _BATCH_MESSAGES,
    ) -> None:
        self._journal = journal
        self._store = store
        self._clock = clock
        self._counters = counters
        self._batch_messages = batch_messages
        self._wake = threading.Event()
        self._versions_lock = threading.Lock()
        self._versions: list[RegistryVersionRow] = []

    def wake(self) -> None:
        """Say that the journal has something new."""
        self._wake.set()

    def submit_registry(self, version: RegistryVersionRow) -> None:
        """Have an accepted registry version stored, before the messages that follow."""
        with self._versions_lock:
            self._versions.append(version)
        self.wake()

    def run(self, stop: threading.Event, *, drain_s: float = 5.0) -> None:
        """Follow the journal until `stop`, and then to its end, but no longer than `drain_s`."""
        backoff = Backoff()
        leave_at_s: float | None = None
        while True:
            self._wake.clear()
            if stop.is_set():
                leave_at_s = time.monotonic() + drain_s if leave_at_s is None else leave_at_s
                if time.monotonic() > leave_at_s:
                    return
            wrote = self._attempt(backoff)
            if wrote is None:
                # Not woken by news, which would turn an outage of the store into a busy loop.
                if stop.wait(backoff.next_s()):
                    time.sleep(_DRAIN_RETRY_S)
            elif not wrote:
                if stop.is_set():
                    return
                self._wake.wait(_LOOK_EVERY_S)

    def _attempt(self, backoff: Backoff) -> bool | None:
        """Write a batch; whether there may be more to do at once, None if it failed."""
        try:
            wrote = self.write_once()
        except StoreUnavailableError as error:
            self._fail("the store is not available; the journal keeps what comes", error, backoff)
            return None
        except IngestError as error:
            self._fail("the journal cannot be read or advanced", error, backoff)
            return None
        except Exception as error:  # noqa: BLE001 - the loop's last resort: counted, logged, and the journal keeps all
            self._counters.unexpected_failures += 1
            self._fail("writing to the store failed in an unexpected way", error, backoff, trace=True)
            return None
        if backoff.attempts:
            _log.info("the store takes rows again", attempts=backoff.attempts)
            backoff.reset()
        return wrote

    def _fail(self, text: str, error: Exception, backoff: Backoff, *, trace: bool = False) -> None:
        self._counters.store_failures += 1
        if backoff.attempts == 0:
            _log.error(text, error=str(error), exc_info=trace)

    def write_once(self) -> bool:
        """Write the next batch; False if there was nothing to write.

        Raises
        ------
        StoreUnavailableError
            If the store cannot take it now; nothing is lost and nothing advances.
        JournalError
            If the journal cannot be read or advanced.
        """
        with self._versions_lock:
            versions = list(self._versions)
        if versions:
            self._write_versions(versions)
        messages = self._journal.read_after(self._journal.cursor(), limit=self._batch_messages)
        if not messages:
            return bool(versions)
        rows: list[_Row] = []
        for message in messages:
            rows += _rows_of(message)
        stored_at_ms = self._clock()
        written = self._write_rows(rows, stored_at_ms) if rows else _Written(0, 0, [])
        self._journal.advance(
            messages[-1].message_id, refused=written.refused, store_duplicates=written.duplicates
        )
        self._counters.stored_readings += written.stored
        self._counters.store_duplicates += written.duplicates
        self._counters.last_stored_at_ms = stored_at_ms
        return True

    def _write_versions(self, versions: Sequence[RegistryVersionRow]) -> None:
        try:
            self._store.write(IngestBatch(registry_versions=versions), stored_at_ms=self._clock())
        except StoreRejectedError as error:
            self._counters.store_rejections += 1
            _log.error("the store rejects a registry version", error=str(error))
        with self._versions_lock:
            del self._versions[: len(versions)]

    def _write_rows(self, rows: Sequence[_Row], stored_at_ms: int) -> _Written:
        """Write rows; those that the store rejects are found by halving, and the others go on."""
        batch = IngestBatch(
            readings=[row for row in rows if isinstance(row, ReadingRow)],
            logbook=[row for row in rows if isinstance(row, LogbookRow)],
            statuses=[row for row in rows if isinstance(row, GatewayStatusRow)],
        )
        try:
            outcome = self._store.write(batch, stored_at_ms=stored_at_ms)
        except StoreRejectedError as error:
            if len(rows) > 1:
                middle = len(rows) // 2
                left = self._write_rows(rows[:middle], stored_at_ms)
                right = self._write_rows(rows[middle:], stored_at_ms)
                return _Written(
                    left.stored + right.stored,
                    left.duplicates + right.duplicates,
                    left.refused + right.refused,
                )
            return _Written(0, 0, self._rejected(rows[0], error))
        conflicts = [
            _RefusedRow(
                row,
                "conflict",
                "another value for this pool, sensor, quantity and time came first and stands; "
                "a correction is a logbook entry",
            )
            for row in outcome.conflicts
        ]
        self._counters.store_conflicts += len(conflicts)
        if conflicts:
            _log.warning("readings in conflict with stored ones", count=len(conflicts))
        return _Written(outcome.stored, outcome.duplicates, conflicts)

    def _rejected(self, row: _Row, error: StoreRejectedError) -> list[_RefusedRow]:
        self._counters.store_rejections += 1
        _log.error("the store rejects a row", gateway_id=row.gateway_id, error=str(error))
        if isinstance(row, GatewayStatusRow):
            return []  # it is in the journal; there is no position to name
        return [_RefusedRow(row, "store_rejected", f"the store will not take it: {error}")]


def _rows_of(message: JournalMessage) -> list[_Row]:
    """Rows of a message by what was decided when it was journalled."""
    if message.outcome is not Outcome.ACCEPTED:
        return []
    refused = {refusal.position for refusal in message.refusals if refusal.position is not None}
    try:
        rows = build_rows(
            topic=message.topic,
            payload=message.payload,
            received_at_ms=message.received_at_ms,
            refused=refused,
        )
    except MessageError as error:
        # Accepted once, and not decodable now: a contract that became stricter. The journal keeps it.
        _log.error("an accepted message cannot be decoded", message_id=message.message_id, error=str(error))
        return []
    return [*rows.readings, *rows.logbook, *rows.statuses]
