"""A journal as another process sees it: the checkpoint, and the messages after it folded in. Nothing is written."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ingest.errors import JournalError
from ingest.journal.blocks import message_of
from ingest.journal.connections import translated_errors
from ingest.journal.days import Days
from ingest.journal.records import JournalMessage
from ingest.journal.state import State, fold_block
from ingest.journal.state_file import NAME, Marks, SettledState, open_state, read_marks, read_removed


@dataclass(frozen=True, slots=True)
class JournalView:
    """One instant of a journal."""

    state_file: sqlite3.Connection
    marks: Marks
    state: State
    days: Days


@contextmanager
def open_view(folder: Path) -> Iterator[JournalView]:
    """See a journal at one instant, while ingest may be running or was killed.

    Raises
    ------
    JournalError
        If there is no journal in the folder, or it is damaged.
    """
    path = folder / NAME
    if not path.exists():
        raise JournalError(
            f"no journal at {folder}: name the data folder of an ingest that has run; it also makes {NAME} again "
            "if that is lost"
        )
    with translated_errors(folder), Days(folder) as days:
        connection = open_state(path)
        try:
            connection.execute("BEGIN")
            marks = read_marks(connection)
            days.days()
            day = days.day_holding(marks.head.message_id + 1)
            state = State(SettledState(connection), head=marks.head, day=day or 0)
            for block_day, block in days.blocks_from(marks.head.message_id + 1):
                state.turn_to(block_day)
                fold_block(state, block)
            state.turn_to(state.day + 1)  # all counts of today beside those of other days
            yield JournalView(connection, marks, state, days)
        finally:
            connection.close()


def messages_of(folder: Path, *, from_id: int = 1) -> Iterator[JournalMessage]:
    """Every message from an id on, in order and in bounded memory; from the oldest that retention left.

    Raises
    ------
    JournalError
        If messages are missing on the way.
    """
    path = folder / NAME
    first_id = from_id
    with translated_errors(folder), Days(folder) as days:
        if path.exists():
            connection = open_state(path)
            try:
                first_id = max(from_id, read_removed(connection).message_id + 1)
            finally:
                connection.close()
        for message_id, _, record in days.records_from(first_id):
            yield message_of(record, message_id)
