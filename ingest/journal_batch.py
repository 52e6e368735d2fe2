"""One transaction of the journal: which messages are new, their place in the chain, and what is counted."""

import hashlib
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from gateway.contract.topics import TopicKind
from ingest.journal_records import Appended, Entry, Outcome
from ingest.journal_schema import GENESIS, ChainedMessage, chain_hash, encode_refusals
from ingest.quarantine import WHOLE, excerpt_of
from ingest.receipt_book import merge_ranges
from ingest.store.records import LogbookRow, ReadingRow
from ingest.validation import Refusal

_INSERT = "INSERT INTO message VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_QUARANTINE = "INSERT OR IGNORE INTO quarantine VALUES (?, ?, ?, ?, ?, ?)"
_COUNT = """INSERT INTO tally VALUES (?, ?, ?)
    ON CONFLICT DO UPDATE SET number = number + excluded.number"""
_SAME_KEY = (
    "SELECT topic, payload FROM message WHERE gateway_id = ? AND boot_id = ? AND seq = ? AND seq IS NOT NULL"
)
_FIRST = f"{_SAME_KEY} AND outcome <> 'cloned'"
_CLONES = f"{_SAME_KEY} AND outcome = 'cloned'"
_UNKEYED = "SELECT 1 FROM message WHERE unkeyed_digest = ?"
_LAST_STATUS = """SELECT payload FROM message WHERE gateway_id = ? AND kind = 'status'
    ORDER BY id DESC LIMIT 1"""
_TOUCHING = """SELECT first, last FROM seq_range
    WHERE gateway_id = ? AND boot_id = ? AND first <= ? AND last >= ?"""


