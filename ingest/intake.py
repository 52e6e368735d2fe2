"""Many messages at once: what each is, and the rows of all that are taken. Pure.

The usual ones go together as columns; what is not certainly good goes through `ingest.validation` by itself, which says
precisely what is wrong. Both ways come to the same.
"""

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gateway.contract.errors import MessageError
from gateway.contract.registry import Registry
from gateway.contract.topics import TopicKind
from ingest.series_tables import LearntSeries, RegisteredSeries, SeriesTable, compile_series
from ingest.store.batches import IngestBatch, ReadingBatch, batch_of_rows, empty_batch, join_batches
from ingest.store.records import GatewayStatusRow, LogbookRow
from ingest.validation import MAX_AHEAD_MS, Assessment, MessageRows, assess, build_rows, refusal_of
from ingest.wire_columns import Received, UsualColumns, read_usual


@dataclass(frozen=True, slots=True)
class Rows:
    """What some messages put into the store; each row knows its message by its index among them.

    Parameters
    ----------
    readings : ReadingBatch
        In the messages' order. Two messages with the same key may each have their origin in it.
    message : ndarray of int64, shape (n,)
        Index of each reading's message.
    logbook, statuses : tuples
        In the messages' order, with the index of each one's message in `logbook_message`, `status_message`.
    failures : tuple of (int or None, Exception)
        What went wrong inside, for a log: the index of the message, None if all went through the precise way because of it.
    """

    readings: ReadingBatch = field(default_factory=empty_batch)
    message: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    logbook: tuple[LogbookRow, ...] = ()
    logbook_message: tuple[int, ...] = ()
    statuses: tuple[GatewayStatusRow, ...] = ()
    status_message: tuple[int, ...] = ()
    failures: tuple[tuple[int | None, Exception], ...] = ()

    @property
    def batch(self) -> IngestBatch:
        """The rows as a store takes them."""
        return IngestBatch(readings=self.readings, logbook=self.logbook, statuses=self.statuses)

    def of_messages(self, kept: ArrayLike) -> "Rows":
        """Return only the rows of some messages.

        Parameters
        ----------
        kept : array_like of bool, shape (m,)
            For each of the messages whether its rows stay. Indexes of messages stay as they are.
        """
        mask = np.asarray(kept, dtype=np.bool_)
        if mask.all():
            return self
        rows = np.flatnonzero(mask[self.message])
        logbook = [place for place, index in enumerate(self.logbook_message) if mask[index]]
        statuses = [place for place, index in enumerate(self.status_message) if mask[index]]
        return Rows(
            self.readings.take(rows),
            self.message[rows],
            tuple(self.logbook[place] for place in logbook),
            tuple(self.logbook_message[place] for place in logbook),
            tuple(self.statuses[place] for place in statuses),
            tuple(self.status_message[place] for place in statuses),
            self.failures,
        )


def assess_many(messages: Sequence[Received], registry: Registry) -> tuple[list[Assessment], Rows]:
    """Say what each message is and what of it is refused, and give the rows of what is not.

    A failure inside on one message refuses that message (``internal_error``) and no other; it is told in the rows' failures.
    """
    failures: list[tuple[int | None, Exception]] = []
    everything = range(len(messages))
    usual = _read_usual(
        messages, everything, lambda: _table_of(registry), failures, max_ahead_ms=MAX_AHEAD_MS
    )
    assessments: list[Assessment | None] = [None] * len(messages)
    for index, origin, count in zip(usual.indexes, usual.origins, usual.counts, strict=True):
        assessments[index] = Assessment(
            TopicKind.READINGS, origin.gateway_id, origin.boot_id, origin.seq, count, ()
        )
    single: list[tuple[int, MessageRows]] = []
    finished: list[Assessment] = []
    for index, known in enumerate(assessments):
        if known is not None:
            finished.append(known)
            continue
        assessment, rows = _assess_one(messages[index], registry, index, failures)
        finished.append(assessment)
        single.append((index, rows))
    return finished, _rows_of(usual, single, failures)


