"""Taking messages: each is judged, journalled in one commit with the others, acknowledged, and owed a receipt."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import structlog

from gateway.contract.registry import Registry
from gateway.contract.times import Clock
from gateway.contract.topics import TopicKind
from ingest.backoff import Backoff
from ingest.counters import IngestCounters
from ingest.errors import JournalUnavailableError
from ingest.incoming import Incoming
from ingest.intake import Rows, assess_many
from ingest.journal.journal import Journal
from ingest.journal.records import Appended, Appending
from ingest.latencies import Latencies
from ingest.quarantine_alarm import QuarantineAlarm
from ingest.receipt_book import ReceiptBook
from ingest.validation import Assessment

_log = structlog.get_logger()


class Taken(NamedTuple):
    """Rows of the messages that are new, and the ids that the journal gave, refused messages' too."""

    rows: Rows
    first_id: int
    last_id: int


class Taking:
    """One thread takes; what is public here may be read by any.

    Attributes
    ----------
    receipts : ReceiptBook
        What gateways are owed.
    alarm : QuarantineAlarm
        Whether quarantine grows so that somebody should look.
    journal_error : str
        Why the journal cannot be written now, and nothing is acknowledged; empty while it can.
    latencies, journal_latencies : Latencies
        From the beginning to the acknowledgement, and of the journal's commit alone.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        acknowledge: Callable[[Sequence[Incoming]], int],
        clock: Clock,
        counters: IngestCounters,
    ) -> None:
        self._journal = journal
        self._acknowledge = acknowledge
        self._clock = clock
        self._counters = counters
        self.receipts = ReceiptBook()
        self.alarm = QuarantineAlarm()
        self.journal_error = ""
        self.latencies = Latencies()
        self.journal_latencies = Latencies()

    def take(self, messages: Sequence[Incoming], registry: Registry, stop: threading.Event) -> Taken | None:
        """Take messages, however long the disk needs to have room; None if `stop` came first, and none is acknowledged."""
        begun_s = time.monotonic()
        counters = self._counters
        counters.received_messages += len(messages)
        counters.last_received_at_ms = messages[-1].received_at_ms
        assessments, rows = assess_many(messages, registry)
        for index, error in rows.failures:
            counters.unexpected_failures += 1
            topic = None if index is None else messages[index].topic
            _log.error("a message could not be assessed", topic=topic, exc_info=error)
        journal_begun_s = time.monotonic()
        appending = self._append(messages, assessments, stop)
        if appending is None:
            return None
        self.journal_latencies.observe(time.monotonic() - journal_begun_s)
        counters.acknowledged_messages += self._acknowledge(messages)
        self.latencies.observe(time.monotonic() - begun_s)
        self._note_all(assessments, appending.results)
        new = rows.of_messages([result is Appended.NEW for result in appending.results])
        return Taken(new, appending.first_id, appending.last_id)

    def _append(
        self, messages: Sequence[Incoming], assessments: Sequence[Assessment], stop: threading.Event
    ) -> Appending | None:
        """Journal, however long the disk takes to have room; None if `stop` came first, and nothing is acknowledged."""
        backoff = Backoff()
        while True:
            try:
                appending = self._journal.append_many(messages, assessments)
            except JournalUnavailableError as error:
                self._counters.journal_failures += 1
                self.journal_error = str(error)
                if backoff.attempts == 0:
                    _log.error(
                        "the journal cannot be written; nothing is acknowledged until it can",
                        error=str(error),
                    )
                if stop.wait(backoff.next_s()):
                    return None
            else:
                self.journal_error = ""
                return appending

    def _note_all(self, assessments: Sequence[Assessment], results: Sequence[Appended]) -> None:
        # A status has no receipt, nor has what cannot be named.
        self.receipts.add(
            (found.gateway_id, found.boot_id, found.seq)
            for found in assessments
            if found.seq is not None and found.boot_id is not None and found.kind is not TopicKind.STATUS
        )
        counters = self._counters
        duplicates = sum(result is Appended.DUPLICATE for result in results)
        counters.duplicate_messages += duplicates
        counters.journalled_messages += len(results) - duplicates
        refusals = sum(
            self._note_refused(found, result)
            for found, result in zip(assessments, results, strict=True)
            if (found.refusals or result is not Appended.NEW) and result is not Appended.DUPLICATE
        )
        if self.alarm.note(refusals, self._clock()):
            _log.error(
                "quarantine grows: see `poolwatch quarantine list`", refusals_in_an_hour=self.alarm.last_hour
            )

    def _note_refused(self, found: Assessment, result: Appended) -> int:
        """Count and log what went into quarantine; returns how many refusals that are."""
        counters = self._counters
        if result is Appended.CLONED:
            counters.cloned_messages += 1
            _log.error(
                "two messages of one seq differ: a cloned or faulty gateway",
                gateway_id=found.gateway_id,
                boot_id=found.boot_id,
                seq=found.seq,
            )
            return 1
        if result is Appended.REFUSED:
            counters.refused_messages += 1
            _log.warning("message in quarantine", gateway_id=found.gateway_id, code=found.refusals[0].code)
            return 1
        counters.refused_items += len(found.refusals)
        _log.warning(
            "readings or entries in quarantine",
            gateway_id=found.gateway_id,
            count=len(found.refusals),
            code=found.refusals[0].code,
        )
        return len(found.refusals)
