"""One day of the journal as a file: `2026-11-24.sqlite` while it may grow, `2026-11-24.packed.sqlite` once compressed.

The open form has a row for each block. The packed form has chunks of some hundred blocks, compressed by zlib; it is never
written again. Both have the head that the day follows, and the index.
"""

import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from ingest.errors import JournalError
from ingest.journal.blocks import Block, Head
from ingest.journal.connections import connect_readable, connect_writable, sync_folder, transaction
from ingest.journal.runs import RunRow, ids_in
from ingest.sqlite_bulk import insert_rows

LAYOUT = 1
OPEN_SUFFIX = ".sqlite"
PACKED_SUFFIX = ".packed.sqlite"
#: Behind the name of a file that is not whole yet.
HALF_MADE = ".new"
TABLES = (
    "CREATE TABLE IF NOT EXISTS day (day INTEGER NOT NULL, follows_id INTEGER NOT NULL, follows_hash BLOB NOT NULL)",
    """CREATE TABLE IF NOT EXISTS block (first_id INTEGER PRIMARY KEY, count INTEGER NOT NULL, hash BLOB NOT NULL,
        body BLOB NOT NULL)""",
    "CREATE TABLE IF NOT EXISTS chunk (first_id INTEGER PRIMARY KEY, last_id INTEGER NOT NULL, body BLOB NOT NULL)",
    # The index grows by flushes: new rows go to the end, however many gateways there are.
    "CREATE TABLE IF NOT EXISTS flush (number INTEGER PRIMARY KEY, last_id INTEGER NOT NULL)",
    """CREATE TABLE IF NOT EXISTS run (flush INTEGER NOT NULL, source INTEGER NOT NULL, first_seq INTEGER NOT NULL,
        last_seq INTEGER NOT NULL, first_id INTEGER NOT NULL, packed BLOB NOT NULL,
        PRIMARY KEY (flush, source)) WITHOUT ROWID""",
)
_FIND = """SELECT run.source, run.first_seq, run.last_seq, run.first_id, run.packed
    FROM flush CROSS JOIN run ON run.flush = flush.number AND run.source = ?
    WHERE flush.number > ? AND flush.number <= ? AND run.first_seq <= ? AND run.last_seq >= ?
    ORDER BY flush.number DESC"""
#: What comes again came mostly a short while ago: so many flushes are looked through first, then all. They cost 2 us each.
_RECENT_FLUSHES = 16
_CHUNK_DECODER = msgspec.msgpack.Decoder(list[tuple[int, int, bytes, bytes]])
#: A chunk that says it is larger than this when unpacked was not written by us. [bytes]
_MAX_CHUNK_BYTES = 1 << 30


