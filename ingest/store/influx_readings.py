"""Writing readings into InfluxDB: what is surely new at once, what may meet a stored reading after one question."""

from collections import Counter
from collections.abc import Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ingest.store.batches import ReadingBatch, WriteOutcome
from ingest.store.influx_answers import answer_columns, answer_records, to_ms
from ingest.store.influx_connection import InfluxConnection
from ingest.store.influx_lines import HOUR_MS, NS_PER_MS
from ingest.store.influx_meeting import Meetings
from ingest.store.influx_questions import newest_instants, next_instants, stored_readings
from ingest.store.influx_reading_lines import Lines, SeriesBook, encode_lines, find_lines
from ingest.store.influx_unwritten import HOLE_MS, Unwritten
from ingest.store.ports import StoreRejectedError
from ingest.store.records import STATUS_NAMES

#: What InfluxDB can hold: the years 1678 to 2261. [ms since the epoch]
_FIRST_MS, _LAST_MS = -9_223_372_000_000, 9_223_372_000_000
#: Lines of one request: smaller ones cost the server more for each line. While it takes one, the next is put into words.
_LINES_AT_ONCE = 6_000
_REQUESTS_AT_ONCE = 3
#: Readings in doubt that lie further apart than this are asked for apart: what lies between them is not wanted.
_APART_MS = 600_000


class Told(NamedTuple):
    """What there is to tell of: new rows by (pool, hour); hours with a replaced one; repeated rows by (…, stored_at)."""

    new: Counter[tuple[str, int]]
    replaced: set[tuple[str, int]]
    repeated: Counter[tuple[str, int, int]]