def rebuild_many(
    messages: Sequence[Received], refused: Sequence[AbstractSet[int]], table: LearntSeries
) -> Rows:
    """Rows of messages that were accepted before, without the items at the refused positions of each.

    No registry is asked: the same messages give the same rows at any time. A message that cannot be decoded any more has no
    row and is told in the rows' failures.
    """
    failures: list[tuple[int | None, Exception]] = []
    table.forget_if_large()
    whole = [index for index, positions in enumerate(refused) if not positions]
    usual = _read_usual(messages, whole, lambda: table, failures, max_ahead_ms=None)
    single: list[tuple[int, MessageRows]] = []
    for index in sorted(set(range(len(messages))).difference(usual.indexes)):
        message = messages[index]
        try:
            rows = build_rows(
                topic=message.topic,
                payload=message.payload,
                received_at_ms=message.received_at_ms,
                refused=refused[index],
            )
        except MessageError as error:
            failures.append((index, error))
        else:
            single.append((index, rows))
    return _rows_of(usual, single, failures)


@dataclass(frozen=True, slots=True)
class _Compiled:
    """The table of a registry."""

    registry: Registry
    table: RegisteredSeries


#: The registry that was asked last, and perhaps one that will be: each is compiled once, and let go after the next.
_compiled: list[_Compiled] = []


def prepare_registry(registry: Registry) -> None:
    """Compile a registry before `assess_many` is asked with it: a large one takes seconds. One thread may, beside intake."""
    if all(one.registry is not registry for one in _compiled):
        _compiled[:] = [*_compiled[-1:], _Compiled(registry, compile_series(registry))]


def _table_of(registry: Registry) -> RegisteredSeries:
    known = list(_compiled)
    for one in known:
        if one.registry is registry:
            if one is known[-1] and len(known) > 1:
                _compiled[:] = [one]
            return one.table
    prepare_registry(registry)
    return _compiled[-1].table


def _read_usual(
    messages: Sequence[Received],
    candidates: Sequence[int],
    table: Callable[[], SeriesTable],
    failures: list[tuple[int | None, Exception]],
    *,
    max_ahead_ms: int | None,
) -> UsualColumns:
    try:
        return read_usual(messages, candidates, table(), max_ahead_ms=max_ahead_ms)
    except Exception as error:  # noqa: BLE001 - told in `failures`; the precise way then takes each message by itself
        failures.append((None, error))
        return UsualColumns([], [], [], empty_batch(), np.zeros(0, dtype=np.int64))


def _assess_one(
    message: Received, registry: Registry, index: int, failures: list[tuple[int | None, Exception]]
) -> tuple[Assessment, MessageRows]:
    """Assessment and rows of one message, the precise way."""
    try:
        assessment = assess(
            topic=message.topic,
            payload=message.payload,
            registry=registry,
            received_at_ms=message.received_at_ms,
        )
        if assessment.is_refused:
            return assessment, MessageRows()
        rows = build_rows(
            topic=message.topic,
            payload=message.payload,
            received_at_ms=message.received_at_ms,
            refused={refusal.position for refusal in assessment.refusals if refusal.position is not None},
        )
    except Exception as error:  # noqa: BLE001 - last resort: told in `failures`, payload quarantined
        failures.append((index, error))
        text = f"ingest could not assess it ({type(error).__name__}): report this"
        refusal = refusal_of(None, code="internal_error", text=text)
        return Assessment(None, "", None, None, 0, (refusal,)), MessageRows()
    return assessment, rows


def _rows_of(
    usual: UsualColumns,
    single: Sequence[tuple[int, MessageRows]],
    failures: Sequence[tuple[int | None, Exception]],
) -> Rows:
    """All rows in the messages' order."""
    readings, message = usual.readings, usual.message
    alone = [(index, row) for index, rows in single for row in rows.readings]
    if alone:
        joined = join_batches([readings, batch_of_rows(row for _, row in alone)])
        message = np.concatenate([message, np.array([index for index, _ in alone], dtype=np.int64)])
        order = np.argsort(message, kind="stable")
        readings, message = joined.take(order), message[order]
    logbook = [(index, row) for index, rows in single for row in rows.logbook]
    statuses = [(index, row) for index, rows in single for row in rows.statuses]
    return Rows(
        readings,
        message,
        tuple(row for _, row in logbook),
        tuple(index for index, _ in logbook),
        tuple(row for _, row in statuses),
        tuple(index for index, _ in statuses),
        tuple(failures),
    )
