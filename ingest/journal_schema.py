"""The journal's file: tables, connections, the chain's hash, and SQLite's errors in ingest's words."""

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from ingest.errors import JournalError, JournalUnavailableError
from ingest.sqlite_errors import can_mend
from ingest.validation import Refusal

#: Stands in the file's header, so that a newer layout is not misread.
_VERSION = 1
#: How long a writer waits for another one's transaction. [s]
_BUSY_TIMEOUT_S = 5.0
#: The hash that the first message is chained to.
GENESIS = bytes(32)

_TABLES = (
    # Every message as it came. `refused` is JSON: [[position or null, code, text], …].
    """CREATE TABLE IF NOT EXISTS message (
        id INTEGER PRIMARY KEY, topic TEXT NOT NULL, payload BLOB NOT NULL, received_at_ms INTEGER NOT NULL,
        outcome TEXT NOT NULL, kind TEXT NOT NULL, gateway_id TEXT NOT NULL, boot_id TEXT, seq INTEGER,
        items INTEGER NOT NULL, refused BLOB NOT NULL, unkeyed_digest BLOB, hash BLOB NOT NULL)""",
    # One message for each key; what comes later with other bytes is outcome 'cloned'.
    """CREATE UNIQUE INDEX IF NOT EXISTS message_key ON message (gateway_id, boot_id, seq)
        WHERE seq IS NOT NULL AND outcome <> 'cloned'""",
    """CREATE INDEX IF NOT EXISTS message_clone ON message (gateway_id, boot_id, seq) WHERE outcome = 'cloned'""",
    """CREATE UNIQUE INDEX IF NOT EXISTS message_unkeyed ON message (unkeyed_digest)
        WHERE unkeyed_digest IS NOT NULL""",
    """CREATE INDEX IF NOT EXISTS message_status ON message (gateway_id, id) WHERE kind = 'status'""",
    # The end of the chain, so that messages cut off its end are missed.
    """CREATE TABLE IF NOT EXISTS head (one INTEGER PRIMARY KEY CHECK (one = 1), id INTEGER NOT NULL,
        hash BLOB NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS seq_range (gateway_id TEXT NOT NULL, boot_id TEXT NOT NULL,
        first INTEGER NOT NULL, last INTEGER NOT NULL, PRIMARY KEY (gateway_id, boot_id, first)) WITHOUT ROWID""",
    # What was refused: position -1 is the whole message; `late` is 1 if the store writer found it.
    """CREATE TABLE IF NOT EXISTS quarantine (message_id INTEGER NOT NULL, position INTEGER NOT NULL,
        late INTEGER NOT NULL, code TEXT NOT NULL, text TEXT NOT NULL, excerpt TEXT NOT NULL,
        PRIMARY KEY (message_id, position)) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS tally (gateway_id TEXT NOT NULL, what TEXT NOT NULL, number INTEGER NOT NULL,
        PRIMARY KEY (gateway_id, what)) WITHOUT ROWID""",
    # How far the store writer is, and what the store had already.
    """CREATE TABLE IF NOT EXISTS writer (one INTEGER PRIMARY KEY CHECK (one = 1), cursor INTEGER NOT NULL,
        store_duplicates INTEGER NOT NULL)""",
    "INSERT OR IGNORE INTO writer VALUES (1, 0, 0)",
)


class ChainedMessage(NamedTuple):
    """The columns of a message that its hash covers, beside the hash before it."""

    message_id: int
    topic: str
    payload: bytes
    received_at_ms: int
    outcome: str
    kind: str
    gateway_id: str
    boot_id: str | None
    seq: int | None
    items: int
    refused: bytes


def has_its_types(message: ChainedMessage) -> bool:
    """Whether a message that was read has the types that it was written with; SQLite itself does not care."""
    wanted = (int, str, bytes, int, str, str, str, str | None, int | None, int, bytes)
    return all(isinstance(column, kind) for column, kind in zip(message, wanted, strict=True))


def chain_hash(previous: bytes, message: ChainedMessage) -> bytes:
    """SHA-256 of the hash before, the message's canonical header (a JSON array) and its payload."""
    header = msgspec.json.encode(
        [
            message.message_id,
            message.topic,
            message.received_at_ms,
            message.outcome,
            message.kind,
            message.gateway_id,
            message.boot_id,
            message.seq,
            message.items,
            hashlib.sha256(message.refused).hexdigest(),
            len(message.payload),
        ]
    )
    return hashlib.sha256(previous + header + message.payload).digest()


def encode_refusals(refusals: tuple[Refusal, ...]) -> bytes:
    """Refusals as the journal keeps them."""
    return msgspec.json.encode(refusals)


def decode_refusals(encoded: bytes) -> tuple[Refusal, ...]:
    """Refusals of a message; the opposite of `encode_refusals`."""
    return msgspec.json.decode(encoded, type=tuple[Refusal, ...])


@contextmanager
def translated_errors(path: Path) -> Iterator[None]:
    """Raise SQLite's errors as ingest's: JournalUnavailableError for what can mend, else JournalError."""
    try:
        yield
    except sqlite3.Error as error:
        if can_mend(error):
            raise JournalUnavailableError(
                f"journal {path}: {error}; see that the disk has room and the file is writable"
            ) from error
        raise JournalError(f"journal {path}: {error}") from error


def open_writable(path: Path) -> sqlite3.Connection:
    """Connection of the one writer; the file is made if absent. WAL, and every commit is on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        # Made aside and moved here whole: who reads while ingest starts sees a journal or none, never half of one.
        fresh = path.with_name(f"{path.name}.new")
        fresh.unlink(missing_ok=True)
        with closing(sqlite3.connect(fresh, isolation_level=None)) as connection:
            _make_tables(connection)
        fresh.replace(path)
    connection = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        _check_version(connection, path)
        _make_tables(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _make_tables(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    for statement in _TABLES:
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {_VERSION}")
    connection.execute("COMMIT")


@contextmanager
def open_readable(path: Path) -> Iterator[sqlite3.Connection]:
    """Connection that only reads, at one instant, while ingest may be writing.

    Raises
    ------
    JournalError
        If the file is absent or no journal.
    """
    if not path.exists():
        raise JournalError(f"no journal at {path}: name the data folder of an ingest that has run")
    with (
        translated_errors(path),
        closing(
            sqlite3.connect(
                f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=_BUSY_TIMEOUT_S, isolation_level=None
            )
        ) as connection,
    ):
        _check_version(connection, path)
        connection.execute("BEGIN")
        yield connection


def _check_version(connection: sqlite3.Connection, path: Path) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > _VERSION:
        raise JournalError(f"journal {path} was written by a newer poolwatch: use that one")
