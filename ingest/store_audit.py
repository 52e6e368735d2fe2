"""Whether each reading that left the journal is in the store, asked reading by reading.

Counts can agree by chance; this cannot. What is in quarantine, or behind the journal's cursor, is not expected in the store.
"""

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
from ingest.journal.records import JournalMessage, Outcome
from ingest.journal.standing import read_standing
from ingest.seq_balance import GatewayClaims
from ingest.series_tables import LearntSeries
from ingest.store.batches import ReadingBatch, join_batches
from ingest.store.ports import FactReader
from ingest.store.records import ReadingColumns, ReadingRow, SeriesKey

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
    table = LearntSeries()
    waiting: list[ReadingBatch] = []
    number = 0
    for messages, standing in read_standing(folder):
        for message in messages:
            if message.kind == "status" and _is_of_day(message, day):
                _note_status(message, audit)
        expected = [
            one
            for one in standing
            if one.message.kind == "readings"
            and one.message.message_id <= cursor
            and _is_of_day(one.message, day)
        ]
        rows = rebuild_many([one.message for one in expected], [one.refused for one in expected], table)
        audit.undecodable += len(rows.failures)
        waiting.append(rows.readings)
        number += len(rows.readings)
        if number >= _READINGS_AT_ONCE:
            _compare(join_batches(waiting), store, audit)
            waiting, number = [], 0
    if number:
        _compare(join_batches(waiting), store, audit)


def _is_of_day(message: JournalMessage, day: str | None) -> bool:
    return day is None or day_name(day_of(message.received_at_ms)) == day


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