class ReadingsWriter:
    """Ingest's writing of readings; one call at a time.

    `write` returns what is to be told; when that is told, `settle` makes the batch known. A batch that failed anywhere
    stays unknown, so that the next attempt writes it again as it is.
    """

    def __init__(self, connection: InfluxConnection, bucket: str) -> None:
        self._connection = connection
        self._bucket = bucket
        self._unwritten = Unwritten()
        self._book = SeriesBook(())
        self._written: Lines | None = None
        self._holes: list[tuple[str, tuple[int, int]]] = []
        self._senders = ThreadPoolExecutor(_REQUESTS_AT_ONCE, thread_name_prefix="influx-write")

    def close(self) -> None:
        """End the threads; nothing is under way outside `write`."""
        self._senders.shutdown()

    def write(self, batch: ReadingBatch, *, stored_at_ms: int) -> tuple[WriteOutcome, Told]:
        """Store readings; the outcome, and what is to be told.

        Raises
        ------
        StoreRejectedError
            If a reading is impossible, then nothing is written; or InfluxDB refuses one, then others may be.
        StoreUnavailableError
            Not now.
        """
        check_readings(batch)
        if batch.series is not self._book.series:
            self._book = SeriesBook(batch.series)
        self._written, self._holes = None, []
        lines = find_lines(batch, self._book)
        self._learn(lines)
        clear, doubtful = self._divide(lines)
        clear[self._send(batch, lines, np.flatnonzero(clear), stored_at_ms)] = False
        asked = np.flatnonzero(doubtful)
        meetings = Meetings(self._ask(lines, asked) if len(asked) else {}, stored_at_ms)
        for number in np.flatnonzero(~clear).tolist():
            for row in range(int(lines.begin[number]), int(lines.end[number])):
                meetings.meet(batch.row(row))
        displaced = meetings.displaced_lines()
        if displaced:
            self._connection.write(self._bucket, "\n".join(displaced).encode(), precision="ms")
        met = meetings.lines()
        if met:
            self._connection.write(self._bucket, "\n".join(met).encode(), precision="ms")
        new = self._count(lines, np.flatnonzero(clear)) + meetings.new
        self._written = lines
        outcome = WriteOutcome(sum(new.values()), tuple(meetings.duplicates), tuple(meetings.conflicts))
        return outcome, Told(new, meetings.replaced, meetings.repeated)

    def _send(
        self, batch: ReadingBatch, lines: Lines, chosen: NDArray[np.int64], stored_at_ms: int
    ) -> list[int]:
        """Write lines that meet no other, some requests at once; the numbers of those that name a series twice, unwritten.

        They are all answered when it returns or raises, so that a next attempt meets none of them under way.
        """
        twice: list[int] = []
        under_way: list[Future[None]] = []
        for begin in range(0, len(chosen), _LINES_AT_ONCE):
            part = chosen[begin : begin + _LINES_AT_ONCE]
            body, left_out = encode_lines(batch, self._book, lines, part, stored_at_ms=stored_at_ms)
            twice += left_out
            if body:
                under_way.append(
                    self._senders.submit(self._connection.write, self._bucket, body, precision="ms")
                )
        wait(under_way)
        for sent in under_way:
            sent.result()
        return twice

    def settle(self) -> None:
        """Take the last batch as written and told."""
        for pool_id, hole in self._holes:
            self._unwritten.note_hole(pool_id, hole)
        if self._written is not None:
            self._note(self._written)
        self._written, self._holes = None, []

    def _learn(self, lines: Lines) -> None:
        pools = [self._book.pools[number] for number in np.unique(lines.pool).tolist()]
        unknown = self._unwritten.unknown(pools)
        if not unknown:
            return
        answer = self._connection.ask(newest_instants(self._bucket, unknown))
        newest = _by_pool(answer)
        for pool_id in {*unknown, *self._unwritten.unknown(list(newest))}:
            self._unwritten.learn(pool_id, newest.get(pool_id))

    def _divide(self, lines: Lines) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which lines are surely new and alone at their pool and instant; which may meet a stored one."""
        used, place = np.unique(lines.pool, return_inverse=True)
        newest = np.array(
            [self._unwritten.newest_ms(self._book.pools[number]) for number in used.tolist()], dtype=np.int64
        )
        doubtful = lines.at_ms <= newest[place]
        for number in np.flatnonzero(doubtful).tolist():
            pool_id = self._book.pools[lines.pool[number]]
            doubtful[number] = not self._unwritten.in_hole(pool_id, int(lines.at_ms[number]))
        order = np.lexsort((lines.at_ms, lines.pool))
        same = (np.diff(lines.pool[order]) == 0) & (np.diff(lines.at_ms[order]) == 0)
        alone = np.ones(len(order), dtype=np.bool_)
        alone[order[1:][same]] = False
        alone[order[:-1][same]] = False
        return alone & ~doubtful, doubtful

    def _ask(self, lines: Lines, asked: NDArray[np.int64]) -> dict[tuple[object, ...], dict[str, str]]:
        """What is stored around the lines in doubt; notes what else was learned of their pools."""
        stored: dict[tuple[object, ...], dict[str, str]] = {}
        order = asked[np.argsort(lines.at_ms[asked], kind="stable")]
        cuts = np.flatnonzero(np.diff(lines.at_ms[order]) > _APART_MS) + 1
        for part in np.split(order, cuts):
            pools = {self._book.pools[number] for number in lines.pool[part].tolist()}
            first_ms, last_ms = int(lines.at_ms[part[0]]), int(lines.at_ms[part[-1]])
            question = stored_readings(self._bucket, pools, first_ms * NS_PER_MS, (last_ms + 1) * NS_PER_MS)
            stored |= answer_records(self._connection.ask(question), "_measurement", "pool_id")
        empty = pools - {str(key[1]) for key in stored}
        if empty:
            # A backlog after a restart: from here on to the next stored instant nothing needs a question.
            self._look_ahead(empty, last_ms)
        return stored

    def _look_ahead(self, pools: Collection[str], after_ms: int) -> None:
        answer = self._connection.ask(next_instants(self._bucket, pools, (after_ms + 1) * NS_PER_MS))
        self._holes = [
            (pool_id, (after_ms, at_ms)) for pool_id, at_ms in _by_pool(answer).items() if pool_id in pools
        ]

    def _count(self, lines: Lines, chosen: NDArray[np.int64]) -> Counter[tuple[str, int]]:
        """How many readings of the chosen lines each pool and hour has."""
        hour = lines.at_ms[chosen] // HOUR_MS
        pool = lines.pool[chosen]
        rows = lines.end[chosen] - lines.begin[chosen]
        order = np.lexsort((hour, pool))
        begins = np.flatnonzero(
            np.concatenate([[True], (np.diff(pool[order]) != 0) | (np.diff(hour[order]) != 0)])[: len(order)]
        )
        if not len(begins):
            return Counter()
        sums = np.add.reduceat(rows[order], begins).tolist()
        places = zip(pool[order][begins].tolist(), hour[order][begins].tolist(), sums, strict=True)
        return Counter({(self._book.pools[number], at * HOUR_MS): total for number, at, total in places})

    def _note(self, lines: Lines) -> None:
        """Make a batch's instants known, most of them by their first and last in each pool."""
        order = np.lexsort((lines.at_ms, lines.pool))
        pool, at_ms = lines.pool[order], lines.at_ms[order]
        changes = np.flatnonzero(np.diff(pool)) + 1
        begin = np.concatenate([[0], changes])
        end = np.append(changes, len(pool))
        gaps = np.diff(at_ms, prepend=at_ms[0])
        gaps[begin] = 0
        steady = np.maximum.reduceat(gaps, begin) < HOLE_MS
        columns = (pool[begin], begin, end, at_ms[begin], at_ms[end - 1], steady)
        for number, first, beyond, first_ms, last_ms, is_steady in zip(
            *(column.tolist() for column in columns), strict=True
        ):
            pool_id = self._book.pools[number]
            if not (is_steady and self._unwritten.note_next(pool_id, first_ms, last_ms)):
                self._unwritten.note_written(pool_id, at_ms[first:beyond].tolist())


def check_readings(batch: ReadingBatch) -> None:
    """Refuse what no store takes.

    Raises
    ------
    StoreRejectedError
        If a value is infinite, a status is none of a reading's, or an instant is out of what InfluxDB can hold.
    """
    outside = (batch.measured_at_ms < _FIRST_MS) | (batch.measured_at_ms > _LAST_MS)
    bad = np.flatnonzero(np.isinf(batch.value) | (batch.status >= len(STATUS_NAMES)) | outside)
    if len(bad):
        row = int(bad[0])
        series = batch.series[batch.series_number[row]]
        raise StoreRejectedError(
            f"reading of {series.pool_id}/{series.sensor_id} at {batch.measured_at_ms[row]} ms has value "
            f"{batch.value[row]} and status code {batch.status[row]}; give a number or null, a reading's status, "
            "and an instant between the years 1678 and 2261"
        )


def _by_pool(answer: bytes) -> dict[str, int]:
    pools: Sequence[str]
    pools, instants = answer_columns(answer, pool_id="text", _time="time")
    return dict(zip(pools, to_ms(instants).tolist(), strict=True))
