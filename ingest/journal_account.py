"""The account of a journal, from its tallies and what the store writer has still before it."""

import sqlite3
from collections import defaultdict

from ingest.journal_records import GatewayAccount, JournalAccount, Outcome
from ingest.journal_schema import decode_refusals


def account_of(connection: sqlite3.Connection) -> JournalAccount:
    """What came from each gateway and what became of it."""
    tallies: dict[str, dict[str, int]] = defaultdict(dict)
    for gateway_id, what, number in connection.execute("SELECT gateway_id, what, number FROM tally"):
        tallies[gateway_id][what] = number
    boots = dict(
        connection.execute("SELECT gateway_id, COUNT(DISTINCT boot_id) FROM seq_range GROUP BY gateway_id")
    )
    cursor, store_duplicates = connection.execute("SELECT cursor, store_duplicates FROM writer").fetchone()
    messages_ahead: dict[str, int] = defaultdict(int)
    readings_ahead: dict[str, int] = defaultdict(int)
    waiting = connection.execute(
        "SELECT gateway_id, kind, items, refused FROM message WHERE id > ? AND outcome = ?",
        (cursor, Outcome.ACCEPTED.value),
    )
    for gateway_id, kind, items, refused in waiting:
        messages_ahead[gateway_id] += 1
        if kind == "readings":
            readings_ahead[gateway_id] += items - len(decode_refusals(refused))
    (messages,) = connection.execute("SELECT COALESCE(MAX(id), 0) FROM message").fetchone()
    return JournalAccount(
        gateways=[
            _gateway_account(
                gateway_id,
                tallies[gateway_id],
                boots.get(gateway_id, 0),
                messages_ahead[gateway_id],
                readings_ahead[gateway_id],
            )
            for gateway_id in sorted(tallies)
        ],
        store_duplicates=store_duplicates,
        messages=messages,
    )


def _gateway_account(
    gateway_id: str, tally: dict[str, int], boots: int, messages_ahead: int, readings_ahead: int
) -> GatewayAccount:
    return GatewayAccount(
        gateway_id=gateway_id,
        boots=boots,
        messages=tally.get("journalled messages", 0),
        readings=tally.get("journalled readings", 0),
        entries=tally.get("journalled logbook", 0),
        statuses=tally.get("journalled statuses", 0),
        duplicate_messages=tally.get("duplicate messages", 0),
        duplicate_readings=tally.get("duplicate readings", 0),
        quarantined_messages=tally.get("quarantined messages", 0),
        quarantined_readings=tally.get("quarantined readings", 0),
        quarantined_entries=tally.get("quarantined logbook", 0),
        cloned_messages=tally.get("cloned messages", 0),
        in_flight_messages=messages_ahead,
        in_flight_readings=readings_ahead,
    )
