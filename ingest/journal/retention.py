"""Removing old days, and what a kill left behind."""

import sqlite3
from pathlib import Path

from ingest.journal.blocks import day_name, day_of
from ingest.journal.connections import sync_folder, transaction
from ingest.journal.day_file import (
    HALF_MADE,
    OPEN_SUFFIX,
    PACKED_SUFFIX,
    half_packed_path,
    open_day,
    remove_day,
)
from ingest.journal.days import list_days
from ingest.journal.state_file import read_marks


def prune(folder: Path, state: sqlite3.Connection, *, keep_days: int, now_ms: int) -> list[str]:
    """Remove days before the last `keep_days`, oldest first, up to one that is not wholly in the store.

    Where the removed ones ended is noted first, so that verification goes on from there. The newest day stays whatever its
    age. Counts, seqs and quarantine's excerpts outlive their day.
    """
    marks = read_marks(state)
    removed: list[str] = []
    for day, path in list(list_days(folder).items())[:-1]:
        if day > day_of(now_ms) - keep_days:
            break
        file = open_day(path)
        head = file.head()
        file.close()
        # A checkpoint that is behind would have to read what is removed here.
        if head.message_id > min(marks.cursor, marks.head.message_id):
            break
        with transaction(state):
            state.execute("INSERT OR REPLACE INTO removed VALUES (?, ?, ?)", (day, *head))
            state.execute("DELETE FROM digest WHERE message_id <= ?", (head.message_id,))
        remove_day(half_packed_path(path))
        remove_day(path)
        sync_folder(folder)
        removed.append(day_name(day))
    return removed


def clean(folder: Path) -> None:
    """Finish what a kill interrupted: half-made files go, and an open day whose compressed form is there.

    A day that is half compressed stays, to be gone on with.
    """
    for packed in folder.glob(f"????-??-??{PACKED_SUFFIX}"):
        remove_day(packed.with_name(packed.name.removesuffix(PACKED_SUFFIX) + OPEN_SUFFIX))
    kept = {half_packed_path(path).name for path in list_days(folder).values() if not _is_packed(path)}
    for fresh in [*folder.glob(f"*{HALF_MADE}"), *folder.glob(f"*{HALF_MADE}-*")]:
        name, _, _ = fresh.name.partition(HALF_MADE)
        if name + HALF_MADE not in kept:
            fresh.unlink(missing_ok=True)


def _is_packed(path: Path) -> bool:
    return path.name.endswith(PACKED_SUFFIX)
