"""Tables of the SQLite store, and how a connection to it is opened."""

import sqlite3
import time
from pathlib import Path

#: Readings are clustered by 10 minutes: a batch of many pools touches few pages, a day of one is 144 seeks.
BUCKET_MS = 600_000
HOUR_MS = 3_600_000
BUSY_TIMEOUT_S = 5.0

_VERSION = 2
_TABLES = (
    # Pools, sensors, quantities, gateways and boots, once each; rows carry the number.
    "CREATE TABLE IF NOT EXISTS name (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE)",
    """CREATE TABLE IF NOT EXISTS series (
        id INTEGER PRIMARY KEY, pool INTEGER NOT NULL, sensor INTEGER NOT NULL, quantity INTEGER NOT NULL,
        UNIQUE (pool, sensor, quantity))""",
    # Messages that readings came in. One may be here twice, if its readings were written in two steps.
    """CREATE TABLE IF NOT EXISTS message (
        id INTEGER PRIMARY KEY, gateway INTEGER NOT NULL, boot INTEGER NOT NULL, seq INTEGER NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS reading (
        bucket INTEGER NOT NULL, series INTEGER NOT NULL, measured_at_ms INTEGER NOT NULL,
        value REAL, status INTEGER NOT NULL, received_at_ms INTEGER NOT NULL, stored_at_ms INTEGER NOT NULL,
        message INTEGER NOT NULL, position INTEGER NOT NULL, "by" TEXT, method TEXT,
        PRIMARY KEY (bucket, series, measured_at_ms)) WITHOUT ROWID""",
    # Readings that lost against a smaller (received_at, gateway, boot, seq): a repeated write answers as the
    # first did.
    """CREATE TABLE IF NOT EXISTS displaced (
        series INTEGER NOT NULL, measured_at_ms INTEGER NOT NULL,
        by_gateway INTEGER NOT NULL, by_boot INTEGER NOT NULL, by_seq INTEGER NOT NULL, by_position INTEGER NOT NULL,
        value REAL, status INTEGER NOT NULL, received_at_ms INTEGER NOT NULL,
        gateway INTEGER NOT NULL, boot INTEGER NOT NULL, seq INTEGER NOT NULL, position INTEGER NOT NULL,
        "by" TEXT, method TEXT)""",
    "CREATE INDEX IF NOT EXISTS displaced_key ON displaced (series, measured_at_ms)",
    # Where each series begins and ends: the newest reading is then one seek.
    """CREATE TABLE IF NOT EXISTS extent (
        series INTEGER PRIMARY KEY, first_ms INTEGER NOT NULL, latest_ms INTEGER NOT NULL,
        readings INTEGER NOT NULL)""",
    # `readings_so_far` sums `rows` of readings up to this arrival, so that the account never scans.
    """CREATE TABLE IF NOT EXISTS arrival (
        id INTEGER PRIMARY KEY, kind TEXT NOT NULL, pool_id TEXT NOT NULL, hour_ms INTEGER NOT NULL,
        rows INTEGER NOT NULL, stored_at_ms INTEGER NOT NULL, readings_so_far INTEGER NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS logbook (
        gateway INTEGER NOT NULL, boot INTEGER NOT NULL, seq INTEGER NOT NULL, position INTEGER NOT NULL,
        pool INTEGER NOT NULL, kind TEXT NOT NULL, at_ms INTEGER NOT NULL, received_at_ms INTEGER NOT NULL,
        stored_at_ms INTEGER NOT NULL, body BLOB NOT NULL,
        PRIMARY KEY (gateway, boot, seq, position)) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS logbook_pool ON logbook (pool, at_ms)",
    # Of two that came within a millisecond, the number tells which came last.
    """CREATE TABLE IF NOT EXISTS gateway_status (
        id INTEGER PRIMARY KEY, gateway_id TEXT NOT NULL, received_at_ms INTEGER NOT NULL, boot_id TEXT NOT NULL,
        state TEXT NOT NULL, body BLOB NOT NULL, UNIQUE (gateway_id, received_at_ms, boot_id, state))""",
    # A version may come into force again after another one: the instant belongs to the key.
    """CREATE TABLE IF NOT EXISTS registry_version (
        accepted_at_ms INTEGER NOT NULL, sha256 TEXT NOT NULL, text TEXT NOT NULL,
        PRIMARY KEY (accepted_at_ms, sha256)) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS verdict (
        id INTEGER PRIMARY KEY, verdict_id TEXT NOT NULL, revision INTEGER NOT NULL, kind TEXT NOT NULL,
        pool_id TEXT NOT NULL, state TEXT NOT NULL, start_ms INTEGER NOT NULL, end_ms INTEGER,
        judged_at_ms INTEGER NOT NULL, body BLOB NOT NULL, UNIQUE (verdict_id, revision))""",
    """CREATE TABLE IF NOT EXISTS current_verdict (
        verdict_id TEXT PRIMARY KEY, revision INTEGER NOT NULL, pool_id TEXT NOT NULL,
        start_ms INTEGER NOT NULL, end_ms INTEGER) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS current_verdict_pool ON current_verdict (pool_id, start_ms)",
    """CREATE TABLE IF NOT EXISTS pool_state (
        id INTEGER PRIMARY KEY, pool_id TEXT NOT NULL, at_ms INTEGER NOT NULL, state TEXT NOT NULL,
        body BLOB NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS latest_pool_state (
        pool_id TEXT PRIMARY KEY, id INTEGER NOT NULL REFERENCES pool_state) WITHOUT ROWID""",
    "CREATE TABLE IF NOT EXISTS progress (reader TEXT PRIMARY KEY, cursor TEXT NOT NULL) WITHOUT ROWID",
    """CREATE TABLE IF NOT EXISTS publication (
        id INTEGER PRIMARY KEY, pool INTEGER NOT NULL, published_at_ms INTEGER NOT NULL,
        content_hash TEXT NOT NULL, replica TEXT NOT NULL, state TEXT NOT NULL, stored_at_ms INTEGER NOT NULL,
        UNIQUE (pool, content_hash, replica, published_at_ms))""",
    """CREATE TABLE IF NOT EXISTS published_value (
        pool INTEGER NOT NULL, sensor INTEGER NOT NULL, quantity INTEGER NOT NULL,
        published_at_ms INTEGER NOT NULL, publication INTEGER NOT NULL REFERENCES publication,
        position INTEGER NOT NULL,
        measured_at_ms INTEGER NOT NULL, value REAL, status INTEGER NOT NULL, stored_at_ms INTEGER NOT NULL,
        PRIMARY KEY (pool, sensor, quantity, published_at_ms, publication, position)) WITHOUT ROWID""",
    # Each reading that was ever published with a value, once.
    """CREATE TABLE IF NOT EXISTS published_reading (
        id INTEGER PRIMARY KEY, pool INTEGER NOT NULL, sensor INTEGER NOT NULL, quantity INTEGER NOT NULL,
        measured_at_ms INTEGER NOT NULL, UNIQUE (pool, sensor, quantity, measured_at_ms))""",
)


def connect(path: Path) -> sqlite3.Connection:
    """Open a connection whose commits survive a power cut; transactions are begun by hand.

    Raises
    ------
    sqlite3.Error
        If the file cannot be opened or is no database.
    """
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    try:
        _enter_wal(connection)
        connection.execute("PRAGMA synchronous = FULL")
    except BaseException:
        connection.close()
        raise
    return connection


def _enter_wal(connection: sqlite3.Connection) -> None:
    # The switch to WAL answers "locked" at once when two processes open a new file: no busy_timeout there.
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def create_tables(connection: sqlite3.Connection) -> None:
    """Make what is missing.

    Raises
    ------
    ValueError
        If the file has another layout than this poolwatch writes.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > _VERSION:
        raise ValueError(f"it has layout {version}, this poolwatch knows layout {_VERSION}: use a newer one")
    if 0 < version < _VERSION:
        raise ValueError(
            f"it has layout {version}, which only older versions of poolwatch read; this one knows layout {_VERSION}: "
            "keep the file with the older version, and let this one fill a new file from the journal"
        )
    if version == _VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in _TABLES:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {_VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
