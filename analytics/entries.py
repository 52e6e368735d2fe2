"""What the logbook says about a pool: closed by entry, in maintenance, results posted by hand, laboratory reports. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np

from analytics.spans import EMPTY, FAR_MS, Spans, merged
from gateway.contract.logbook import EntryKind, LogbookEntry
from gateway.contract.quantities import ORDER_17_QUANTITIES
from gateway.contract.times import parse_timestamp
from ingest.store.records import LogbookRow

_ENTRY = msgspec.json.Decoder(LogbookEntry)


@dataclass(frozen=True, slots=True)
class Period:
    """A time that somebody declared."""

    from_ms: int
    until_ms: int
    by: str
    text: str


@dataclass(frozen=True, slots=True)
class Posting:
    """Results posted in the venue by hand."""

    at_ms: int
    measured_at_ms: int
    quantities: frozenset[str]


@dataclass(frozen=True, slots=True)
class Entries:
    """The logbook of a pool, as far as judging needs it."""

    closures: tuple[Period, ...] = ()
    maintenance: tuple[Period, ...] = ()
    postings: tuple[Posting, ...] = ()
    passed_reports_ms: tuple[int, ...] = ()
    closed: Spans = field(default_factory=lambda: EMPTY)


def period_at(periods: Iterable[Period], at_ms: int) -> Period | None:
    """The period that holds an instant; the last that began, if several do."""
    holding = [period for period in periods if period.from_ms <= at_ms < period.until_ms]
    return max(holding, key=lambda period: period.from_ms, default=None)


def read_entries(rows: Sequence[LogbookRow]) -> Entries:
    """Entries of a pool's logbook rows, in any order.

    A closure lasts until the next reopening; what a body lacks (ingest checked it) counts as not limited.
    """
    entries = sorted((_ENTRY.decode(row.body) for row in rows), key=lambda entry: entry.at_ms)
    closures: list[Period] = []
    closing: LogbookEntry | None = None
    for entry in entries:
        if entry.kind is EntryKind.CLOSURE and closing is None:
            closing = entry
        elif entry.kind is EntryKind.REOPENING and closing is not None:
            closures.append(Period(closing.at_ms, entry.at_ms, closing.by, closing.text))
            closing = None
    if closing is not None:
        closures.append(Period(closing.at_ms, FAR_MS, closing.by, closing.text))
    return Entries(
        closures=tuple(closures),
        maintenance=tuple(_maintenance(entry) for entry in entries if entry.kind is EntryKind.MAINTENANCE),
        postings=tuple(_posting(entry) for entry in entries if entry.kind is EntryKind.NOTICE_BOARD),
        passed_reports_ms=tuple(
            entry.at_ms for entry in entries if entry.kind is EntryKind.LABORATORY_REPORT and entry.passed
        ),
        closed=merged(np.array([(period.from_ms, period.until_ms) for period in closures], dtype=np.int64)),
    )


def _maintenance(entry: LogbookEntry) -> Period:
    return Period(
        from_ms=entry.at_ms if entry.from_ is None else parse_timestamp(entry.from_),
        until_ms=FAR_MS if entry.until is None else parse_timestamp(entry.until),
        by=entry.by,
        text=entry.text,
    )


def _posting(entry: LogbookEntry) -> Posting:
    named = ORDER_17_QUANTITIES if entry.quantities is None else entry.quantities
    measured_at_ms = entry.at_ms if entry.measured_at is None else parse_timestamp(entry.measured_at)
    return Posting(entry.at_ms, measured_at_ms, frozenset(named))
