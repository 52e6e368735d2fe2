"""From the journal to the store: a thread that follows the journal from its cursor and never gives up.

Rows of new messages are offered in memory as well. They are used where they follow the cursor exactly; where they do not,
because there was no room for them or ingest was started anew, the journal is read instead. Both give the same rows.
"""

import gc
import threading
import time
from collections.abc import Sequence
from typing import Protocol

import structlog

from gateway.contract.times import Clock
from ingest.backoff import Backoff
from ingest.counters import IngestCounters
from ingest.errors import IngestError
from ingest.intake import Rows, rebuild_many
from ingest.journal.releases import Release
from ingest.offers import Offer, Offers
from ingest.series_tables import LearntSeries
from ingest.store.batches import IngestBatch, join_batches
from ingest.store.ports import ReadingWriter, StoreRejectedError, StoreUnavailableError
from ingest.store.records import LogbookRow, ReadingRow, RegistryVersionRow
from ingest.store_writing import Written, write_batch
from ingest.validation import Refusal
from ingest.wire_columns import Received

#: Readings of a write: enough that a commit costs little beside it, few enough that a write takes well below a second.
_BATCH_READINGS = 72_000
#: Messages of a first look into the journal, before it is known how many readings they carry; and the most of any.
_FIRST_MESSAGES = 500
_MOST_MESSAGES = 5_000
#: Readings that wait in memory at most, some 30 MB of them. [readings]
_OFFERED_READINGS = 200_000
#: How long intake lets a store that takes rows catch up, rather than have the journal read and decoded again. [s]
_CATCH_UP_S = 0.25
#: A store that is further behind has been away; intake goes on beside it. [messages]
_NEAR_MESSAGES = 100_000
#: Without being woken, look this often for something new. [s]
_LOOK_EVERY_S = 0.5
#: While leaving, between two attempts at a store that is away. [s]
_DRAIN_RETRY_S = 0.1
#: Releases are rare, and somebody waits for them.
_LOOK_FOR_RELEASES_S = 1.0
_RELEASES_AT_ONCE = 200
_ACCEPTED = "accepted"

_log = structlog.get_logger()


class FollowedMessage(Received, Protocol):
    """A message of the journal, with what was decided when it came."""

    @property
    def message_id(self) -> int:
        """Its number; consecutive."""
        ...

    @property
    def outcome(self) -> str:
        """What became of it; only what is ``accepted`` goes to the store."""
        ...

    @property
    def refusals(self) -> Sequence[Refusal]:
        """What of it was refused."""
        ...


class FollowedJournal(Protocol):
    """The journal as the store writer needs it."""

    def cursor(self) -> int:
        """Id of the last message that the store has taken."""
        ...

    def read_after(self, cursor: int, *, limit: int) -> Sequence[FollowedMessage]:
        """Messages with an id above `cursor`, in order."""
        ...

    def advance(
        self,
        cursor: int,
        *,
        refused: Sequence[tuple[ReadingRow | LogbookRow, str, str]] = (),
        duplicates: Sequence[ReadingRow] = (),
    ) -> None:
        """Note that the store has taken everything up to `cursor`, apart from rows that it refused: (row, code, text)."""
        ...

    def releases_waiting(self, limit: int) -> list[Release]:
        """What was released from quarantine and is not in the store yet, oldest first."""
        ...

    def released(
        self,
        releases: Sequence[Release],
        *,
        refused: Sequence[tuple[ReadingRow | LogbookRow, str, str]] = (),
        duplicates: Sequence[ReadingRow] = (),
    ) -> None:
        """Note that the store has taken releases, apart from rows that it refused: those stay in quarantine."""
        ...


