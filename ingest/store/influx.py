"""The production store: InfluxDB 2.7, which several services and machines use at once, each with a token of its own."""

import secrets
import threading
from collections import Counter
from collections.abc import Sequence

from ingest.store import influx_columns, influx_publications, influx_records, influx_results
from ingest.store.batches import IngestBatch, WriteOutcome
from ingest.store.influx_address import InfluxAddress
from ingest.store.influx_answers import answer_columns
from ingest.store.influx_arrivals import Arrivals
from ingest.store.influx_connection import InfluxConnection
from ingest.store.influx_lines import NS_PER_MS
from ingest.store.influx_log import Log, parse_cursor
from ingest.store.influx_questions import null_counts, record_counts, value_counts
from ingest.store.influx_readings import ReadingsWriter, Told, check_readings
from ingest.store.records import (
    Arrival,
    ArrivalKind,
    GatewayStatusRow,
    LogbookRow,
    PoolStateRow,
    PublicationColumns,
    PublicationRow,
    ReadingColumns,
    SeriesKey,
    StoreCounts,
    VerdictRow,
)


class InfluxStore:
    """The port `ingest.store.ports.Store` on a server; methods may be called from any thread.

    A write is not one transaction: rows are stored first and told of afterwards, and a caller repeats what failed. A
    repeated write finds what is there, and tells of it if nobody was told.

    Parameters
    ----------
    address : InfluxAddress
        The server, the token and the buckets.
    """

    #: A question over the network; news come in batches about this often. [s]
    poll_s = 1.0

    def __init__(self, address: InfluxAddress) -> None:
        self._connection = InfluxConnection(address)
        self._buckets = address.buckets
        writer = secrets.token_hex(6)
        self._arrivals = Arrivals(
            self._connection, facts=self._buckets.facts, published=self._buckets.published, writer=writer
        )
        self._verdict_log = Log(
            self._connection, "verdict_log", buckets=[self._buckets.verdicts], writer=writer
        )
        self._state_log = Log(self._connection, "state_log", buckets=[self._buckets.states], writer=writer)
        self._readings = ReadingsWriter(self._connection, self._buckets.facts)
        self._one_batch_at_a_time = threading.Lock()

    def write(self, batch: IngestBatch, *, stored_at_ms: int) -> WriteOutcome:
        """Store a batch and tell of it.

        `stored` is the net growth of readings: one that replaces another adds none, and the other is the
        conflict. Such an hour arrives too, with `rows` 0 if nothing else in it is new. A repeated write tells
        the same conflicts.
        """
        connection, bucket = self._connection, self._buckets.facts
        check_readings(batch.readings)
        with self._one_batch_at_a_time:
            outcome, told = WriteOutcome(stored=0), Told(Counter(), set(), Counter())
            if len(batch.readings):
                outcome, told = self._readings.write(batch.readings, stored_at_ms=stored_at_ms)
            logbook = influx_records.write_logbook(
                connection, bucket, batch.logbook, stored_at_ms=stored_at_ms
            )
            statuses = influx_records.status_lines(batch.statuses)
            if statuses:
                connection.write(bucket, "\n".join(statuses).encode(), precision="ns")
            registry = influx_records.write_registry_versions(
                connection, bucket, batch.registry_versions, stored_at_ms=stored_at_ms
            )
            self._arrivals.tell(
                bucket,
                {
                    ArrivalKind.READINGS: told,
                    ArrivalKind.LOGBOOK: Told(logbook[0], set(), logbook[1]),
                    ArrivalKind.REGISTRY: Told(registry[0], set(), registry[1]),
                },
                stored_at_ms=stored_at_ms,
            )
            self._readings.settle()
        return outcome

    def arrivals_after(self, cursor: str | None, *, limit: int = 10_000) -> tuple[list[Arrival], str]:
        """Arrivals since `cursor` in the order of the server's clock, and the cursor after them; each once."""
        return self._arrivals.after(cursor, limit=limit)

    def readings(self, pool_id: str, *, from_ms: int, to_ms: int) -> dict[SeriesKey, ReadingColumns]:
        """Readings of a pool with from_ms <= measured_at < to_ms, by series."""
        return influx_columns.read_readings(
            self._connection, self._buckets.facts, pool_id, from_ms=from_ms, to_ms=to_ms
        )

    def latest(self, pool_id: str) -> dict[SeriesKey, ReadingColumns]:
        """Return the newest reading of each series of a pool: arrays of shape (1,)."""
        return influx_columns.read_latest(self._connection, self._buckets.facts, pool_id)

    def first_reading_ms(self, pool_id: str) -> int | None:
        """`measured_at` of the oldest reading of a pool; None if it has none."""
        return influx_columns.read_first_ms(self._connection, self._buckets.facts, pool_id)

    def publications(self, pool_id: str, *, from_ms: int, to_ms: int) -> dict[SeriesKey, PublicationColumns]:
        """Published values of a pool with from_ms <= published_at < to_ms, by series."""
        return influx_publications.read_publications(
            self._connection, self._buckets.published, pool_id, from_ms=from_ms, to_ms=to_ms
        )

    def logbook(self, pool_id: str, *, from_ms: int, to_ms: int) -> list[LogbookRow]:
        """Logbook entries of a pool with from_ms <= at < to_ms, by `at`."""
        return influx_records.read_logbook(
            self._connection, self._buckets.facts, pool_id, from_ms=from_ms, to_ms=to_ms
        )

    def registry_text(self) -> str | None:
        """Return the newest accepted registry; None before ingest accepted one."""
        return influx_records.read_registry_text(self._connection, self._buckets.facts)

    def write_results(
        self,
        *,
        verdicts: Sequence[VerdictRow],
        states: Sequence[PoolStateRow],
        progress: str | None = None,
        reader: str = "",
    ) -> None:
        """Append revisions, then states, then remember the arrivals' cursor that they follow from.

        If it fails on the way, the progress is the old one, and the same results again change nothing.

        Raises
        ------
        StoreRejectedError
            If a revision is stored already with another content, then nothing is written.
        """
        parse_cursor(progress)
        bucket = self._buckets.verdicts
        told = influx_results.write_verdicts(self._connection, bucket, verdicts)
        self._verdict_log.tell(bucket, told)
        told = influx_results.write_states(self._connection, self._buckets.states, states)
        self._state_log.tell(self._buckets.states, told)
        if progress is not None:
            influx_results.write_progress(self._connection, bucket, reader, progress)

    def progress(self, reader: str = "") -> str | None:
        """Return the cursor given with a reader's last `write_results`; None before there is one."""
        return influx_results.read_progress(self._connection, self._buckets.verdicts).get(reader)

    def verdicts(
        self, pool_id: str, *, from_ms: int | None = None, to_ms: int | None = None, kind: str | None = None
    ) -> list[VerdictRow]:
        """Current revisions, withdrawn ones too, that overlap [from, to), by start; an open end is for ever."""
        return influx_results.read_verdicts(
            self._connection, self._buckets.verdicts, pool_id, from_ms=from_ms, to_ms=to_ms, kind=kind
        )

    def verdict_revisions(self, verdict_id: str) -> list[VerdictRow]:
        """Every revision of a verdict, oldest first."""
        return influx_results.find_revisions(
            self._connection, self._buckets.verdicts, [verdict_id], from_ms=None
        )

    def verdicts_after(self, cursor: str | None, *, limit: int = 10_000) -> tuple[list[VerdictRow], str]:
        """Revisions written since `cursor`, oldest first, and the cursor after them."""
        told, after = self._verdict_log.after(cursor, limit=limit)
        return influx_results.read_told_verdicts(self._connection, self._buckets.verdicts, told), after

    def pool_states(self) -> dict[str, PoolStateRow]:
        """Return the latest state of each pool that has one."""
        return influx_results.read_states(self._connection, self._buckets.states)

    def pool_states_after(self, cursor: str | None, *, limit: int = 10_000) -> tuple[list[PoolStateRow], str]:
        """States written since `cursor`, oldest first, and the cursor after them."""
        told, after = self._state_log.after(cursor, limit=limit)
        return influx_results.read_told_states(self._connection, self._buckets.states, told), after

    def write_publications(self, rows: Sequence[PublicationRow], *, stored_at_ms: int) -> None:
        """Store what was published, and tell of it."""
        bucket = self._buckets.published
        new, repeated = influx_publications.write_publications(
            self._connection, bucket, rows, stored_at_ms=stored_at_ms
        )
        self._arrivals.tell(
            bucket, {ArrivalKind.PUBLICATION: Told(new, set(), repeated)}, stored_at_ms=stored_at_ms
        )

    def counts(self) -> StoreCounts:
        """Totals for the account; verdicts by kind, without the withdrawn ones. Reads a number of every point."""
        publications, published_readings = influx_publications.count_publications(
            self._connection, self._buckets.published
        )
        logbook = self._connection.ask(record_counts(self._buckets.facts, "logbook", "kind"))
        return StoreCounts(
            readings_by_pool=self.readings_by_pool(from_ms=-(2**62), to_ms=2**62),
            logbook_by_pool=_counted(logbook),
            publications=publications,
            published_readings=published_readings,
            verdicts=influx_results.count_verdicts(self._connection, self._buckets.verdicts),
        )

    def readings_by_pool(self, *, from_ms: int, to_ms: int) -> dict[str, int]:
        """How many readings with from_ms <= measured_at < to_ms each pool has, counted in the store itself."""
        if from_ms >= to_ms:
            return {}
        span = (self._buckets.facts, from_ms * NS_PER_MS, to_ms * NS_PER_MS)
        counts = Counter(_counted(self._connection.ask(value_counts(*span))))
        counts.update(_counted(self._connection.ask(null_counts(*span))))
        return dict(sorted(counts.items()))

    def gateway_statuses(self) -> dict[str, GatewayStatusRow]:
        """Return the newest status of each gateway that has said one."""
        return influx_records.read_statuses(self._connection, self._buckets.facts)

    def readings_waiting(self) -> int:
        """Readings (new rows of arrivals) that some reader has not worked through yet, after its `progress`."""
        known = influx_results.read_progress(self._connection, self._buckets.verdicts).values()
        return max(map(self._arrivals.readings_after, known or (None,)))

    def close(self) -> None:
        """Give back the connections."""
        self._readings.close()
        self._connection.close()


def _counted(answer: bytes) -> dict[str, int]:
    pools, counts = answer_columns(answer, pool_id="text", _value="int")
    return dict(zip(pools, counts.tolist(), strict=True))
