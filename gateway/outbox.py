"""Store-and-forward on disk: a message stays here until a receipt names it.

SQLite in WAL mode with synchronous FULL: what `append` returned survives a kill and a power cut. One process, one
thread; a lock file refuses a second process.
"""

import fcntl
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, NamedTuple

from gateway.contract.receipts import Receipt
from gateway.errors import OutboxError

#: A message that the broker took this often without a receipt goes to the dead letters.
MOST_PUBACKS = 5
#: Default room for payloads; beyond it the oldest are dropped, and recorded as dropped.
DEFAULT_MAX_BYTES = 256 * 1024 * 1024
#: When room is made, this share of it is freed at once, so that it is not made for each message.
_DROP_SHARE = 0.02

_COLUMNS = "id, boot_id, seq, topic, payload, readings, created_at_ms"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS boot (
  boot_id TEXT PRIMARY KEY, begun_at_ms INTEGER NOT NULL, next_seq INTEGER NOT NULL DEFAULT 0,
  readings INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS message (
  id INTEGER PRIMARY KEY AUTOINCREMENT, boot_id TEXT NOT NULL, seq INTEGER NOT NULL, topic TEXT NOT NULL,
  payload BLOB NOT NULL, readings INTEGER NOT NULL, created_at_ms INTEGER NOT NULL, pubacks INTEGER NOT NULL DEFAULT 0,
  UNIQUE (boot_id, seq));
CREATE TABLE IF NOT EXISTS dead_letter (
  id INTEGER PRIMARY KEY, boot_id TEXT NOT NULL, seq INTEGER NOT NULL, topic TEXT NOT NULL, payload BLOB NOT NULL,
  readings INTEGER NOT NULL, created_at_ms INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS dropped (
  id INTEGER PRIMARY KEY, from_ms INTEGER NOT NULL, to_ms INTEGER NOT NULL, messages INTEGER NOT NULL,
  readings INTEGER NOT NULL);
"""


class OutboxMessage(NamedTuple):
    """A kept message. `created_at_ms` is when it was appended."""

    message_id: int
    boot_id: str
    seq: int
    topic: str
    payload: bytes
    readings: int
    created_at_ms: int


class Draft(NamedTuple):
    """A message to append: its topic, its payload once the seq is known, and how many readings it carries."""

    topic: str
    encode: Callable[[int], bytes]
    readings: int


class Dropped(NamedTuple):
    """Messages given up for lack of room: the span of their appending, and how much they were."""

    from_ms: int
    to_ms: int
    messages: int
    readings: int


@dataclass(frozen=True, slots=True)
class OutboxAccount:
    """What this gateway ever appended, and where it is. `boots`: next seq of each boot."""

    messages_sent: int
    readings_sent: int
    messages_pending: int
    readings_pending: int
    messages_dead: int
    readings_dead: int
    messages_dropped: int
    readings_dropped: int
    boots: dict[str, int] = field(default_factory=dict)


class Outbox:
    """The outbox of one gateway.

    Parameters
    ----------
    path : Path
        The file; its folder is made.
    max_bytes : int
        Room for payloads. [byte]

    Raises
    ------
    OutboxError
        If another process has it open, or the file is no outbox.
    """

    def __init__(self, path: Path, *, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        self.path = path
        self._max_bytes = max_bytes
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = _take_lock(path.with_suffix(".lock"))
        try:
            self._connection = sqlite3.connect(path, isolation_level=None)
        except sqlite3.Error as error:
            self._lock.close()
            raise OutboxError(f"{path} cannot be opened: {error}") from error
        try:
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=FULL")
            self._connection.executescript(_SCHEMA)
            (self._bytes,) = self._connection.execute(
                "SELECT coalesce(sum(length(payload)), 0) FROM message"
            ).fetchone()
        except sqlite3.Error as error:
            self._connection.close()
            self._lock.close()
            raise OutboxError(
                f"{path} cannot be used as an outbox: {error}. Move it away to begin an empty one, and keep it: "
                "it may hold readings"
            ) from error
        self._boot_id: str | None = None

    def begin_boot(self, boot_id: str, now_ms: int) -> None:
        """Start a new boot: seq begins at 0 again. OutboxError if this boot id was used before."""
        with self._transaction():
            if self._connection.execute("SELECT 1 FROM boot WHERE boot_id = ?", (boot_id,)).fetchone():
                raise OutboxError(f"boot {boot_id!r} was begun before: every start needs an id of its own")
            self._connection.execute(
                "INSERT INTO boot (boot_id, begun_at_ms) VALUES (?, ?)", (boot_id, now_ms)
            )
        self._boot_id = boot_id

    @property
    def boot_id(self) -> str:
        """Current boot; OutboxError before `begin_boot`."""
        if self._boot_id is None:
            raise OutboxError("no boot was begun: call begin_boot first")
        return self._boot_id

    def append(self, drafts: Sequence[Draft], now_ms: int) -> list[OutboxMessage]:
        """Keep messages, in one commit, and return them with their seq. They are on disk when this returns."""
        messages = []
        boot_id = self.boot_id
        with self._transaction():
            (seq,) = self._connection.execute(
                "SELECT next_seq FROM boot WHERE boot_id = ?", (boot_id,)
            ).fetchone()
            for draft in drafts:
                payload = draft.encode(seq)
                inserted = self._connection.execute(
                    "INSERT INTO message (boot_id, seq, topic, payload, readings, created_at_ms) VALUES (?, ?, ?, ?, ?, ?)",
                    (boot_id, seq, draft.topic, payload, draft.readings, now_ms),
                )
                assert inserted.lastrowid is not None  # noqa: S101 - true of every INSERT
                messages.append(
                    OutboxMessage(
                        inserted.lastrowid, boot_id, seq, draft.topic, payload, draft.readings, now_ms
                    )
                )
                seq += 1
            self._connection.execute(
                "UPDATE boot SET next_seq = ?, readings = readings + ? WHERE boot_id = ?",
                (seq, sum(draft.readings for draft in drafts), boot_id),
            )
            added = sum(len(message.payload) for message in messages)
            freed = self._make_room(self._bytes + added - self._max_bytes)
        self._bytes += added - freed
        return messages

    def _make_room(self, over_bytes: int) -> int:
        """Drop the oldest messages if there is too much by `over_bytes`; returns what was freed. [byte]"""
        if over_bytes <= 0:
            return 0
        wanted = over_bytes + int(self._max_bytes * _DROP_SHARE)
        freed = messages = readings = 0
        first_ms: int | None = None
        last_ms = last_id = 0
        for message_id, size, count, created_at_ms in self._connection.execute(
            "SELECT id, length(payload), readings, created_at_ms FROM message ORDER BY id"
        ):
            if freed >= wanted:
                break
            first_ms = created_at_ms if first_ms is None else first_ms
            last_ms, last_id = created_at_ms, message_id
            freed, messages, readings = freed + size, messages + 1, readings + count
        self._connection.execute("DELETE FROM message WHERE id <= ?", (last_id,))
        self._connection.execute(
            "INSERT INTO dropped (from_ms, to_ms, messages, readings) VALUES (?, ?, ?, ?)",
            (first_ms, last_ms, messages, readings),
        )
        return freed

    def apply_receipt(self, receipt: Receipt) -> int:
        """Forget the messages that a receipt names, and no other; returns how many there were."""
        forgotten = 0
        with self._transaction():
            for first, last in receipt.stored:
                key = (receipt.boot_id, first, last)
                (size, count) = self._connection.execute(
                    "SELECT coalesce(sum(length(payload)), 0), count(*) FROM message "
                    "WHERE boot_id = ? AND seq BETWEEN ? AND ?",
                    key,
                ).fetchone()
                self._connection.execute("DELETE FROM message WHERE boot_id = ? AND seq BETWEEN ? AND ?", key)
                self._bytes -= size
                forgotten += count
        return forgotten

    def count_puback(self, message_id: int) -> bool:
        """Count that the broker took a message once more; True if that made it a dead letter."""
        with self._transaction():
            self._connection.execute("UPDATE message SET pubacks = pubacks + 1 WHERE id = ?", (message_id,))
            row = self._connection.execute(
                "SELECT pubacks, length(payload) FROM message WHERE id = ?", (message_id,)
            ).fetchone()
            if row is None or row[0] < MOST_PUBACKS:
                return False
            self._connection.execute(
                f"INSERT INTO dead_letter SELECT {_COLUMNS} FROM message WHERE id = ?",
                (message_id,),
            )
            self._connection.execute("DELETE FROM message WHERE id = ?", (message_id,))
            self._bytes -= row[1]
        return True

    def pending(self, *, after_id: int = 0, limit: int = 100) -> list[OutboxMessage]:
        """Kept messages after an id, oldest first, of every boot."""
        return list(
            self._select(
                f"SELECT {_COLUMNS} FROM message WHERE id > ? ORDER BY id LIMIT ?",
                (after_id, limit),
            )
        )

    def dead_letters(self) -> list[OutboxMessage]:
        """Messages that the broker took five times and nobody confirmed."""
        return list(
            self._select(
                f"SELECT {_COLUMNS} FROM dead_letter ORDER BY id",
                (),
            )
        )

    def _select(self, query: str, parameters: tuple[int, ...]) -> Iterator[OutboxMessage]:
        for row in self._connection.execute(query, parameters):
            yield OutboxMessage(*row)

    def ranges(self) -> list[tuple[str, int, int]]:
        """What is kept, for the status: (boot_id, first seq, next seq) of each boot that has something."""
        return self._connection.execute(
            "SELECT m.boot_id, min(m.seq), max(m.seq) + 1 FROM message m GROUP BY m.boot_id ORDER BY min(m.id)"
        ).fetchall()

    def next_seq(self) -> int:
        """Seq of the next message of the current boot."""
        (seq,) = self._connection.execute(
            "SELECT next_seq FROM boot WHERE boot_id = ?", (self.boot_id,)
        ).fetchone()
        return int(seq)

    def dropped(self) -> list[Dropped]:
        """What was given up for lack of room, oldest first."""
        return [
            Dropped(*row)
            for row in self._connection.execute(
                "SELECT from_ms, to_ms, messages, readings FROM dropped ORDER BY id"
            )
        ]

    def hours_left(self, *, bytes_per_hour: float) -> float | None:
        """How long the room lasts without receipts at a rate; None while no rate is known. [h]"""
        return None if bytes_per_hour <= 0 else max(0.0, (self._max_bytes - self._bytes) / bytes_per_hour)

    def account(self) -> OutboxAccount:
        """Totals since the outbox was made."""
        return _account(self._connection)

    def close(self) -> None:
        """Give back file and lock; what is kept stays."""
        self._connection.close()
        self._lock.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            yield
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._rollback()
            raise OutboxError(
                f"{self.path}: {error}. Is the disk full? What was kept before is safe"
            ) from error
        except BaseException:
            self._rollback()
            raise

    def _rollback(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")


def read_account(path: Path) -> OutboxAccount:
    """Account of an outbox that another process may have open; OutboxError if there is none."""
    if not path.exists():
        raise OutboxError(f"no outbox at {path}")
    try:
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        try:
            return _account(connection)
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise OutboxError(f"{path} cannot be read: {error}") from error


def _account(connection: sqlite3.Connection) -> OutboxAccount:
    def totals(query: str) -> tuple[int, int]:
        messages, readings = connection.execute(query).fetchone()
        return messages, readings

    sent = totals("SELECT coalesce(sum(next_seq), 0), coalesce(sum(readings), 0) FROM boot")
    pending = totals("SELECT count(*), coalesce(sum(readings), 0) FROM message")
    dead = totals("SELECT count(*), coalesce(sum(readings), 0) FROM dead_letter")
    dropped = totals("SELECT coalesce(sum(messages), 0), coalesce(sum(readings), 0) FROM dropped")
    boots = dict(connection.execute("SELECT boot_id, next_seq FROM boot").fetchall())
    return OutboxAccount(*sent, *pending, *dead, *dropped, boots=boots)


def _take_lock(path: Path) -> IO[str]:
    lock = path.open("w", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise OutboxError(
            f"{path.with_suffix('.sqlite')} is in use by another process of this gateway: end that one, or wait"
        ) from error
    return lock
