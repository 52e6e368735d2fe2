"""Closed days made small: blocks joined to chunks and compressed, each still verifiable by itself.

A day is compressed in parts of about a second. What is done lies in the new file, committed, so that a stop or a kill costs
one part; the file gets its name when it is whole.
"""

import sqlite3
import zlib
from collections.abc import Iterator
from enum import Enum
from itertools import islice
from pathlib import Path

import msgspec

from ingest.errors import JournalError
from ingest.journal.blocks import Block, Head, decode_body, fits
from ingest.journal.connections import connect_writable, sync_folder, transaction
from ingest.journal.day_file import (
    LAYOUT,
    OPEN_SUFFIX,
    PACKED_SUFFIX,
    TABLES,
    DayFile,
    half_packed_path,
    open_day,
    open_day_for_writing,
    packed_path,
    remove_day,
    unpack_chunk,
)
from ingest.journal.days import list_days
from ingest.journal.recent import Recent
from ingest.journal.runs import RunRow, placed_of, rows_of

#: Of messages before compression: more gains little and makes a look-up slower. [bytes]
_CHUNK_BYTES = 1 << 20
_LEVEL = 6
#: Chunks in one part, and one transaction of the new file.
_CHUNKS_AT_ONCE = 16
#: Rows of the old index, and messages, that are merged in one part; memory stays bounded, and a day of any size gets few
#: flushes.
_MERGE_ROWS = 60_000
_MERGE_MESSAGES = 1_000_000
_ENCODER = msgspec.msgpack.Encoder()


class Part(Enum):
    """What a part of the work came to."""

    MORE = "more of this day is to be done"
    DONE = "the day is compressed"
    IN_USE = "another process reads the day: for later"


def compress_some(folder: Path) -> bool:
    """Compress a part of the oldest closed day that is not compressed; whether there is more. The newest day stays open."""
    open_days = [path for path in list(list_days(folder).values())[:-1] if path.name.endswith(OPEN_SUFFIX)]
    open_days = [path for path in open_days if not path.name.endswith(PACKED_SUFFIX)]
    if not open_days:
        return False
    part = compress_part(open_days[0])
    return part is Part.MORE or (part is Part.DONE and len(open_days) > 1)


def compress_part(path: Path) -> Part:
    """Do the next part of a closed day: `2026-11-24.sqlite` becomes `2026-11-24.packed.sqlite` with the last one.

    The new file is whole and on the disk before it gets its name, and has it before the old one goes. After a kill in
    between both are there and say the same: readers take the new one, and opening the journal removes the old one.

    Raises
    ------
    JournalError
        If the day's chain is broken: it stays as it is, for `verify_journal` to show.
    """
    fresh = half_packed_path(path)
    if not fresh.exists() and not _is_at_rest(path):
        return Part.IN_USE
    try:
        source = open_day(path)
        try:
            is_whole = _pack_part(source, fresh)
        finally:
            source.close()
    except (sqlite3.Error, JournalError):
        # A disk without room gets it back, and what cannot be gone on with is begun anew.
        remove_day(fresh)
        raise
    if not is_whole:
        return Part.MORE
    fresh.replace(packed_path(path))
    sync_folder(path.parent)
    remove_day(path)
    return Part.DONE


def _pack_part(source: DayFile, fresh: Path) -> bool:
    """Do a part in the new file; whether that is whole, with nothing beside it."""
    connection = connect_writable(fresh, layout=LAYOUT, tables=TABLES)
    try:
        if connection.execute("SELECT 1 FROM day").fetchone() is None:
            with transaction(connection):
                connection.execute("INSERT INTO day VALUES (?, ?, ?)", (source.day, *source.follows))
        is_whole = _pack_blocks(source, connection) and _merge_index(source, connection)
        if is_whole:
            connection.execute("PRAGMA journal_mode = DELETE")
        return is_whole
    finally:
        connection.close()


def _is_at_rest(path: Path) -> bool:
    """Have all of a day in its file, nothing beside it; False while another process reads there."""
    day = open_day_for_writing(path)
    try:
        (busy, _, _) = day.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not busy
    finally:
        day.close()


def _pack_blocks(source: DayFile, connection: sqlite3.Connection) -> bool:
    """Pack the next blocks; True once there are none."""
    begin = _packed_to(source, connection)
    if begin == source.head():
        return True
    rows = [
        (
            blocks[0].first_id,
            blocks[-1].head.message_id,
            zlib.compress(_ENCODER.encode([tuple(block) for block in blocks]), _LEVEL),
        )
        for blocks in islice(_chunks(source, begin), _CHUNKS_AT_ONCE)
    ]
    if not rows:
        raise _broken(source, begin)
    with transaction(connection):
        connection.executemany("INSERT INTO chunk VALUES (?, ?, ?)", rows)
    return False


def _packed_to(source: DayFile, connection: sqlite3.Connection) -> Head:
    """End of the chain in the new file."""
    row = connection.execute("SELECT body FROM chunk ORDER BY first_id DESC LIMIT 1").fetchone()
    if row is None:
        return source.follows
    try:
        return unpack_chunk(row[0])[-1].head
    except (zlib.error, msgspec.MsgspecError, TypeError) as error:
        raise JournalError(
            f"journal {source.path}: what was compressed of it is damaged ({error}): it is begun anew"
        ) from error


def _chunks(source: DayFile, previous: Head) -> Iterator[list[Block]]:
    blocks: list[Block] = []
    size = 0
    for block in source.blocks_from(previous.message_id + 1):
        if block.first_id != previous.message_id + 1 or not fits(block, previous, day=source.day):
            raise _broken(source, previous)
        previous = block.head
        blocks.append(block)
        size += len(block.body)
        if size >= _CHUNK_BYTES:
            yield blocks
            blocks, size = [], 0
    if blocks:
        yield blocks


def _broken(source: DayFile, previous: Head) -> JournalError:
    return JournalError(
        f"journal {source.path}: the chain breaks at message {previous.message_id + 1}; the day is not compressed: "
        "`poolwatch journal verify` says more"
    )


def _merge_index(source: DayFile, connection: sqlite3.Connection) -> bool:
    """Merge the next flushes of the index, at last with what it did not have yet; True once it reaches to the end."""
    fresh = DayFile(source.path, connection)
    merged_to = fresh.indexed_to()
    waiting: list[RunRow] = []
    for number, last_id in source.index_rows():
        if last_id <= merged_to:
            continue
        waiting += source.runs_of(number)
        if len(waiting) >= _MERGE_ROWS or last_id - merged_to >= _MERGE_MESSAGES:
            _write_runs(fresh, waiting, last_id)
            return False
    tail = Recent()
    indexed_to = source.indexed_to()
    for block in source.blocks_from(indexed_to + 1):
        for index, record in enumerate(decode_body(block.body)):
            if block.first_id + index > indexed_to:
                tail.add_record(record, block.first_id + index)
    _write_runs(fresh, [*waiting, *tail.rows()], source.head().message_id)
    return True


def _write_runs(fresh: DayFile, rows: list[RunRow], last_id: int) -> None:
    with transaction(fresh.connection):
        fresh.insert_runs(rows_of([placed_of(rows)]) if rows else [], last_id=last_id)
