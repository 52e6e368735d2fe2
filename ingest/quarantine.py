"""What ingest refused, read from the journal while ingest may be running."""

from dataclasses import dataclass
from pathlib import Path

import msgspec

from ingest.journal_schema import open_readable

#: Position of a refusal that concerns the whole message, in the table.
WHOLE = -1
_EXCERPT_CHARACTERS = 200


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


def read_quarantine(path: Path, *, limit: int | None = None) -> list[QuarantineEntry]:
    """Refusals, the newest first, at most `limit`.

    Raises
    ------
    JournalError
        If there is no journal at `path`.
    """
    with open_readable(path) as connection:
        found = connection.execute(
            """SELECT message_id, received_at_ms, gateway_id, topic, position, code, text, excerpt
            FROM quarantine JOIN message ON message.id = message_id
            ORDER BY message_id DESC, position DESC LIMIT ?""",
            (-1 if limit is None else limit,),
        ).fetchall()
    return [
        QuarantineEntry(
            message_id, received_at_ms, gateway_id, topic, None if position == WHOLE else position, *reason
        )
        for message_id, received_at_ms, gateway_id, topic, position, *reason in found
    ]


def count_quarantine(path: Path) -> dict[str, int]:
    """How many refusals there are of each reason, the most frequent first."""
    with open_readable(path) as connection:
        return dict(
            connection.execute(
                "SELECT code, COUNT(*) FROM quarantine GROUP BY code ORDER BY COUNT(*) DESC, code"
            )
        )


def excerpt_of(payload: bytes, position: int | None) -> str:
    """Beginning of a message, or of one of its items, as text."""
    shown = payload
    if position is not None:
        try:
            parsed = msgspec.json.decode(payload, type=dict[str, msgspec.Raw])
            items = msgspec.json.decode(
                parsed.get("readings") or parsed.get("entries") or b"[]", type=list[msgspec.Raw]
            )
            shown = bytes(items[position])
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, IndexError):
            shown = payload
    text = shown[: 4 * _EXCERPT_CHARACTERS].decode("utf-8", errors="replace")
    return text if len(text) <= _EXCERPT_CHARACTERS else f"{text[: _EXCERPT_CHARACTERS - 1]}…"
