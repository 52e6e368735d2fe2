"""Writing a batch into a store that may reject some of its rows: those are found by halving, and the others go on. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from ingest.store.batches import IngestBatch
from ingest.store.ports import ReadingWriter, StoreRejectedError
from ingest.store.records import GatewayStatusRow, LogbookRow, ReadingRow

_CONFLICT = "another value for this pool, sensor, quantity and time came first and stands; a correction is a logbook entry"


class RefusedRow(NamedTuple):
    """A row that the store did not take, and why."""

    row: ReadingRow | LogbookRow
    code: str
    text: str


@dataclass(slots=True)
class Written:
    """How a batch ended in the store. A rejected status has no position to name: the journal has it."""

    stored: int = 0
    duplicates: list[ReadingRow] = field(default_factory=list)
    conflicts: list[RefusedRow] = field(default_factory=list)
    rejected: list[RefusedRow] = field(default_factory=list)
    rejected_statuses: list[tuple[GatewayStatusRow, str]] = field(default_factory=list)

    @property
    def refused(self) -> Sequence[RefusedRow]:
        """Rows for the quarantine."""
        return [*self.conflicts, *self.rejected]


def write_batch(store: ReadingWriter, batch: IngestBatch, *, stored_at_ms: int) -> Written:
    """Write a batch; what the store rejects ends in `rejected`.

    Raises
    ------
    StoreUnavailableError
        If the store cannot take it now. Some of it may be stored already: write all of it again.
    """
    written = Written()
    # A stack, not recursion: parts are written in the journal's order.
    waiting = [batch]
    while waiting:
        part = waiting.pop()
        try:
            outcome = store.write(part, stored_at_ms=stored_at_ms)
        except StoreRejectedError as error:
            if _size(part) > 1:
                waiting += reversed(_halve(part))
            else:
                _note_rejected(written, part, str(error))
            continue
        written.stored += outcome.stored
        written.duplicates += outcome.duplicates
        written.conflicts += (RefusedRow(row, "conflict", _CONFLICT) for row in outcome.conflicts)
    return written


def _size(batch: IngestBatch) -> int:
    return len(batch.readings) + len(batch.logbook) + len(batch.statuses)


def _halve(batch: IngestBatch) -> list[IngestBatch]:
    """Two batches of half as many rows: readings first, then logbook, then statuses."""
    middle = _size(batch) // 2
    readings = min(middle, len(batch.readings))
    logbook = min(middle - readings, len(batch.logbook))
    statuses = middle - readings - logbook
    rows = np.arange(len(batch.readings))
    return [
        IngestBatch(batch.readings.take(rows[:readings]), batch.logbook[:logbook], batch.statuses[:statuses]),
        IngestBatch(batch.readings.take(rows[readings:]), batch.logbook[logbook:], batch.statuses[statuses:]),
    ]


def _note_rejected(written: Written, part: IngestBatch, reason: str) -> None:
    text = f"the store will not take it: {reason}"
    written.rejected += (RefusedRow(row, "store_rejected", text) for row in part.readings.rows())
    written.rejected += (RefusedRow(entry, "store_rejected", text) for entry in part.logbook)
    written.rejected_statuses += ((status, text) for status in part.statuses)
