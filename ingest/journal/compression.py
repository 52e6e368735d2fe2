"""Closed days made small: blocks joined to chunks and compressed, each still verifiable by itself."""

import sqlite3
import zlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from ingest.errors import JournalError
from ingest.journal.blocks import Block, decode_body, fits
from ingest.journal.connections import connect_writable, sync_folder, transaction
from ingest.journal.day_file import (
    LAYOUT,
    OPEN_SUFFIX,
    PACKED_SUFFIX,
    TABLES,
    DayFile,
    open_day,
    open_day_for_writing,
    remove_day,
)
from ingest.journal.days import list_days
from ingest.journal.recent import Recent
from ingest.journal.runs import RunRow, placed_of, rows_of

#: Of messages before compression: more gains little and makes a look-up slower. [bytes]
_CHUNK_BYTES = 1 << 20
_LEVEL = 6
#: Chunks in one transaction of the new file.
_CHUNKS_AT_ONCE = 16
#: Rows of the old index that are merged at once; memory stays bounded, and a day of any size gets few flushes.
_MERGE_ROWS = 200_000
_ENCODER = msgspec.msgpack.Encoder()


def compress_oldest(folder: Path) -> bool:
    """Compress the oldest closed day that is not; whether there are more. The newest day stays open."""
    open_days = [path for path in list(list_days(folder).values())[:-1] if path.name.endswith(OPEN_SUFFIX)]
    open_days = [path for path in open_days if not path.name.endswith(PACKED_SUFFIX)]
    return bool(open_days) and compress_day(open_days[0]) and len(open_days) > 1


def compress_day(path: Path) -> bool:
    """Compress a closed day: `2026-11-24.sqlite` becomes `2026-11-24.packed.sqlite`; False if it is in use, for later.

    The new file is whole and on the disk before it gets its name, and has it before the old one goes. After a kill in
    between both are there and say the same: readers take the new one, and opening the journal removes the old one.

    Raises
    ------
    JournalError
        If the day's chain is broken: it stays as it is, for `verify_journal` to show.
    """
    packed = path.with_name(path.name.removesuffix(OPEN_SUFFIX) + PACKED_SUFFIX)
    fresh = packed.with_name(f"{packed.name}.new")
    remove_day(fresh)
    if not _is_at_rest(path):
        return False
    source = open_day(path)
    try:
        connection = connect_writable(fresh, layout=LAYOUT, tables=TABLES)
        try:
            with transaction(connection):
                connection.execute("INSERT INTO day VALUES (?, ?, ?)", (source.day, *source.follows))
            _pack_blocks(source, connection)
            _merge_index(source, connection)
            connection.execute("PRAGMA journal_mode = DELETE")
        finally:
            connection.close()
    finally:
        source.close()
    fresh.replace(packed)
    sync_folder(path.parent)
    remove_day(path)
    return True


def _is_at_rest(path: Path) -> bool:
    """Have all of a day in its file, nothing beside it; False while another process reads there."""
    day = open_day_for_writing(path)
    try:
        (busy, _, _) = day.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not busy
    finally:
        day.close()


def _pack_blocks(source: DayFile, connection: sqlite3.Connection) -> None:
    rows: list[tuple[int, int, bytes]] = []
    for blocks in _chunks(source):
        packed = zlib.compress(_ENCODER.encode([tuple(block) for block in blocks]), _LEVEL)
        rows.append((blocks[0].first_id, blocks[-1].head.message_id, packed))
        if len(rows) >= _CHUNKS_AT_ONCE:
            _insert_chunks(connection, rows)
    _insert_chunks(connection, rows)


def _insert_chunks(connection: sqlite3.Connection, rows: list[tuple[int, int, bytes]]) -> None:
    with transaction(connection):
        for row in rows:
            connection.execute("INSERT INTO chunk VALUES (?, ?, ?)", row)
    rows.clear()


def _chunks(source: DayFile) -> Iterator[list[Block]]:
    blocks: list[Block] = []
    size = 0
    previous = source.follows
    for block in source.blocks_from(previous.message_id + 1):
        if block.first_id != previous.message_id + 1 or not fits(block, previous, day=source.day):
            raise JournalError(
                f"journal {source.path}: the chain breaks at message {previous.message_id + 1}; the day is not compressed: "
                "`poolwatch journal verify` says more"
            )
        previous = block.head
        blocks.append(block)
        size += len(block.body)
        if size >= _CHUNK_BYTES:
            yield blocks
            blocks, size = [], 0
    if blocks:
        yield blocks


def _merge_index(source: DayFile, connection: sqlite3.Connection) -> None:
    """Write the index with as few flushes as memory allows; what it did not have yet is added."""
    fresh = DayFile(source.path, connection)
    waiting: list[RunRow] = []
    for number, last_id in source.index_rows():
        waiting += source.runs_of(number)
        if len(waiting) >= _MERGE_ROWS:
            _write_runs(fresh, waiting, last_id)
            waiting = []
    tail = Recent()
    for block in source.blocks_from(source.indexed_to() + 1):
        for index, record in enumerate(decode_body(block.body)):
            if block.first_id + index > source.indexed_to():
                tail.add_record(record, block.first_id + index)
    _write_runs(fresh, [*waiting, *tail.rows()], source.head().message_id)


def _write_runs(fresh: DayFile, rows: list[RunRow], last_id: int) -> None:
    with transaction(fresh.connection):
        fresh.insert_runs(rows_of([placed_of(rows)]) if rows else [], last_id=last_id)
