"""What of a journal is meant for the store: accepted or released since, without what lies in quarantine now."""

from collections import defaultdict
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from ingest.journal.quarantine import read_quarantine
from ingest.journal.records import JournalMessage, Outcome
from ingest.journal.view import messages_of

_MESSAGES_AT_ONCE = 2_000


class Standing(NamedTuple):
    """A message that the store is to have, without its items at the `refused` positions."""

    message: JournalMessage
    refused: frozenset[int]


def read_standing(folder: Path) -> Iterator[tuple[list[JournalMessage], list[Standing]]]:
    """Some messages at a time, in the journal's order and in bounded memory, and those of them that stand.

    Raises
    ------
    JournalError
        If there is no journal in the folder, or messages are missing on the way.
    """
    quarantined: dict[int, set[int | None]] = defaultdict(set)
    for entry in read_quarantine(folder):
        quarantined[entry.message_id].add(entry.position)
    remaining = messages_of(folder)
    while messages := list(islice(remaining, _MESSAGES_AT_ONCE)):
        standing = [
            Standing(
                message, frozenset(at for at in quarantined.get(message.message_id, ()) if at is not None)
            )
            for message in messages
            # Refused as a whole, or cloned: only if all of it was released since.
            if message.outcome is Outcome.ACCEPTED or message.message_id not in quarantined
        ]
        yield messages, standing
