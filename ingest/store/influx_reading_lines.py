"""Readings as line protocol: one line for each pool and instant. Pure.

Fields of a line: ``<sensor>/<quantity>`` the value; ``…/status`` a `StatusCode` where it is not normal or there is no value;
``…/null`` 1 where there is none (2: none, though an older value lies under it; 0: one again); ``…/by``, ``…/method``; and
once ``received_at``, ``stored_at`` and ``message``, "gateway/boot/seq/positions": where each reading of the line stands in
its message, in the order of the field keys. A series that another message brought, or that was replaced, has these three
by itself, as ``…/received_at`` and so on; its message ends with "/+" if it came later than the line.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from ingest.store.batches import Origin, ReadingBatch, Series
from ingest.store.influx_lines import escape_name, escape_text, field_text
from ingest.store.records import StatusCode

_Key = TypeVar("_Key")


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


class SeriesBook:
    """The series of a registry, as readings batches refer to them, prepared for lines.

    Attributes
    ----------
    pools : list of str
        Each pool once.
    pool_of : ndarray of int64, shape (series,)
        Number of each series' pool.
    rank : ndarray of int64, shape (series,)
        Place of each series' field key in the order of all; the same key, of another pool, has the same rank.
    heads, nexts : mappings of int to str
        A line's text up to its first value, and between two values, by the number of the series whose value follows.
    """

    def __init__(self, series: tuple[Series, ...]) -> None:
        self.series = series
        numbers: dict[str, int] = {}
        self.pool_of = np.array(
            [numbers.setdefault(one.pool_id, len(numbers)) for one in series], dtype=np.int64
        )
        self.pools = list(numbers)
        places = [(one.sensor_id, one.quantity) for one in series]
        keys = {place: _key(*place) for place in set(places)}
        ranks = {key: rank for rank, key in enumerate(sorted(set(keys.values())))}
        self.rank = np.array([ranks[keys[place]] for place in places], dtype=np.int64)
        self.heads = _Texts[int](
            lambda number: (
                f"\nreading,pool_id={escape_name(series[number].pool_id)} {field_key(series[number])}="
            )
        )
        self.nexts = _Texts[int](lambda number: f",{field_key(series[number])}=")


class _Texts(dict[_Key, str]):
    """Made when asked for: a batch has few of a country's series."""

    def __init__(self, make: Callable[[_Key], str]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, key: _Key) -> str:
        made = self[key] = self._make(key)
        return made


def _end_of_message(positions: tuple[int, ...]) -> str:
    return f'{",".join(map(str, positions))}" '


def field_key(series: Series) -> str:
    """Key of the field that carries a series' value, escaped."""
    return _key(series.sensor_id, series.quantity)


def _key(sensor_id: str, quantity: str) -> str:
    return f"{escape_name(sensor_id)}/{escape_name(quantity)}"


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
) -> tuple[bytes, list[int]]:
    """Text of the chosen lines, and the numbers of those in which a series is there twice, which have none.

    Nothing else of a chosen line's pool and instant may be stored, or be written beside it.
    """
    # Columns of texts, joined once: a format for each line takes four times as long.
    width = lines.end[chosen] - lines.begin[chosen]
    shared = _shared_texts(batch, batch.origin_number[lines.begin[chosen]], stored_at_ms=stored_at_ms)
    plain = lines.plain[chosen]
    bodies: list[str] = []
    twice: list[int] = []
    for fields in np.unique(width).tolist():
        alike = np.flatnonzero(width == fields)
        ranks = book.rank[batch.series_number[lines.begin[chosen[alike], None] + np.arange(fields)]]
        order = np.argsort(ranks, axis=1)
        is_twice = (np.diff(np.take_along_axis(ranks, order, axis=1), axis=1) == 0).any(axis=1)
        twice += chosen[alike[is_twice]].tolist()
        good = plain[alike] & ~is_twice
        bodies += _plain_lines(batch, book, lines, chosen[alike[good]], order[good], shared.of(alike[good]))
        for place in alike[~plain[alike] & ~is_twice].tolist():
            number = chosen[place]
            rows = range(int(lines.begin[number]), int(lines.end[number]))
            bodies.append(_odd_line(batch, book, rows, shared.text(place), int(lines.at_ms[number])))
    return "".join(bodies)[1:].encode(), sorted(twice)


class _Shared(NamedTuple):
    """What the readings of a line have in common, up to the message's positions: `texts` by `number` of each line."""

    texts: list[str]
    number: NDArray[np.int64]

    def text(self, line: int) -> str:
        return self.texts[int(self.number[line])]

    def of(self, chosen: NDArray[np.int64]) -> list[str]:
        return [self.texts[number] for number in self.number[chosen].tolist()]


def _shared_texts(batch: ReadingBatch, origin_number: NDArray[np.int64], *, stored_at_ms: int) -> _Shared:
    """By line; `origin_number` is that of each."""
    used, number = np.unique(origin_number, return_inverse=True)
    speaker_of: dict[tuple[str, str], str] = {}
    texts = []
    for received_at_ms, gateway_id, boot_id, seq in [batch.origins[one] for one in used.tolist()]:
        speaker = speaker_of.get((gateway_id, boot_id))
        if speaker is None:
            speaker = speaker_of[gateway_id, boot_id] = (
                f'i,stored_at={stored_at_ms}i,message="{escape_text(f"{gateway_id}/{boot_id}")}/'
            )
        texts.append(f",received_at={received_at_ms}{speaker}{seq}/")
    return _Shared(texts, number)


def _plain_lines(
    batch: ReadingBatch,
    book: SeriesBook,
    lines: Lines,
    chosen: NDArray[np.int64],
    order: NDArray[np.int64],
    shared: list[str],
) -> list[str]:
    """Pieces of plain lines that have as many values each; `order` is that of their field keys, shape (lines, values)."""
    count, fields = order.shape
    if not count:
        return []
    begin = lines.begin[chosen]
    rows = begin[:, None] + np.arange(fields)
    series = batch.series_number[rows].T.tolist()
    values = _number_texts(batch.value[rows].T.ravel().tolist())
    tails = _Texts(_end_of_message)
    stride = 2 * fields + 3
    pieces = [""] * (stride * count)
    for place, numbers in enumerate(series):
        texts = book.nexts if place else book.heads
        pieces[2 * place :: stride] = [texts[number] for number in numbers]
        pieces[2 * place + 1 :: stride] = values[place * count : (place + 1) * count]
    pieces[2 * fields :: stride] = shared
    positions = (batch.position[begin][:, None] + order).tolist()
    pieces[2 * fields + 1 :: stride] = [tails[of_line] for of_line in map(tuple, positions)]
    pieces[2 * fields + 2 :: stride] = _number_texts(lines.at_ms[chosen].tolist())
    return pieces


def _number_texts(numbers: list[float] | list[int]) -> list[str]:
    """Text of each finite number, which reads back as the same."""
    return msgspec.json.encode(numbers).decode()[1:-1].split(",")


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
    """A line with its line break before it."""
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
    return f'\nreading,pool_id={pool} {carried}{shared}{tail}" {at_ms}'
