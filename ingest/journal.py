"""The journal: every message as it came, once, chained by SHA-256, on the disk before it is acknowledged.

One file, one writing process. Readers (`verify_journal`, `read_account`, `ingest.quarantine`) may be other processes.
"""

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ingest.journal_account import account_of
from ingest.journal_batch import JournalBatch, quarantine_row
from ingest.journal_records import (
    Appended,
    Entry,
    GatewayAccount,
    JournalAccount,
    JournalMessage,
    Outcome,
    Verification,
)
from ingest.journal_schema import (
    GENESIS,
    ChainedMessage,
    chain_hash,
    decode_refusals,
    has_its_types,
    open_readable,
    open_writable,
    translated_errors,
)
from ingest.store.records import LogbookRow, ReadingRow

_CHAINED = "id, topic, payload, received_at_ms, outcome, kind, gateway_id, boot_id, seq, items, refused"


class Journal:
    """The writer's side; methods may be called from any thread.

    Raises
    ------
    JournalUnavailableError
        By each method, if the file cannot be written now (disk full, locked): nothing of the call stays.
    JournalError
        If the file is no journal, is damaged, or was written by a newer version.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        with translated_errors(path):
            self._connection = open_writable(path)

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock, translated_errors(self._path):
            connection = self._connection
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock, translated_errors(self._path):
            yield self._connection

    def append_many(self, entries: Sequence[Entry]) -> list[Appended]:
        """Journal messages in one commit, in their order; when it returns they are on the disk.

        The same key (gateway, boot, seq) with the same topic and bytes is a duplicate and is only counted; with others it is
        kept as cloned. A refused message without a readable key is kept once; a retained status that is the gateway's last
        one is the same one again.
        """
        if not entries:
            return []
        with self._writing() as connection:
            return JournalBatch(connection).append(entries)

    def read_after(self, cursor: int, *, limit: int = 500) -> list[JournalMessage]:
        """Messages with an id above `cursor`, in order."""
        with self._reading() as connection:
            found = connection.execute(
                """SELECT id, topic, payload, received_at_ms, outcome, gateway_id, refused FROM message
                WHERE id > ? ORDER BY id LIMIT ?""",
                (cursor, limit),
            ).fetchall()
        return [
            JournalMessage(
                message_id,
                topic,
                payload,
                received_at_ms,
                Outcome(outcome),
                gateway_id,
                decode_refusals(refused),
            )
            for message_id, topic, payload, received_at_ms, outcome, gateway_id, refused in found
        ]

    def cursor(self) -> int:
        """Id of the last message that the store has taken."""
        with self._reading() as connection:
            (cursor,) = connection.execute("SELECT cursor FROM writer").fetchone()
        return int(cursor)

    def advance(
        self,
        cursor: int,
        *,
        refused: Sequence[tuple[ReadingRow | LogbookRow, str, str]] = (),
        store_duplicates: int = 0,
    ) -> None:
        """Note that the store has taken everything up to `cursor`, apart from rows that it refused: (row, code, text)."""
        with self._writing() as connection:
            for row, code, text in refused:
                quarantine_row(connection, row, code, text)
            connection.execute(
                "UPDATE writer SET cursor = ?, store_duplicates = store_duplicates + ?",
                (cursor, store_duplicates),
            )

    def seq_ranges(self, gateway_id: str) -> dict[str, list[tuple[int, int]]]:
        """Seqs of a gateway that the journal holds, by boot: sorted ranges, ends included."""
        with self._reading() as connection:
            found = connection.execute(
                "SELECT boot_id, first, last FROM seq_range WHERE gateway_id = ? ORDER BY boot_id, first",
                (gateway_id,),
            ).fetchall()
        ranges: dict[str, list[tuple[int, int]]] = {}
        for boot_id, first, last in found:
            ranges.setdefault(boot_id, []).append((first, last))
        return ranges

    def account(self) -> list[GatewayAccount]:
        """What came from each gateway and what became of it."""
        with self._reading() as connection:
            return account_of(connection).gateways

    def verify(self) -> Verification:
        """Walk the chain from the first message to the last."""
        return verify_journal(self._path)

    def close(self) -> None:
        """Give back the file."""
        with self._lock:
            self._connection.close()


def read_account(path: Path) -> JournalAccount:
    """Account of a journal, while its ingest may be running."""
    with open_readable(path) as connection:
        return account_of(connection)


def verify_journal(path: Path) -> Verification:
    """Walk a journal's chain; it shows the first message that was changed, added, moved or taken out.

    Whoever can write the file can also write a whole new chain: keep the head's hash elsewhere to notice that.
    """
    with open_readable(path) as connection:
        previous, count = GENESIS, 0
        for *columns, found in connection.execute(f"SELECT {_CHAINED}, hash FROM message ORDER BY id"):
            message = ChainedMessage(*columns)
            count += 1
            if message.message_id != count:
                return Verification(
                    count - 1,
                    previous.hex(),
                    count,
                    f"message {count} is missing, {message.message_id} follows",
                )
            if not has_its_types(message):
                return Verification(
                    count - 1, previous.hex(), count, "a column is of another type than written"
                )
            expected = chain_hash(previous, message)
            if expected != found:
                return Verification(
                    count - 1,
                    previous.hex(),
                    count,
                    f"its content gives hash {expected.hex()}, the journal says otherwise",
                )
            previous = expected
        head = connection.execute("SELECT id, hash FROM head").fetchone()
        if head is not None and head != (count, previous):
            return Verification(
                count,
                previous.hex(),
                count + 1,
                f"the journal ends after {count}, it was {head[0]} messages long",
            )
        return Verification(count, previous.hex())
