"""Store-and-forward on disk: a message stays here until a receipt names it.

SQLite in WAL mode with synchronous FULL: what `append` returned survives a kill and a power cut. One process, one
thread; a lock file refuses a second process.
"""

import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from gateway.contract.receipts import Receipt
from gateway.errors import OutboxError
from gateway.outbox_file import OutboxAccount, account_of, open_outbox_file, read_account

__all__ = [
    "DEFAULT_MAX_BYTES",
    "MOST_PUBACKS",
    "Draft",
    "Dropped",
    "Outbox",
    "OutboxAccount",
    "OutboxMessage",
    "read_account",
]

#: A message that the broker took this often without a receipt goes to the dead letters.
MOST_PUBACKS = 5
#: Default room for payloads; beyond it the oldest are dropped, and recorded as dropped.
DEFAULT_MAX_BYTES = 256 * 1024 * 1024
#: When room is made, this share of it is freed at once, so that it is not made for each message.
_DROP_SHARE = 0.02

_COLUMNS = "id, boot_id, seq, topic, payload, readings, created_at_ms"


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
    """Readings given up for lack of room: the span of their appending, and how much they were."""

    from_ms: int
    to_ms: int
    messages: int
    readings: int


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
    OutboxHeldError
        If another process has it open.
    OutboxError
        If the file is no outbox. So does every method when the disk is full or the file damaged; what was kept stays.
    """

    def __init__(self, path: Path, *, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._boot_id: str | None = None
        self._connection, self._lock = open_outbox_file(path)
        try:
            # Dead letters take room too, but only what may still be sent is dropped to make some.
            self._bytes = self._number(
                "SELECT coalesce(sum(length(payload)), 0) FROM "
                "(SELECT payload FROM message UNION ALL SELECT payload FROM dead_message)"
            )
            self._dead_in_silence = self._number("SELECT count(*) FROM dead_message WHERE in_silence")
        except BaseException:
            self.close()
            raise

    def begin_boot(self, boot_id: str, now_ms: int) -> None:
        """Start a new boot: seq begins at 0 again. OutboxError if this boot id was used before."""
        with self._transaction():
            if self._rows("SELECT 1 FROM boot WHERE boot_id = ?", (boot_id,)):
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
            seq = self.next_seq()
            for draft in drafts:
                payload = draft.encode(seq)
                inserted = self._connection.execute(
                    "INSERT INTO message (boot_id, seq, topic, payload, readings, created_at_ms) VALUES (?, ?, ?, ?, ?, ?)",
                    (boot_id, seq, draft.topic, payload, draft.readings, now_ms),
                )
                message_id = inserted.lastrowid or 0
                messages.append(
                    OutboxMessage(message_id, boot_id, seq, draft.topic, payload, draft.readings, now_ms)
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
        freed = messages = readings = last_id = 0
        first_ms: int | None = None
        last_ms = 0
        for message_id, size, count, created_at_ms in self._connection.execute(
            "SELECT id, length(payload), readings, created_at_ms FROM message ORDER BY id"
        ):
            if freed >= wanted:
                break
            first_ms = created_at_ms if first_ms is None else first_ms
            last_ms, last_id = created_at_ms, message_id
            freed, messages, readings = freed + size, messages + 1, readings + count
        self._connection.execute("DELETE FROM message WHERE id <= ?", (last_id,))
        self._record_drop(Dropped(last_ms if first_ms is None else first_ms, last_ms, messages, readings))
        return freed

    def _record_drop(self, span: Dropped) -> None:
        self._connection.execute(
            "INSERT INTO dropped (from_ms, to_ms, messages, readings) VALUES (?, ?, ?, ?)", span
        )

    def record_unkept(self, *, from_ms: int, to_ms: int, readings: int) -> None:
        """Record readings that no message ever carried, because the disk was full for too long."""
        with self._transaction():
            self._record_drop(Dropped(from_ms, to_ms, 0, readings))
            self._connection.execute(
                "UPDATE boot SET readings = readings + ? WHERE boot_id = ?", (readings, self.boot_id)
            )

    def apply_receipt(self, receipt: Receipt) -> int:
        """Forget the messages that a receipt names, dead letters too, and no other; returns how many there were."""
        return self.apply_receipts([receipt])

    def apply_receipts(self, receipts: Sequence[Receipt]) -> int:
        """Unite receipts, in one commit; returns how many messages are forgotten."""
        forgotten = freed = 0
        with self._transaction():
            for receipt in receipts:
                for first, last in receipt.stored:
                    key = (receipt.boot_id, first, last)
                    for table in ("message", "dead_message"):
                        sizes = self._rows(
                            f"DELETE FROM {table} WHERE boot_id = ? AND seq BETWEEN ? AND ? RETURNING length(payload)",
                            key,
                        )
                        forgotten += len(sizes)
                        freed += sum(size for (size,) in sizes)
            silent = self._number("SELECT count(*) FROM dead_message WHERE in_silence")
        self._bytes -= freed
        self._dead_in_silence = silent
        return forgotten

    def count_pubacks(self, taken: Mapping[int, bool]) -> list[int]:
        """Count that the broker took messages once more, and no receipt came in time.

        Parameters
        ----------
        taken : mapping of message id to bool
            Whether no receipt at all came meanwhile: then ingest is away, and the message is not to blame.

        Returns
        -------
        list of int
            Messages that this made dead letters.
        """
        dead = []
        with self._transaction():
            for message_id, in_silence in taken.items():
                counted = self._rows(
                    "UPDATE message SET pubacks = pubacks + 1 WHERE id = ? RETURNING pubacks", (message_id,)
                )
                if not counted or counted[0][0] < MOST_PUBACKS:
                    continue
                self._connection.execute(
                    f"INSERT INTO dead_message SELECT {_COLUMNS}, ? FROM message WHERE id = ?",
                    (in_silence, message_id),
                )
                self._connection.execute("DELETE FROM message WHERE id = ?", (message_id,))
                dead.append(message_id)
        self._dead_in_silence += sum(taken[message_id] for message_id in dead)
        return dead

    def revive(self) -> int:
        """Take dead letters back that died while no receipt came at all: ingest was away, not they at fault."""
        if not self._dead_in_silence:
            return 0
        with self._transaction():
            self._connection.execute(
                f"INSERT INTO message ({_COLUMNS}) SELECT {_COLUMNS} FROM dead_message WHERE in_silence"
            )
            revived = self._connection.execute("DELETE FROM dead_message WHERE in_silence").rowcount
        self._dead_in_silence = 0
        return revived

    def pending(self, *, after_id: int = 0, limit: int = 100) -> list[OutboxMessage]:
        """Kept messages after an id, oldest first, of every boot."""
        return self._messages("FROM message WHERE id > ? ORDER BY id LIMIT ?", (after_id, limit))

    def newest(self) -> list[OutboxMessage]:
        """The newest kept message of each topic: what the public waits for after an outage."""
        return self._messages("FROM message WHERE id IN (SELECT max(id) FROM message GROUP BY topic)", ())

    def dead_letters(self) -> list[OutboxMessage]:
        """Messages that the broker took five times and nobody confirmed, oldest first."""
        return self._messages("FROM dead_message ORDER BY id", ())

    def holds(self, message_id: int) -> bool:
        """Whether a message is still here, pending or dead."""
        query = "SELECT EXISTS (SELECT 1 FROM message WHERE id = ?) + EXISTS (SELECT 1 FROM dead_message WHERE id = ?)"
        return self._number(query, (message_id, message_id)) > 0

    def ranges(self) -> list[tuple[str, int, int]]:
        """What is kept, for the status: (boot_id, first seq, next seq) of each boot that has something."""
        return self._rows(
            "SELECT boot_id, min(seq), max(seq) + 1 FROM message GROUP BY boot_id ORDER BY min(id)"
        )

    def next_seq(self) -> int:
        """Seq of the next message of the current boot."""
        return self._number("SELECT next_seq FROM boot WHERE boot_id = ?", (self.boot_id,))

    def dropped(self) -> list[Dropped]:
        """What was given up for lack of room, oldest first."""
        query = "SELECT from_ms, to_ms, messages, readings FROM dropped ORDER BY id"
        return [Dropped(*row) for row in self._rows(query)]

    @property
    def fill(self) -> float:
        """Share of the room that is taken, 0 to about 1."""
        return self._bytes / self._max_bytes

    def hours_left(self, *, bytes_per_hour: float) -> float | None:
        """How long the room, or the disk, lasts without receipts at a rate; None while no rate is known. [h]"""
        if bytes_per_hour <= 0:
            return None
        room = min(self._max_bytes - self._bytes, shutil.disk_usage(self.path.parent).free)
        return max(0.0, room / bytes_per_hour)

    def account(self) -> OutboxAccount:
        """Totals since the outbox was made."""
        with self._translated():
            return account_of(self._connection)

    def close(self) -> None:
        """Give back file and lock; what is kept stays."""
        self._connection.close()
        self._lock.close()

    def _messages(self, source: str, parameters: tuple[int, ...]) -> list[OutboxMessage]:
        return [OutboxMessage(*row) for row in self._rows(f"SELECT {_COLUMNS} {source}", parameters)]

    def _rows(self, query: str, parameters: tuple[Any, ...] = ()) -> list[Any]:
        with self._translated():
            return self._connection.execute(query, parameters).fetchall()

    def _number(self, query: str, parameters: tuple[Any, ...] = ()) -> int:
        return int(self._rows(query, parameters)[0][0])

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise OutboxError(
                f"{self.path}: {error}. Is the disk full? What was kept before is safe"
            ) from error

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._translated():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # SQLite ends it by itself when the disk is full
                    self._connection.execute("ROLLBACK")
                raise
