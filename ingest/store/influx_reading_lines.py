"""Readings as line protocol: one line for each pool and instant. Pure.

Fields of a line: ``<sensor>/<quantity>`` the value; ``…/status`` a `StatusCode` where it is not normal or there is no value;
``…/null`` 1 where there is none (2: none, though an older value lies under it; 0: one again); ``…/by``, ``…/method``; and
once ``received_at``, ``stored_at`` and ``message``, "gateway/boot/seq/positions": where each reading of the line stands in
its message, in the order of the field keys. A series that another message brought, or that was replaced, has these three
by itself, as ``…/received_at`` and so on; its message ends with "/+" if it came later than the line.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ingest.store.batches import Origin, ReadingBatch, Series
from ingest.store.influx_lines import escape_name, escape_text, field_text
from ingest.store.records import StatusCode

#: Templates are small, a few hundred bytes; as many as this are kept.
_TEMPLATES = 60_000


class Lines(NamedTuple):
    """Where a batch's lines are: readings of one message, pool and instant that lie together.

    Arrays of shape (lines,): `begin` and `end` within the batch, `pool` as a number, `at_ms`, and whether a line is
    `plain`: all values there, all normal, none signed, positions without a gap.
    """

    begin: NDArray[np.int64]
    end: NDArray[np.int64]
    pool: NDArray[np.int64]
    at_ms: NDArray[np.int64]
    plain: NDArray[np.bool_]


class _Template(NamedTuple):
    """Format of a plain line, and the order of its readings by field key; None if that is their own order."""

    text: str
    order: tuple[int, ...] | None


class SeriesBook:
    """The series of a registry, as readings batches refer to them, prepared for lines."""

    def __init__(self, series: tuple[Series, ...]) -> None:
        self.series = series
        numbers: dict[str, int] = {}
        self.pool_of = np.array(
            [numbers.setdefault(one.pool_id, len(numbers)) for one in series], dtype=np.int64
        )
        self.pools = list(numbers)
        self._templates: dict[tuple[int, ...], _Template | None] = {}

    def template(self, numbers: tuple[int, ...]) -> _Template | None:
        """Format of a plain line with values of some series; None if a series is there twice."""
        try:
            return self._templates[numbers]
        except KeyError:
            if len(self._templates) >= _TEMPLATES:
                self._templates.clear()
            found = self._templates[numbers] = self._build(numbers)
            return found

    def _build(self, numbers: tuple[int, ...]) -> _Template | None:
        if len(set(numbers)) < len(numbers):
            return None
        keys = [field_key(self.series[number]) for number in numbers]
        pool = escape_name(self.series[numbers[0]].pool_id)
        values = ",".join(f"{key.replace('%', '%%')}=%r" for key in keys)
        order = tuple(sorted(range(len(keys)), key=keys.__getitem__))
        text = f'reading,pool_id={pool.replace("%", "%%")} {values},%s%s" %d'
        return _Template(text, None if order == tuple(range(len(keys))) else order)


def field_key(series: Series) -> str:
    """Key of the field that carries a series' value, escaped."""
    return f"{escape_name(series.sensor_id)}/{escape_name(series.quantity)}"


def find_lines(batch: ReadingBatch, book: SeriesBook) -> Lines:
    """Divide a batch into lines."""
    pool = book.pool_of[batch.series_number]
    changes = (
        (np.diff(batch.origin_number) != 0) | (np.diff(batch.measured_at_ms) != 0) | (np.diff(pool) != 0)
    )
    begin = np.concatenate([[0], np.flatnonzero(changes) + 1])
    odd = np.isnan(batch.value) | (batch.status != StatusCode.NORMAL)
    if batch.signatures:
        odd[list(batch.signatures)] = True
    odd[1:] |= ~changes & (np.diff(batch.position) != 1)
    return Lines(
        begin=begin,
        end=np.append(begin[1:], len(batch)),
        pool=pool[begin],
        at_ms=batch.measured_at_ms[begin],
        plain=~np.logical_or.reduceat(odd, begin),
    )


