"""Whether each reading that left the journal is in the store, asked reading by reading.

Counts can agree by chance; this cannot. What is in quarantine, or behind the journal's cursor, is not expected in the store.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import structlog
from numpy.typing import NDArray

from gateway.contract.codec import decode_status
from gateway.contract.errors import MessageError
from ingest.intake import rebuild_many
from ingest.journal.account import read_account
from ingest.journal.blocks import day_name, day_of
from ingest.journal.quarantine import read_quarantine
from ingest.journal.records import JournalMessage, Outcome
from ingest.journal.view import messages_of
from ingest.seq_balance import GatewayClaims
from ingest.series_tables import LearntSeries
from ingest.store.batches import ReadingBatch, join_batches
from ingest.store.ports import FactReader
from ingest.store.records import ReadingColumns, ReadingRow, SeriesKey

_MESSAGES_AT_ONCE = 2_000
#: Readings that are compared together: the store is then asked once for each pool among them.
_READINGS_AT_ONCE = 500_000
_SHOWN_AT_MOST = 20

_log = structlog.get_logger()


@dataclass(slots=True)
class Audit:
    """What was found. `missing` and `different` are the first of those that are not in the store as they were accepted."""

    checked: int = 0
    found: int = 0
    missing_count: int = 0
    different_count: int = 0
    undecodable: int = 0
    missing: list[ReadingRow] = field(default_factory=list)
    different: list[ReadingRow] = field(default_factory=list)
    claims: dict[str, GatewayClaims] = field(default_factory=dict)


def audit_journal(folder: Path, store: FactReader, audit: Audit, *, day: str | None = None) -> None:
    """Compare a journal, or one UTC day of receipt of it (`2026-11-24`), with the store, and note it in `audit`.

    The gateways' statuses on the way are noted as their claims.

    Raises
    ------
    JournalError
        If there is no journal in the folder, or it is damaged.
    StoreError
        If the store does not answer.
    """
    cursor = read_account(folder).cursor
    quarantined: dict[int, set[int | None]] = defaultdict(set)
    for entry in read_quarantine(folder):
        quarantined[entry.message_id].add(entry.position)
    table = LearntSeries()
    waiting: list[ReadingBatch] = []
    number = 0
    for messages in _in_chunks(_of_day(messages_of(folder), day)):
        expected = []
        for message in messages:
            if message.kind == "status":
                _note_status(message, audit)
            if _is_expected(message, quarantined, cursor):
                expected.append(message)
        refused = [
            frozenset(
                position for position in quarantined.get(message.message_id, ()) if position is not None
            )
            for message in expected
        ]
        rows = rebuild_many(expected, refused, table)
        audit.undecodable += len(rows.failures)
        waiting.append(rows.readings)
        number += len(rows.readings)
        if number >= _READINGS_AT_ONCE:
            _compare(join_batches(waiting), store, audit)
            waiting, number = [], 0
    if number:
        _compare(join_batches(waiting), store, audit)


def _of_day(messages: Iterable[JournalMessage], day: str | None) -> Iterator[JournalMessage]:
    for message in messages:
        if day is None or day_name(day_of(message.received_at_ms)) == day:
            yield message


def _in_chunks(messages: Iterable[JournalMessage]) -> Iterator[list[JournalMessage]]:
    chunk: list[JournalMessage] = []
    for message in messages:
        chunk.append(message)
        if len(chunk) == _MESSAGES_AT_ONCE:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _is_expected(message: JournalMessage, quarantined: dict[int, set[int | None]], cursor: int) -> bool:
    """Whether the store should have what of a message is not in quarantine."""
    if message.kind != "readings" or message.message_id > cursor:
        return False
    if message.outcome is Outcome.ACCEPTED:
        return True
    # Refused as a whole, or cloned: only if all of it was released since.
    return message.message_id not in quarantined


def _note_status(message: JournalMessage, audit: Audit) -> None:
    if message.outcome is not Outcome.ACCEPTED:
        return
    try:
        status = decode_status(message.payload)
    except MessageError:
        audit.undecodable += 1
        return
    audit.claims.setdefault(message.gateway_id, GatewayClaims()).note(status, message.received_at_ms)


def _compare(expected: ReadingBatch, store: FactReader, audit: Audit) -> None:
    """Look each reading up among those of its pool in the store."""
    audit.checked += len(expected)
    pools = [series.pool_id for series in expected.series]
    numbers = {pool_id: number for number, pool_id in enumerate(sorted(set(pools)))}
    pool_number = np.array([numbers[pool_id] for pool_id in pools], dtype=np.int64)[expected.series_number]
    order = np.lexsort((expected.measured_at_ms, expected.series_number, pool_number))
    bounds = np.searchsorted(pool_number[order], np.arange(len(numbers) + 1))
    for pool_id, number in numbers.items():
        of_pool = order[bounds[number] : bounds[number + 1]]
        instants = expected.measured_at_ms[of_pool]
        stored = store.readings(pool_id, from_ms=int(instants.min()), to_ms=int(instants.max()) + 1)
        series_number = expected.series_number[of_pool]
        cuts = np.flatnonzero(np.diff(series_number)) + 1
        for rows in np.split(of_pool, cuts):
            series = expected.series[expected.series_number[rows[0]]]
            _compare_series(expected, rows, stored.get(SeriesKey(series.sensor_id, series.quantity)), audit)


def _compare_series(
    expected: ReadingBatch, rows: NDArray[np.int64], stored: ReadingColumns | None, audit: Audit
) -> None:
    instants = expected.measured_at_ms[rows]
    if stored is None:
        is_there = np.zeros(len(rows), dtype=np.bool_)
        is_same = is_there
    else:
        place = np.minimum(np.searchsorted(stored.measured_at_ms, instants), len(stored.measured_at_ms) - 1)
        is_there = stored.measured_at_ms[place] == instants
        value, other = expected.value[rows], stored.value[place]
        is_same = is_there & (stored.status[place] == expected.status[rows])
        is_same &= (value == other) | (np.isnan(value) & np.isnan(other))
    missing, different = rows[~is_there], rows[is_there & ~is_same]
    audit.found += len(rows) - len(missing) - len(different)
    audit.missing_count += len(missing)
    audit.different_count += len(different)
    for found, shown in ((missing, audit.missing), (different, audit.different)):
        room = max(0, _SHOWN_AT_MOST - len(shown))
        shown.extend(expected.row(int(index)) for index in found[:room])
