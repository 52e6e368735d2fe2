"""Quarantine as a tool: list, count, explain. It reads the journal while ingest may be running."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gateway.contract.errors import MessageError
from gateway.contract.topics import parse_topic
from ingest.errors import JournalError
from ingest.journal.advice import advice_for
from ingest.journal.blocks import day_name, day_of
from ingest.journal.excerpts import WHOLE, item_bytes
from ingest.journal.records import Outcome
from ingest.journal.state import READINGS, QuarantineRow
from ingest.journal.view import JournalView, open_view

_COLUMNS = "message_id, position, late, code, text, excerpt, gateway_id, topic, received_at_ms, kind, items"


@dataclass(frozen=True, slots=True)
class QuarantineEntry:
    """One refusal: of a whole message (position None) or of the item at a position, and the beginning of what it was."""

    message_id: int
    received_at_ms: int
    gateway_id: str
    topic: str
    position: int | None
    code: str
    text: str
    excerpt: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """A refusal with all of what was refused; None where retention removed the message. `advice` says what to do."""

    entry: QuarantineEntry
    refused: bytes | None
    payload: bytes | None
    advice: str


def read_quarantine(
    folder: Path,
    *,
    limit: int | None = None,
    gateway_id: str | None = None,
    code: str | None = None,
    pool_id: str | None = None,
    message_id: int | None = None,
) -> list[QuarantineEntry]:
    """Refusals that are not released, the newest first, at most `limit`.

    Raises
    ------
    JournalError
        If there is no journal in the folder.
    """
    with open_view(folder) as view:
        return select_entries(
            view, limit, gateway_id=gateway_id, code=code, pool_id=pool_id, message_id=message_id
        )


def select_entries(
    view: JournalView,
    limit: int | None,
    *,
    gateway_id: str | None = None,
    code: str | None = None,
    pool_id: str | None = None,
    message_id: int | None = None,
) -> list[QuarantineEntry]:
    """Refusals of a journal that is open for reading; see `read_quarantine`."""
    found: list[QuarantineEntry] = []
    for row in _rows(view):
        if (
            (gateway_id is None or row.gateway_id == gateway_id)
            and (code is None or row.code == code)
            and (message_id is None or row.message_id == message_id)
            and (pool_id is None or pool_of(row.topic) == pool_id)
        ):
            if limit is not None and len(found) >= limit:
                break
            found.append(_entry(row))
    return found


def _rows(view: JournalView) -> Iterator[QuarantineRow]:
    yield from sorted(view.state.quarantine, key=lambda row: row[:2], reverse=True)
    for row in view.state_file.execute(
        f"SELECT {_COLUMNS} FROM quarantine WHERE released = 0 ORDER BY message_id DESC, position DESC"
    ):
        yield QuarantineRow(*row)


def _entry(row: QuarantineRow) -> QuarantineEntry:
    return QuarantineEntry(
        row.message_id,
        row.received_at_ms,
        row.gateway_id,
        row.topic,
        None if row.position == WHOLE else row.position,
        row.code,
        row.text,
        row.excerpt,
    )


def pool_of(topic: str) -> str | None:
    """Pool that a topic names; None for a status, or outside the contract."""
    try:
        return parse_topic(topic).pool_id
    except MessageError:
        return None


def count_cloned_readings(folder: Path) -> dict[tuple[str, str], int]:
    """Readings of cloned messages that are not released, by (gateway, UTC day of receipt). They were never owed.

    Raises
    ------
    JournalError
        If there is no journal in the folder.
    """
    counts: Counter[tuple[str, str]] = Counter()
    with open_view(folder) as view:
        for row in _rows(view):
            if row.code == Outcome.CLONED.value and row.kind == READINGS:
                counts[row.gateway_id, day_name(day_of(row.received_at_ms))] += row.items
    return dict(counts)


def count_quarantine(folder: Path) -> dict[str, int]:
    """How many refusals there are of each reason, the most frequent first."""
    counts: Counter[str] = Counter()
    for (code, _), number in count_quarantine_by_gateway(folder).items():
        counts[code] += number
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def count_quarantine_by_gateway(folder: Path) -> dict[tuple[str, str], int]:
    """How many refusals there are of each (reason, gateway), the most frequent first."""
    with open_view(folder) as view:
        counts: Counter[tuple[str, str]] = Counter()
        for code, gateway_id, number in view.state_file.execute(
            "SELECT code, gateway_id, COUNT(*) FROM quarantine WHERE released = 0 GROUP BY code, gateway_id"
        ):
            counts[code, gateway_id] += number
        for row in view.state.quarantine:
            counts[row.code, row.gateway_id] += 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def explain(folder: Path, message_id: int, position: int | None = None) -> Explanation:
    """One refusal with the whole of what was refused, and what to do about it.

    Without a position: the refusal of the whole message, or else the first of its items.

    Raises
    ------
    JournalError
        If nothing of that message is in quarantine.
    """
    with open_view(folder) as view:
        entries = select_entries(view, None, message_id=message_id)
        entries.sort(key=lambda entry: WHOLE if entry.position is None else entry.position)
        if position is not None:
            entries = [entry for entry in entries if entry.position == position]
        if not entries:
            raise JournalError(
                f"nothing of message {message_id}{'' if position is None else f' at {position}'} is in quarantine: "
                "`poolwatch quarantine list` shows what is"
            )
        entry = entries[0]
        message = view.days.message(message_id)
        payload = None if message is None else message.payload
        return Explanation(
            entry,
            None if payload is None else item_bytes(payload, entry.position),
            payload,
            advice_for(entry.code),
        )