def encode_lines(
    batch: ReadingBatch, book: SeriesBook, lines: Lines, chosen: NDArray[np.int64], *, stored_at_ms: int
) -> tuple[list[str], list[int]]:
    """Text of the chosen lines, and the numbers of those in which a series is there twice, which have none.

    Nothing else of a chosen line's pool and instant may be stored, or be written beside it.
    """
    values, series, positions = batch.value.tolist(), batch.series_number.tolist(), batch.position.tolist()
    origins = batch.origins
    shared_of: dict[int, str] = {}
    speaker_of: dict[tuple[str, str], str] = {}
    tails: dict[tuple[int, int], str] = {}
    texts: list[str] = []
    twice: list[int] = []
    template_of = book.template
    columns = zip(
        chosen.tolist(),
        lines.begin[chosen].tolist(),
        lines.end[chosen].tolist(),
        lines.at_ms[chosen].tolist(),
        lines.plain[chosen].tolist(),
        batch.origin_number[lines.begin[chosen]].tolist(),
        strict=True,
    )
    for number, begin, end, at_ms, plain, origin_number in columns:
        template = template_of(tuple(series[begin:end]))
        if template is None:
            twice.append(number)
            continue
        shared = shared_of.get(origin_number)
        if shared is None:
            received_at_ms, gateway_id, boot_id, seq = origins[origin_number]
            speaker = speaker_of.get((gateway_id, boot_id))
            if speaker is None:
                speaker = speaker_of[gateway_id, boot_id] = (
                    f'i,stored_at={stored_at_ms}i,message="{escape_text(f"{gateway_id}/{boot_id}")}/'
                )
            shared = shared_of[origin_number] = f"received_at={received_at_ms}{speaker}{seq}/"
        if not plain:
            texts.append(_odd_line(batch, book, range(begin, end), shared, at_ms))
            continue
        first = positions[begin]
        if template.order is None:
            tail = tails.get((first, end - begin))
            if tail is None:
                tail = tails[first, end - begin] = ",".join(map(str, range(first, first + end - begin)))
        else:
            tail = ",".join([str(first + place) for place in template.order])
        texts.append(template.text % (*values[begin:end], shared, tail, at_ms))
    return texts, twice


def series_fields(
    key: str, value: float | None, status: int, by: str | None, method: str | None
) -> dict[str, float | int | str]:
    """Fields of a reading that is written for the first time."""
    fields: dict[str, float | int | str] = {} if value is None else {key: value}
    if value is None:
        fields[f"{key}/null"] = 1
    if value is None or status != StatusCode.NORMAL:
        fields[f"{key}/status"] = status
    if by is not None:
        fields[f"{key}/by"] = by
    if method is not None:
        fields[f"{key}/method"] = method
    return fields


def message_text(origin: Origin, positions: str) -> str:
    """What the field ``message`` holds."""
    return f"{origin.gateway_id}/{origin.boot_id}/{origin.seq}/{positions}"


def _odd_line(batch: ReadingBatch, book: SeriesBook, rows: Sequence[int], shared: str, at_ms: int) -> str:
    fields: dict[str, float | int | str] = {}
    places: list[tuple[str, int]] = []
    for row in rows:
        key = field_key(book.series[batch.series_number[row]])
        value = float(batch.value[row])
        by, method = batch.signatures.get(row, (None, None))
        fields |= series_fields(key, None if np.isnan(value) else value, int(batch.status[row]), by, method)
        places.append((key, int(batch.position[row])))
    pool = escape_name(book.series[batch.series_number[rows[0]]].pool_id)
    carried = ",".join(f"{key}={field_text(value)}" for key, value in fields.items())
    tail = ",".join(str(position) for _, position in sorted(places))
    return f'reading,pool_id={pool} {carried},{shared}{tail}" {at_ms}'
