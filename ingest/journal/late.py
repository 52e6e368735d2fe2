"""What the store said of rows after they were journalled: refused ones go into quarantine, both are counted."""

import sqlite3
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ingest.journal.blocks import day_of
from ingest.journal.records import JournalMessage
from ingest.journal.sources import Count
from ingest.journal.state import QuarantineRow, TallyKey, late_row
from ingest.journal.state_file import add_tallies, insert_quarantine
from ingest.store.records import LogbookRow, ReadingRow

#: A row that the store refused, the reason's code and its text.
LateRow = tuple[ReadingRow | LogbookRow, str, str]
Key = tuple[str, str, int]


class Late(NamedTuple):
    """Rows that the store refused or had, the messages of the keys that were looked for, and the days of those by id."""

    refused: Sequence[LateRow]
    duplicates: Sequence[ReadingRow]
    messages: Mapping[Key, JournalMessage | None]
    days: Mapping[int, int]


def key_of(row: ReadingRow | LogbookRow) -> Key:
    """Key of the message that a row came in."""
    return row.gateway_id, row.boot_id, row.seq


class Tallies:
    """Counts on their way into the state file."""

    def __init__(self) -> None:
        self._numbers: dict[TallyKey, list[int]] = defaultdict(lambda: [0] * len(Count))

    def add(self, day: int, gateway_id: str, boot_id: str, count: Count, number: int = 1) -> None:
        """Add to one count."""
        self._numbers[day, gateway_id, boot_id][count] += number

    def write(self, connection: sqlite3.Connection) -> None:
        """Add all to the state file, in the caller's transaction."""
        add_tallies(connection, [(*key, *numbers) for key, numbers in sorted(self._numbers.items())])


def write_late(connection: sqlite3.Connection, late: Late) -> None:
    """Put refused rows into quarantine, each once, and count; in the caller's transaction."""
    if not late.refused and not late.duplicates:
        return
    tallies = Tallies()
    rows: dict[tuple[int, int], QuarantineRow] = {}
    for row, code, text in late.refused:
        message = late.messages.get(key_of(row))
        if message is None:
            continue
        key = (message.message_id, row.position)
        if key in rows or _is_quarantined(connection, key):
            continue
        rows[key] = late_row(message, row.position, code=code, text=text)
        tallies.add(
            late.days.get(message.message_id, day_of(row.received_at_ms)),
            row.gateway_id,
            row.boot_id,
            Count.LATE_READINGS if isinstance(row, ReadingRow) else Count.LATE_ENTRIES,
        )
    for row in late.duplicates:
        message = late.messages.get(key_of(row))
        day = day_of(row.received_at_ms)
        if message is not None:
            day = late.days.get(message.message_id, day)
        tallies.add(day, row.gateway_id, row.boot_id, Count.STORE_DUPLICATES)
    insert_quarantine(connection, rows.values())
    tallies.write(connection)


def _is_quarantined(connection: sqlite3.Connection, key: tuple[int, int]) -> bool:
    found = connection.execute(
        "SELECT 1 FROM quarantine WHERE message_id = ? AND position = ?", key
    ).fetchone()
    return found is not None
