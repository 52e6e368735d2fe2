"""What the logbook says about a pool: closures, maintenance, postings, reports, corrections, acknowledgements. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np

from analytics.spans import EMPTY, FAR_MS, Spans, merged
from gateway.contract.errors import ContractError
from gateway.contract.logbook import EntryKind, LogbookEntry
from gateway.contract.quantities import ORDER_17_QUANTITIES
from gateway.contract.times import parse_timestamp
from ingest.store.records import LogbookRow, SeriesKey

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
    by: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """A laboratory's report of a full test; only one that passed does the duty."""

    at_ms: int
    by: str
    passed: bool


@dataclass(frozen=True, slots=True)
class Correction:
    """From `at_ms` on, and never before, what it refers to counts no more.

    A reading is referred to as ``sensor_id/quantity/measured_at`` (the time as on the wire): then `key` and
    `measured_at_ms` name it. Anything else is the hash of a publication, or the id of a verdict, on which a correction
    has no effect: verdicts follow from facts alone.
    """

    at_ms: int
    by: str
    text: str
    refers_to: str
    key: SeriesKey | None = None
    measured_at_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """Somebody has seen what it refers to, the id of a verdict. It changes no verdict."""

    at_ms: int
    by: str
    text: str
    refers_to: str


@dataclass(frozen=True, slots=True)
class Entries:
    """The logbook of a pool, as far as judging needs it; each kind by its time."""

    closures: tuple[Period, ...] = ()
    maintenance: tuple[Period, ...] = ()
    postings: tuple[Posting, ...] = ()
    reports: tuple[Report, ...] = ()
    corrections: tuple[Correction, ...] = ()
    acknowledgements: tuple[Acknowledgement, ...] = ()
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
    of_kind: dict[EntryKind, list[LogbookEntry]] = {kind: [] for kind in EntryKind}
    for entry in entries:
        of_kind[entry.kind].append(entry)
    closures = _closures(entries)
    return Entries(
        closures=closures,
        maintenance=tuple(_maintenance(entry) for entry in of_kind[EntryKind.MAINTENANCE]),
        postings=tuple(_posting(entry) for entry in of_kind[EntryKind.NOTICE_BOARD]),
        reports=tuple(
            Report(entry.at_ms, entry.by, entry.passed is True)
            for entry in of_kind[EntryKind.LABORATORY_REPORT]
        ),
        corrections=tuple(_correction(entry) for entry in of_kind[EntryKind.CORRECTION]),
        acknowledgements=tuple(
            Acknowledgement(entry.at_ms, entry.by, entry.text, entry.refers_to or "")
            for entry in of_kind[EntryKind.ACKNOWLEDGEMENT]
        ),
        closed=merged(np.array([(period.from_ms, period.until_ms) for period in closures], dtype=np.int64)),
    )


def _closures(entries: Sequence[LogbookEntry]) -> tuple[Period, ...]:
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
    return tuple(closures)


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
    return Posting(entry.at_ms, measured_at_ms, frozenset(named), entry.by)


def _correction(entry: LogbookEntry) -> Correction:
    refers_to = entry.refers_to or ""
    key, measured_at_ms = None, None
    match refers_to.split("/"):
        case [sensor_id, quantity, measured_at]:
            try:
                measured_at_ms = parse_timestamp(measured_at)
            except ContractError:
                pass  # not a reading's name: it stays what somebody wrote
            else:
                key = SeriesKey(sensor_id, quantity)
    return Correction(entry.at_ms, entry.by, entry.text, refers_to, key, measured_at_ms)
