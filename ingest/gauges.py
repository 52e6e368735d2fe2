"""What operators read of an ingest besides its counters: queues, ages and sizes, looked up when asked."""

import math
from typing import Protocol

import structlog

from ingest.errors import JournalError
from ingest.journal.figures import FolderFigures
from ingest.journal.journal import Journal
from ingest.quarantine_alarm import QuarantineAlarm
from ingest.receipt_book import ReceiptBook
from ingest.registry_source import RegistrySource
from ingest.store_timing import TimedWriter
from ingest.store_writer import StoreWriter
from ingest.subscriber_figures import SubscriberFigures

_log = structlog.get_logger()


class WatchedSubscriber(Protocol):
    """Where messages come from, as operators watch it."""

    @property
    def is_connected(self) -> bool:
        """Whether the broker has accepted the present connection."""
        ...

    def figures(self) -> SubscriberFigures:
        """Queues and connections."""
        ...


def gauges_of(
    *,
    subscriber: WatchedSubscriber,
    journal: Journal,
    writer: StoreWriter,
    store: TimedWriter,
    receipts: ReceiptBook,
    registry: RegistrySource,
    alarm: QuarantineAlarm,
    waiting_since_ms: int,
    now_ms: int,
) -> dict[str, tuple[str, float]]:
    """Help text and number, by name; asks only for what is at hand, and makes nobody wait.

    What the journal's folder does not tell, because its disk fails, is NaN: the other numbers are wanted all the more.
    """
    behind = journal.last_id - journal.cursor()
    wire = subscriber.figures()
    files, releases = _folder_of(journal)
    return {
        "connected": ("Whether the broker is connected.", float(subscriber.is_connected)),
        "connection_attempts": ("Attempts to connect to the broker since the start.", wire.attempts),
        "connections": ("Attempts that the broker accepted.", wire.connections),
        "held_messages": ("Messages read off the network and not taken in yet.", wire.held_messages),
        "owed_receipts": ("Gateways that are owed a receipt.", len(receipts)),
        "unconfirmed_receipts": (
            "Receipts that the broker has not confirmed yet.",
            wire.unconfirmed_receipts,
        ),
        "journal_messages": ("Messages in the journal.", journal.last_id),
        "journal_bytes": ("What the journal's files take. [byte]", files["taken_bytes"]),
        "journal_days": ("Days that the journal has a file of.", files["days"]),
        "journal_packed_days": ("Days of the journal that are compressed.", files["packed_days"]),
        "journal_oldest_day_ms": (
            "Where the oldest day of the journal begins; 0: there is none. [ms since 1970]",
            files["oldest_day_ms"],
        ),
        "checkpoint_age_s": (
            "Since the journal's state was written; not while nothing comes. [s]",
            journal.checkpoint_age_s,
        ),
        "releases_waiting": (
            "Requests for releases from quarantine that are not carried out yet.",
            releases,
        ),
        "unstored_messages": ("Messages in the journal that the store has not taken.", behind),
        "oldest_unstored_age_s": (
            "Since the oldest message came that the store has not taken; 0: none waits. [s]",
            (now_ms - waiting_since_ms) / 1000 if waiting_since_ms else 0.0,
        ),
        "offered_readings": ("Readings in memory on their way to the store.", writer.offered),
        "store_writes_under_way": (
            "Writes that the store has not answered yet.",
            store.under_way,
        ),
        "store_write_longest_s": (
            "How long the oldest of those has been waited for. [s]",
            store.longest_s,
        ),
        "registry_refused": (
            "Whether pools.toml as it is now is not the registry in force.",
            registry.is_refused,
        ),
        "refusals_last_hour": ("Refusals within the last hour.", alarm.last_hour),
        "quarantine_alarm": (
            "Whether quarantine grows so that somebody should look.",
            alarm.is_raised,
        ),
    }


def _folder_of(journal: Journal) -> tuple[dict[str, float], float]:
    try:
        return dict(journal.figures()._asdict()), journal.releases_asked_for()
    except JournalError as error:
        _log.warning("the journal's folder cannot be looked at", error=str(error))
        return dict.fromkeys(FolderFigures._fields, math.nan), math.nan
