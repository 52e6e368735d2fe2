"""Store-and-forward on disk: a message stays here until a receipt names it.

SQLite in WAL mode. What `append` returned survives a kill and a power cut: its commit waits for one fsync of the log
(synchronous FULL), and for none else. Receipts, PUBACK counts and revivals wait for none: should a power cut undo them,
their messages are sent once more, and ingest knows them. When the log has 4 MiB, it is copied into the file, with one
fsync of each. Newer messages are rows, appended side by side; when more than `ROWS_KEPT` and a group wait, the oldest are
packed into a compressed group in the commit that appends. One process, one thread; a lock file refuses a second process.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from gateway.contract.receipts import Receipt
from gateway.errors import OutboxError
from gateway.outbox_boots import Boots
from gateway.outbox_file import account_of, oldest_kept_ms, read_account
from gateway.outbox_groups import (
    StoredMessage,
    change_states,
    pack_oldest,
    revive_packed,
)
from gateway.outbox_packing import DEAD, DEAD_IN_SILENCE, GONE, GROUP_SPAN, MOST_PUBACKS
from gateway.outbox_records import Draft, Dropped, OutboxAccount, OutboxMessage
from gateway.outbox_room import Room
from gateway.outbox_storage import OutboxStorage

__all__ = [
    "DEFAULT_MAX_BYTES",
    "MOST_PUBACKS",
    "ROWS_KEPT",
    "Draft",
    "Dropped",
    "Outbox",
    "OutboxAccount",
    "OutboxMessage",
    "read_account",
]

#: Default room in the file; beyond it the oldest are dropped, and recorded as dropped. A pool of three quantities, read
#: every 10 s, takes about 0.3 MB a day: ten such pools fit for two months.
DEFAULT_MAX_BYTES = 256 * 1024 * 1024
#: This many of the newest messages are never packed: in an ordinary hour nothing is.
ROWS_KEPT = 2048

#: Dead letters are taken back in commits of so many rows, or groups: on a full disk there is no room for larger ones.
_REVIVED_ROWS, _REVIVED_GROUPS = 64, 16

_STORED = "id, topic, payload, readings, created_at_ms, state"


class Outbox(OutboxStorage):
    """The outbox of one gateway.

    Parameters
    ----------
    path : Path
        The file; its folder is made.
    max_bytes : int
        Room in the file, as it is on disk, packed; the log beside it takes some 4 MiB more. [byte]

    Raises
    ------
    OutboxHeldError
        If another process has it open.
    OutboxError
        If the file is no outbox. So does every method when the disk is full or the file damaged; what was kept stays.
    """

    def __init__(self, path: Path, *, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        super().__init__(path)
        self._boot_id: str | None = None
        self._room = Room(self._connection, max_bytes)
        try:
            self._boots = Boots(self._rows("SELECT boot_id, first_id, next_seq FROM boot"))
            self._row_count = self._number("SELECT count(*) FROM message")
            self._silent = self._count_silent()
        except BaseException:
            self.close()
            raise

    def begin_boot(self, boot_id: str, now_ms: int) -> None:
        """Start a new boot: seq begins at 0 again. OutboxError if this boot id was used before."""
        first_id = self._in_any_room(lambda: self._begin_boot(boot_id, now_ms))
        self._boots.begin(boot_id, first_id)
        self._boot_id = boot_id

    def _begin_boot(self, boot_id: str, now_ms: int) -> int:
        with self._transaction():
            if self._rows("SELECT 1 FROM boot WHERE boot_id = ?", (boot_id,)):
                raise OutboxError(f"boot {boot_id!r} was begun before: every start needs an id of its own")
            first_id = self._number("SELECT coalesce(max(first_id + next_seq), 1) FROM boot")
            self._connection.execute(
                "INSERT INTO boot (boot_id, begun_at_ms, first_id) VALUES (?, ?, ?)",
                (boot_id, now_ms, first_id),
            )
        return first_id

    @property
    def boot_id(self) -> str:
        """Current boot; OutboxError before `begin_boot`."""
        if self._boot_id is None:
            raise OutboxError("no boot was begun: call begin_boot first")
        return self._boot_id

    def append(self, drafts: Sequence[Draft], now_ms: int) -> list[OutboxMessage]:
        """Keep messages, in one commit, and return them with their seq. They are on disk when this returns."""
        boot_id = self.boot_id
        first_id = self._boots.first_id(boot_id)
        with self._translated():
            self._disk.look()
            if not self._disk.has_room():
                raise OutboxError(
                    f"{self.path}: the disk is full but for what receipts need; make room. What was kept before is safe"
                )
        with self._transaction():
            begin = self.next_seq()
            messages = [
                OutboxMessage(
                    first_id + seq, boot_id, seq, draft.topic, draft.encode(seq), draft.readings, now_ms
                )
                for seq, draft in enumerate(drafts, begin)
            ]
            self._connection.executemany(
                f"INSERT INTO message ({_STORED}) VALUES (?, ?, ?, ?, ?, 0)",
                [(one.message_id, one.topic, one.payload, one.readings, now_ms) for one in messages],
            )
            self._connection.execute(
                "UPDATE boot SET next_seq = ?, readings = readings + ? WHERE boot_id = ?",
                (begin + len(messages), sum(draft.readings for draft in drafts), boot_id),
            )
            row_count = self._row_count + len(messages)
            while row_count >= ROWS_KEPT + GROUP_SPAN:
                row_count -= pack_oldest(self._connection)
            dropped = self._room.make(self._groups, before_id=first_id + begin)
            if dropped is not None:
                self._record_drop(dropped)
                row_count = self._number("SELECT count(*) FROM message")
        self._row_count = row_count
        return messages

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
        spans = [span for receipt in receipts for span in self.ids_of(receipt)]
        if not spans:
            return 0
        return self._in_any_room(lambda: self._forget(spans))

    def _in_any_room(self, free: Callable[[], int]) -> int:
        """Do what leads to room on the disk; if it has none, once more with a shorter log and in the room held for this."""
        try:
            return free()
        except OutboxError:
            self._disk.give_reserve()
            return free()

    def _forget(self, spans: Sequence[tuple[int, int]]) -> int:
        rows = packed = 0
        with self._transaction(fsync=False):
            for first_id, last_id in spans:
                rows += self._connection.execute(
                    "DELETE FROM message WHERE id BETWEEN ? AND ?", (first_id, last_id)
                ).rowcount
                packed += len(change_states(self._connection, first_id, last_id, lambda _state: GONE))
            silent = self._count_silent() if self._silent else 0
        self._row_count -= rows
        self._silent = silent
        return rows + packed

    def ids_of(self, receipt: Receipt) -> list[tuple[int, int]]:
        """First and last id of the messages that a receipt names, as far as there ever were such; ascending, disjoint."""
        current = self.next_seq() if receipt.boot_id == self._boot_id else None
        return self._boots.ids(receipt.boot_id, receipt.stored, next_seq=current)

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
        dead: list[int] = []

        def one_more(message_id: int, in_silence: bool) -> list[tuple[int, int]]:  # noqa: FBT001 - as in `taken`
            last = DEAD_IN_SILENCE if in_silence else DEAD
            counted = self._rows(
                f"UPDATE message SET state = CASE state WHEN {MOST_PUBACKS - 1} THEN ? ELSE state + 1 END "
                f"WHERE id = ? AND state < {MOST_PUBACKS} RETURNING id, state",
                (last, message_id),
            )
            return counted or change_states(
                self._connection,
                message_id,
                message_id,
                lambda state: (
                    state if state >= MOST_PUBACKS else last if state + 1 == MOST_PUBACKS else state + 1
                ),
            )

        with self._transaction(fsync=False):
            for message_id, in_silence in taken.items():
                dead += [one for one, state in one_more(message_id, in_silence) if state >= MOST_PUBACKS]
        self._silent += sum(taken[message_id] for message_id in dead)
        return dead

    def revive(self) -> int:
        """Take dead letters back that died while no receipt came at all: ingest was away, not they at fault."""
        revived = 0
        while self._silent and (some := self._in_any_room(self._revive_some)):
            revived += some
        return revived

    def _revive_some(self) -> int:
        with self._transaction(fsync=False):
            revived = self._connection.execute(
                "UPDATE message SET state = 0 WHERE id IN (SELECT id FROM message WHERE state = ? ORDER BY id LIMIT ?)",
                (DEAD_IN_SILENCE, _REVIVED_ROWS),
            ).rowcount or revive_packed(self._connection, groups=_REVIVED_GROUPS)
            silent = self._count_silent()
        self._silent = silent
        return revived

    def oldest_in_silence(self) -> OutboxMessage | None:
        """The oldest dead letter that died while no receipt came at all, if there is one."""
        if not self._silent:
            return None
        with self._translated():
            found = (one for one in self._stored(0, ">=") if one.state == DEAD_IN_SILENCE)
            return next(map(self._message, found), None)

    def pending(self, *, after_id: int = 0, limit: int = 100) -> list[OutboxMessage]:
        """Kept messages after an id, oldest first, of every boot."""
        with self._translated():
            return list(islice(map(self._message, self._stored(after_id, "<")), limit))

    def _stored(self, after_id: int, compared: str) -> Iterator[StoredMessage]:
        """What is pending (`<`) or dead (`>=`) after an id, oldest first: groups, then rows."""
        wants_dead = compared == ">="
        for stored in self._groups.after(after_id):
            if (stored.state >= MOST_PUBACKS) == wants_dead:
                yield stored
        query = f"SELECT {_STORED} FROM message WHERE id > ? AND state {compared} {MOST_PUBACKS} ORDER BY id"
        for row in self._connection.execute(query, (after_id,)):
            yield StoredMessage(*row)

    def _message(self, stored: StoredMessage) -> OutboxMessage:
        boot_id, seq = self._boots.of_id(stored.message_id)
        return OutboxMessage(
            stored.message_id,
            boot_id,
            seq,
            stored.topic,
            stored.payload,
            stored.readings,
            stored.created_at_ms,
        )

    def newest(self) -> list[OutboxMessage]:
        """The newest kept message of each topic: what the public waits for after an outage."""
        query = (
            f"SELECT {_STORED} FROM message WHERE id IN "
            f"(SELECT max(id) FROM message WHERE state < {MOST_PUBACKS} GROUP BY topic)"
        )
        found = [StoredMessage(*row) for row in self._rows(query)]
        with self._translated():
            found += self._groups.newest_of_other_topics({stored.topic for stored in found})
        return [self._message(stored) for stored in sorted(found)]

    def dead_letters(self) -> list[OutboxMessage]:
        """Messages that the broker took five times and nobody confirmed, oldest first."""
        with self._translated():
            return [self._message(stored) for stored in self._stored(0, ">=")]

    def holds(self, message_id: int) -> bool:
        """Whether a message is still here, pending or dead."""
        if self._rows("SELECT 1 FROM message WHERE id = ?", (message_id,)):
            return True
        with self._translated():
            return any(one.message_id == message_id for one in islice(self._groups.after(message_id - 1), 1))

    def ranges(self) -> list[tuple[str, int, int]]:
        """What is kept, for the status: (boot_id, first seq, next seq) of each boot that has something."""
        with self._translated():
            spans = list(self._groups.pending_spans(self._boots.cut))
        for boot_first_id, boot_last_id in self._boots.spans():
            query = (
                f"SELECT min(id), max(id) FROM message WHERE id BETWEEN ? AND ? AND state < {MOST_PUBACKS}"
            )
            spans += [row for row in self._rows(query, (boot_first_id, boot_last_id)) if row[0] is not None]
        return self._boots.ranges(spans)

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
        with self._translated():
            return self._room.fill()

    @property
    def taken_bytes(self) -> int:
        """What is taken of the file. [byte]"""
        with self._translated():
            return self._room.taken()

    @property
    def disk_free_bytes(self) -> int:
        """What the disk has left, without what is held for receipts. [byte]"""
        return self._disk.free()

    def oldest_ms(self) -> int | None:
        """When the oldest message that is still to be sent was appended; None if there is none. [ms since 1970]

        Of packed messages the time of their group's first one is told, which may be confirmed already.
        """
        with self._translated():
            return oldest_kept_ms(self._connection)

    def hours_left(self, *, bytes_per_hour: float) -> float | None:
        """How long the room, or the disk, lasts without receipts; None while no rate is known. [h]

        Parameters
        ----------
        bytes_per_hour : float
            Payload that is appended; what it will take when packed is told by what was packed last. [byte/h]
        """
        if bytes_per_hour <= 0:
            return None
        with self._translated():
            left = self._room.left(disk_free=self._disk.free())
            return max(0.0, left / (bytes_per_hour * self._room.packed_share()))

    def account(self) -> OutboxAccount:
        """Totals since the outbox was made."""
        with self._translated():
            return account_of(self._connection)

    def _count_silent(self) -> int:
        return self._number(
            f"SELECT (SELECT count(*) FROM message WHERE state = {DEAD_IN_SILENCE}) "
            "+ (SELECT coalesce(sum(silent), 0) FROM packed_left)"
        )