class DayFile:
    """A day, open for reading or writing; one thread at a time."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self.connection = connection
        found = connection.execute("SELECT day, follows_id, follows_hash FROM day").fetchone()
        if found is None:
            raise JournalError(
                f"journal {path}: it does not say what it follows: put back a copy that is whole"
            )
        self.day: int = found[0]
        self.follows = Head(found[1], found[2])
        self.is_packed = path.name.endswith(PACKED_SUFFIX)
        self._chunk: list[Block] = []

    def close(self) -> None:
        """Give back the file."""
        self.connection.close()

    def head(self) -> Head:
        """End of the chain after this day."""
        if self.is_packed:
            found = self.connection.execute("SELECT MAX(first_id) FROM chunk").fetchone()
            return self._unpack(found[0])[-1].head if found[0] is not None else self.follows
        row = self.connection.execute(
            "SELECT first_id, count, hash FROM block ORDER BY first_id DESC LIMIT 1"
        ).fetchone()
        return self.follows if row is None else Head(row[0] + row[1] - 1, row[2])

    def blocks_from(self, message_id: int) -> Iterator[Block]:
        """Blocks from the one that holds a message, or the first after it; each is read when it is asked for."""
        if self.is_packed:
            yield from self._packed_from(message_id)
            return
        (first_id,) = self.connection.execute(
            "SELECT MAX(first_id) FROM block WHERE first_id <= ?", (message_id,)
        ).fetchone()
        from_id = message_id if first_id is None else first_id
        while True:
            row = self.connection.execute(
                "SELECT first_id, count, hash, body FROM block WHERE first_id >= ? ORDER BY first_id LIMIT 1",
                (from_id,),
            ).fetchone()
            if row is None:
                return
            block = Block(*row)
            from_id = block.first_id + 1
            if block.first_id + block.length > message_id:
                yield block

    def _packed_from(self, message_id: int) -> Iterator[Block]:
        last_seen = message_id - 1
        while True:
            row = self.connection.execute(
                "SELECT first_id FROM chunk WHERE last_id > ? ORDER BY first_id LIMIT 1", (last_seen,)
            ).fetchone()
            if row is None:
                return
            for block in self._unpack(row[0]):
                if block.head.message_id > last_seen:
                    yield block
                    last_seen = block.head.message_id

    def _unpack(self, first_id: int) -> list[Block]:
        if not self._chunk or self._chunk[0].first_id != first_id:
            (body,) = self.connection.execute(
                "SELECT body FROM chunk WHERE first_id = ?", (first_id,)
            ).fetchone()
            try:
                self._chunk = unpack_chunk(body)
            except (zlib.error, msgspec.MsgspecError, TypeError) as error:
                raise JournalError(
                    f"journal {self.path}: the messages from {first_id} on cannot be unpacked ({error}): put back a copy of "
                    "the file that is whole"
                ) from error
        return self._chunk

    def find_ids(self, *, source: int, seq: int) -> Iterator[int]:
        """Ids under which the index has a seq of a source, the newest first."""
        (last,) = self.connection.execute("SELECT COALESCE(MAX(number), 0) FROM flush").fetchone()
        recent = max(0, last - _RECENT_FLUSHES)
        for after, upto in ((recent, last), (0, recent)):
            for row in self.connection.execute(_FIND, (source, after, upto, seq, seq)).fetchall():
                yield from reversed(ids_in(RunRow(*row), seq))

    def indexed_to(self) -> int:
        """Id of the last message that the index knows; the ones after it are found by reading them."""
        (last_id,) = self.connection.execute("SELECT MAX(last_id) FROM flush").fetchone()
        return self.follows.message_id if last_id is None else int(last_id)

    def index_rows(self) -> list[tuple[int, int]]:
        """Number and last id of each flush of the index."""
        return self.connection.execute("SELECT number, last_id FROM flush ORDER BY number").fetchall()

    def runs_of(self, flush: int) -> list[RunRow]:
        """Index rows of one flush."""
        return [
            RunRow(*row)
            for row in self.connection.execute(
                "SELECT source, first_seq, last_seq, first_id, packed FROM run WHERE flush = ?", (flush,)
            )
        ]

    def insert_block(self, block: Block) -> None:
        """Add a block, in the caller's transaction."""
        self.connection.execute("INSERT INTO block VALUES (?, ?, ?, ?)", block)

    def insert_runs(self, rows: Sequence[RunRow], *, last_id: int) -> None:
        """Add a flush of the index that reaches to `last_id`, in the caller's transaction."""
        (number,) = self.connection.execute("SELECT COALESCE(MAX(number), 0) + 1 FROM flush").fetchone()
        self.connection.execute("INSERT INTO flush VALUES (?, ?)", (number, last_id))
        insert_rows(self.connection, "INSERT INTO run", [(number, *row) for row in rows])


def unpack_chunk(body: bytes) -> list[Block]:
    """Blocks of a chunk.

    Raises
    ------
    zlib.error, msgspec.MsgspecError, TypeError
        If it is none.
    """
    unpacked = zlib.decompressobj().decompress(body, _MAX_CHUNK_BYTES)
    return [Block(*one) for one in _CHUNK_DECODER.decode(unpacked)]


def packed_path(path: Path) -> Path:
    """Name of an open day's file once it is compressed."""
    return path.with_name(path.name.removesuffix(OPEN_SUFFIX) + PACKED_SUFFIX)


def half_packed_path(path: Path) -> Path:
    """File in which an open day is being compressed."""
    return path.with_name(f"{packed_path(path).name}{HALF_MADE}")


def open_day(path: Path) -> DayFile:
    """Day for reading, while another process may write it."""
    return _wrapped(path, connect_readable(path, layout=LAYOUT))


def open_day_for_writing(path: Path) -> DayFile:
    """Day for appending."""
    return _wrapped(path, connect_writable(path, layout=LAYOUT))


def _wrapped(path: Path, connection: sqlite3.Connection) -> DayFile:
    try:
        return DayFile(path, connection)
    except BaseException:
        connection.close()
        raise


def make_day(path: Path, *, day: int, follows: Head) -> DayFile:
    """Day without a message, for writing; made aside and moved here whole, so that no reader sees half of one."""
    fresh = path.with_name(f"{path.name}{HALF_MADE}")
    remove_day(fresh)
    connection = connect_writable(fresh, layout=LAYOUT, tables=TABLES)
    try:
        with transaction(connection):
            connection.execute("INSERT INTO day VALUES (?, ?, ?)", (day, *follows))
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()
    fresh.replace(path)
    sync_folder(path.parent)
    return open_day_for_writing(path)


def remove_day(path: Path) -> None:
    """Remove a day's file and what SQLite keeps beside it."""
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm", f"{path.name}-journal"):
        path.with_name(name).unlink(missing_ok=True)