class JournalBatch:
    """The messages of one commit, within the caller's transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        head = connection.execute("SELECT id, hash FROM head").fetchone()
        self._last_id: int = 0 if head is None else head[0]
        self._hash: bytes = GENESIS if head is None else head[1]
        self._seqs: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
        self._tally: Counter[tuple[str, str]] = Counter()

    def append(self, entries: Sequence[Entry]) -> list[Appended]:
        """Append messages in their order; says of each what became of it."""
        results = [self._append_one(entry) for entry in entries]
        for (gateway_id, boot_id), seqs in self._seqs.items():
            _merge_seqs(self._connection, gateway_id, boot_id, seqs)
        self._connection.executemany(
            _COUNT, [(gateway_id, what, number) for (gateway_id, what), number in self._tally.items()]
        )
        self._connection.execute("INSERT OR REPLACE INTO head VALUES (1, ?, ?)", (self._last_id, self._hash))
        return results

    def _append_one(self, entry: Entry) -> Appended:
        found = entry.assessment
        result = Appended.REFUSED if found.is_refused else Appended.NEW
        digest: bytes | None = None
        if found.boot_id is not None and found.seq is not None:
            result = self._compare_keyed(entry, found.boot_id, found.seq, otherwise=result)
        elif found.is_refused:
            digest = hashlib.sha256(entry.topic.encode() + b"\0" + entry.payload).digest()
            if self._connection.execute(_UNKEYED, (digest,)).fetchone():
                result = Appended.DUPLICATE
        elif entry.retained:
            last = self._connection.execute(_LAST_STATUS, (found.gateway_id,)).fetchone()
            if last is not None and last[0] == entry.payload:
                return Appended.DUPLICATE  # the broker's memory of it, not the gateway, said it again
        if result is Appended.DUPLICATE:
            self._count(entry, "duplicate")
        else:
            self._insert(entry, result, digest)
        return result

    def _compare_keyed(self, entry: Entry, boot_id: str, seq: int, *, otherwise: Appended) -> Appended:
        key = (entry.assessment.gateway_id, boot_id, seq)
        first = self._connection.execute(_FIRST, key).fetchone()
        if first is None:
            self._seqs[key[:2]].append((seq, seq))
            return otherwise
        this = (entry.topic, entry.payload)
        if first == this or this in self._connection.execute(_CLONES, key).fetchall():
            return Appended.DUPLICATE
        return Appended.CLONED

    def _insert(self, entry: Entry, result: Appended, digest: bytes | None) -> None:
        found = entry.assessment
        refusals = found.refusals
        outcome = Outcome.ACCEPTED
        if result is Appended.CLONED:
            outcome = Outcome.CLONED
            text = (
                f"boot {found.boot_id} seq {found.seq} of gateway {found.gateway_id!r} came before with other bytes: "
                "two gateways share an identity, or one counts wrongly"
            )
            refusals = (Refusal(None, "cloned", text),)
        elif result is Appended.REFUSED:
            outcome = Outcome.REFUSED
        message = ChainedMessage(
            message_id=self._last_id + 1,
            topic=entry.topic,
            payload=entry.payload,
            received_at_ms=entry.received_at_ms,
            outcome=outcome.value,
            kind=found.kind.value if found.kind is not None else "unknown",
            gateway_id=found.gateway_id,
            boot_id=found.boot_id,
            seq=found.seq,
            items=found.items,
            refused=encode_refusals(refusals),
        )
        self._hash = chain_hash(self._hash, message)
        self._last_id = message.message_id
        self._connection.execute(_INSERT, (*message, digest, self._hash))
        self._connection.executemany(
            _QUARANTINE, _quarantine_columns(message.message_id, entry.payload, refusals, late=False)
        )
        if outcome is Outcome.CLONED:
            # Its items were never owed: the key stands for the first message's.
            self._tally[found.gateway_id, "cloned messages"] += 1
            return
        self._count(entry, "journalled")
        if outcome is Outcome.REFUSED:
            self._count(entry, "quarantined")
        elif refusals and found.kind is not None:
            self._tally[found.gateway_id, f"quarantined {found.kind.value}"] += len(refusals)

    def _count(self, entry: Entry, what: str) -> None:
        found = entry.assessment
        if found.kind is TopicKind.STATUS:
            self._tally[found.gateway_id, f"{what} statuses"] += 1
            return
        self._tally[found.gateway_id, f"{what} messages"] += 1
        if found.kind is not None:
            self._tally[found.gateway_id, f"{what} {found.kind.value}"] += found.items


def _merge_seqs(
    connection: sqlite3.Connection, gateway_id: str, boot_id: str, seqs: list[tuple[int, int]]
) -> None:
    low, high = min(seqs)[0], max(seqs)[1]
    touching = connection.execute(_TOUCHING, (gateway_id, boot_id, high + 1, low - 1)).fetchall()
    connection.executemany(
        "DELETE FROM seq_range WHERE gateway_id = ? AND boot_id = ? AND first = ?",
        [(gateway_id, boot_id, first) for first, _ in touching],
    )
    connection.executemany(
        "INSERT INTO seq_range VALUES (?, ?, ?, ?)",
        [(gateway_id, boot_id, first, last) for first, last in merge_ranges([*touching, *seqs])],
    )


def _quarantine_columns(
    message_id: int, payload: bytes, refusals: Iterable[Refusal], *, late: bool
) -> list[tuple[int, int, int, str, str, str]]:
    return [
        (
            message_id,
            WHOLE if refusal.position is None else refusal.position,
            int(late),
            refusal.code,
            refusal.text,
            excerpt_of(payload, refusal.position),
        )
        for refusal in refusals
    ]


def quarantine_row(
    connection: sqlite3.Connection, row: ReadingRow | LogbookRow, code: str, text: str
) -> None:
    """Put a row that the store refused into quarantine, once, however often the store says so."""
    found = connection.execute(
        "SELECT id, payload FROM message WHERE gateway_id = ? AND boot_id = ? AND seq = ? AND outcome <> 'cloned'",
        (row.gateway_id, row.boot_id, row.seq),
    ).fetchone()
    if found is None:
        return
    message_id, payload = found
    columns = _quarantine_columns(message_id, payload, [Refusal(row.position, code, text)], late=True)
    if connection.executemany(_QUARANTINE, columns).rowcount > 0:
        what = "quarantined readings" if isinstance(row, ReadingRow) else "quarantined logbook"
        connection.execute(_COUNT, (row.gateway_id, what, 1))