class StoreWriter:
    """Writes what the journal accepted into the store, in the journal's order, at least once; the store makes it once."""

    def __init__(
        self,
        journal: FollowedJournal,
        store: ReadingWriter,
        *,
        clock: Clock,
        counters: IngestCounters,
        batch_readings: int = _BATCH_READINGS,
        offered_readings: int = _OFFERED_READINGS,
    ) -> None:
        self._journal = journal
        self._store = store
        self._clock = clock
        self._counters = counters
        self._batch_readings = batch_readings
        self._offers = Offers(offered_readings)
        self._learnt = LearntSeries()
        self._journal_messages = min(_FIRST_MESSAGES, batch_readings)
        self._wake = threading.Event()
        self._versions_lock = threading.Lock()
        self._versions: list[RegistryVersionRow] = []
        self._look_for_releases_s = 0.0
        self._offered_to = 0
        #: What keeps the store from taking rows, in words; empty while nothing does.
        self.error = ""

    @property
    def offered(self) -> int:
        """Readings that wait in memory."""
        return self._offers.weight

    def wake(self) -> None:
        """Say that the journal has something new."""
        self._wake.set()

    def offer(self, rows: Rows, *, first_id: int, last_id: int) -> None:
        """Offer rows of messages that the journal has just taken as new. Never waits; without room they are forgotten.

        Parameters
        ----------
        rows : Rows
            Those of all accepted messages among them.
        first_id, last_id : int
            The ids that the journal gave, to refused messages too; consecutive. Nothing is done if there are none.
        """
        if last_id >= first_id:
            self._offers.put(Offer(first_id, last_id, rows))
            self._offered_to = last_id
            self.wake()

    def let_catch_up(self) -> None:
        """Wait a moment, 0.25 s at most, for room for the next offers.

        Not while the store is away or far behind: intake would wait for nothing, and the journal takes what comes.
        """
        behind = self._offered_to - self._journal.cursor()
        if not self.error and behind <= _NEAR_MESSAGES:
            self._offers.wait_for_room(_CATCH_UP_S)

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
            wrote, wait_s = self._attempt(backoff)
            if wrote is None:
                # A failed call leaves its tracebacks in circles, and they hold the batch: in an outage of days, memory too.
                gc.collect()
                # Not woken by news, which would turn an outage of the store into a busy loop.
                if stop.wait(wait_s):
                    time.sleep(_DRAIN_RETRY_S)
            elif not wrote:
                if stop.is_set():
                    return
                self._wake.wait(_LOOK_EVERY_S)

    def _attempt(self, backoff: Backoff) -> tuple[bool | None, float]:
        """Write a batch; whether there may be more to do at once, None if it failed, and how long to wait then. [s]"""
        try:
            wrote = self.write_once()
        except StoreUnavailableError as error:
            wait_s = self._fail("the store is not available; the journal keeps what comes", error, backoff)
            return None, max(wait_s, error.retry_after_s or 0.0)
        except IngestError as error:
            return None, self._fail("the journal cannot be read or advanced", error, backoff)
        except Exception as error:  # noqa: BLE001 - the loop's last resort: counted, logged, and the journal keeps all
            self._counters.unexpected_failures += 1
            text = "writing to the store failed in an unexpected way"
            return None, self._fail(text, error, backoff, trace=True)
        if backoff.attempts:
            _log.info("the store takes rows again", attempts=backoff.attempts)
            backoff.reset()
        self.error = ""
        return wrote, 0.0

    def _fail(self, text: str, error: Exception, backoff: Backoff, *, trace: bool = False) -> float:
        self._counters.store_failures += 1
        self.error = f"{text}: {error}"
        if backoff.attempts == 0:
            _log.error(text, error=str(error), exc_info=trace)
        return backoff.next_s()

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
        cursor = self._journal.cursor()
        reached, batch = self._next_batch(cursor)
        if reached == cursor:
            self._counters.waiting_since_ms = 0
            return self._write_releases() or bool(versions)
        if batch.readings.origins:
            self._counters.waiting_since_ms = batch.readings.origins[0].received_at_ms
        stored_at_ms = self._clock()
        written = Written()
        if len(batch.readings) or batch.logbook or batch.statuses:
            written = write_batch(self._store, batch, stored_at_ms=stored_at_ms)
        self._journal.advance(reached, refused=written.refused, duplicates=written.duplicates)
        self._note(written, stored_at_ms)
        self._write_releases()
        return True

    def _write_releases(self) -> bool:
        """Write what was released from quarantine; whether there was something."""
        now_s = time.monotonic()
        if now_s < self._look_for_releases_s:
            return False
        releases = self._journal.releases_waiting(_RELEASES_AT_ONCE)
        if not releases:
            self._look_for_releases_s = now_s + _LOOK_FOR_RELEASES_S
            return False
        rows = rebuild_many(
            [release.message for release in releases], [release.refused for release in releases], self._learnt
        )
        stored_at_ms = self._clock()
        written = write_batch(self._store, rows.batch, stored_at_ms=stored_at_ms)
        self._journal.released(releases, refused=written.refused, duplicates=written.duplicates)
        self._note(written, stored_at_ms)
        self._counters.released_items += sum(len(release.positions) for release in releases)
        return True

    def _next_batch(self, cursor: int) -> tuple[int, IngestBatch]:
        """Id that a batch reaches to, and the batch; the cursor itself if there is nothing."""
        next_id = self._offers.next_id(cursor)
        if next_id != cursor + 1:
            return self._read_journal(cursor, before=next_id)
        offers = self._offers.following(cursor, most_readings=self._batch_readings)
        rows = [offer.rows for offer in offers]
        return offers[-1].last_id, IngestBatch(
            readings=join_batches([one.readings for one in rows]),
            logbook=[row for one in rows for row in one.logbook],
            statuses=[row for one in rows for row in one.statuses],
        )

    def _read_journal(self, cursor: int, *, before: int | None) -> tuple[int, IngestBatch]:
        """Read the next batch out of the journal, up to the message before the next offer."""
        limit = self._journal_messages
        if before is not None:
            limit = min(limit, before - cursor - 1)
        messages = self._journal.read_after(cursor, limit=limit)
        if not messages:
            return cursor, IngestBatch()
        accepted = [message for message in messages if message.outcome == _ACCEPTED]
        refused = [
            {refusal.position for refusal in message.refusals if refusal.position is not None}
            for message in accepted
        ]
        rows = rebuild_many(accepted, refused, self._learnt)
        for index, error in rows.failures:
            if index is None:
                self._counters.unexpected_failures += 1
                _log.error("messages could not be decoded together", error=str(error))
            else:
                # Accepted once, and not decodable now: a contract that became stricter. The journal keeps it.
                _log.error(
                    "an accepted message cannot be decoded",
                    message_id=accepted[index].message_id,
                    error=str(error),
                )
        # As many messages the next time as carry a batch of readings, if they are like these.
        fitting = self._batch_readings * len(messages) // max(1, len(rows.readings))
        self._journal_messages = max(1, min(fitting, _MOST_MESSAGES, 2 * self._journal_messages))
        return messages[-1].message_id, rows.batch

    def _note(self, written: Written, stored_at_ms: int) -> None:
        counters = self._counters
        counters.store_batches += 1
        counters.stored_readings += written.stored
        counters.store_duplicates += len(written.duplicates)
        counters.store_conflicts += len(written.conflicts)
        counters.store_rejections += len(written.rejected) + len(written.rejected_statuses)
        counters.last_stored_at_ms = stored_at_ms
        if written.conflicts:
            _log.warning("readings in conflict with stored ones", count=len(written.conflicts))
        for refused in written.rejected:
            _log.error("the store rejects a row", gateway_id=refused.row.gateway_id, error=refused.text)
        for status, text in written.rejected_statuses:
            _log.error("the store rejects a status", gateway_id=status.gateway_id, error=text)

    def _write_versions(self, versions: Sequence[RegistryVersionRow]) -> None:
        try:
            self._store.write(IngestBatch(registry_versions=versions), stored_at_ms=self._clock())
        except StoreRejectedError as error:
            self._counters.store_rejections += 1
            _log.error("the store rejects a registry version", error=str(error))
        with self._versions_lock:
            del self._versions[: len(versions)]
