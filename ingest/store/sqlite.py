"""The embedded store: one SQLite file that several processes use at once. For up to about 100 pools."""

from collections.abc import Sequence
from pathlib import Path

from ingest.store import sqlite_arrivals, sqlite_facts, sqlite_publications, sqlite_results
from ingest.store.batches import IngestBatch, WriteOutcome
from ingest.store.records import (
    Arrival,
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
from ingest.store.sqlite_readings import write_readings
from ingest.store.sqlite_session import Session


class SqliteStore:
    """The port `ingest.store.ports.Store` on one file, made if absent; methods may be called from any thread.

    Every write is one transaction and is on the disk when the call returns (WAL, synchronous=FULL). Writers
    of all processes take turns and wait up to 5 s for theirs; then, and with a full or failing disk,
    StoreUnavailableError.

    Raises
    ------
    StoreError
        If the file was written by a newer poolwatch.
    StoreUnavailableError
        If its folder is missing or the file cannot be opened.
    StoreRejectedError
        If the file is something else than an SQLite database.
    """

    #: Looking is one seek in a file of this machine. [s]
    poll_s = 0.05

    def __init__(self, path: Path) -> None:
        self._session = Session(path)

    def write(self, batch: IngestBatch, *, stored_at_ms: int) -> WriteOutcome:
        """Store a batch and its arrivals in one step.

        `stored` is the net growth of readings: one that replaces another adds none, and the other is the
        conflict. Such an hour arrives too, with `rows` 0 if nothing else in it is new. A repeated write tells
        the same conflicts.
        """
        names = self._session.names
        with self._session.writing() as connection:
            outcome = write_readings(connection, names, batch.readings, stored_at_ms=stored_at_ms)
            sqlite_facts.write_logbook(connection, names, batch.logbook, stored_at_ms=stored_at_ms)
            sqlite_facts.write_statuses(connection, batch.statuses)
            sqlite_facts.write_registry_versions(
                connection, batch.registry_versions, stored_at_ms=stored_at_ms
            )
        return outcome

    def arrivals_after(self, cursor: str | None, *, limit: int = 10_000) -> tuple[list[Arrival], str]:
        """Arrivals since `cursor`, oldest first, and the cursor after them."""
        with self._session.reading() as connection:
            return sqlite_arrivals.arrivals_after(connection, cursor, limit=limit)

    def readings(self, pool_id: str, *, from_ms: int, to_ms: int) -> dict[SeriesKey, ReadingColumns]:
        """Readings of a pool with from_ms <= measured_at < to_ms, by series."""
        with self._session.reading() as connection:
            return sqlite_facts.read_columns(connection, pool_id, from_ms=from_ms, to_ms=to_ms)

    def latest(self, pool_id: str) -> dict[SeriesKey, ReadingColumns]:
        """Return the newest reading of each series of a pool: arrays of shape (1,)."""
        with self._session.reading() as connection:
            return sqlite_facts.read_latest(connection, pool_id)

    def first_reading_ms(self, pool_id: str) -> int | None:
        """`measured_at` of the oldest reading of a pool; None if it has none."""
        with self._session.reading() as connection:
            return sqlite_facts.read_first_ms(connection, pool_id)

    def publications(self, pool_id: str, *, from_ms: int, to_ms: int) -> dict[SeriesKey, PublicationColumns]:
        """Published values of a pool with from_ms <= published_at < to_ms, by series."""
        with self._session.reading() as connection:
            return sqlite_publications.read_publications(connection, pool_id, from_ms=from_ms, to_ms=to_ms)

    def logbook(self, pool_id: str, *, from_ms: int, to_ms: int) -> list[LogbookRow]:
        """Logbook entries of a pool with from_ms <= at < to_ms, by `at`."""
        with self._session.reading() as connection:
            return sqlite_facts.read_logbook(connection, pool_id, from_ms=from_ms, to_ms=to_ms)

    def registry_text(self) -> str | None:
        """Return the newest accepted registry; None before ingest accepted one."""
        with self._session.reading() as connection:
            return sqlite_facts.read_registry_text(connection)

    def write_results(
        self,
        *,
        verdicts: Sequence[VerdictRow],
        states: Sequence[PoolStateRow],
        progress: str | None = None,
        reader: str = "",
    ) -> None:
        """Append revisions and states, and remember the arrivals' cursor that they follow from, in one step.

        Raises
        ------
        StoreRejectedError
            If a revision is stored already with another content.
        """
        with self._session.writing() as connection:
            sqlite_results.write_verdicts(connection, verdicts)
            sqlite_results.write_states(connection, states)
            if progress is not None:
                sqlite_results.write_progress(connection, progress, reader)

    def progress(self, reader: str = "") -> str | None:
        """Return the cursor given with a reader's last `write_results`; None before there is one."""
        with self._session.reading() as connection:
            return sqlite_results.read_progress(connection, reader)

    def verdicts(
        self, pool_id: str, *, from_ms: int | None = None, to_ms: int | None = None, kind: str | None = None
    ) -> list[VerdictRow]:
        """Current revisions, withdrawn ones too, that overlap [from, to), by start; an open end is for ever."""
        with self._session.reading() as connection:
            return sqlite_results.read_verdicts(connection, pool_id, from_ms=from_ms, to_ms=to_ms, kind=kind)

    def verdict_revisions(self, verdict_id: str) -> list[VerdictRow]:
        """Every revision of a verdict, oldest first."""
        with self._session.reading() as connection:
            return sqlite_results.read_revisions(connection, verdict_id)

    def verdicts_after(self, cursor: str | None, *, limit: int = 10_000) -> tuple[list[VerdictRow], str]:
        """Revisions written since `cursor`, oldest first, and the cursor after them."""
        with self._session.reading() as connection:
            return sqlite_results.verdicts_after(connection, cursor, limit=limit)

    def pool_states(self) -> dict[str, PoolStateRow]:
        """Return the latest state of each pool that has one."""
        with self._session.reading() as connection:
            return sqlite_results.read_states(connection)

    def pool_states_after(self, cursor: str | None, *, limit: int = 10_000) -> tuple[list[PoolStateRow], str]:
        """States written since `cursor`, oldest first, and the cursor after them."""
        with self._session.reading() as connection:
            return sqlite_results.states_after(connection, cursor, limit=limit)

    def write_publications(self, rows: Sequence[PublicationRow], *, stored_at_ms: int) -> None:
        """Store what was published, with its arrivals, in one step."""
        with self._session.writing() as connection:
            sqlite_publications.write_publications(
                connection, self._session.names, rows, stored_at_ms=stored_at_ms
            )

    def counts(self) -> StoreCounts:
        """Totals for the account, all of one instant; verdicts by kind, without the withdrawn ones."""
        with self._session.reading() as connection:
            publications, published_readings = sqlite_publications.count_publications(connection)
            return StoreCounts(
                readings_by_pool=sqlite_facts.tally_readings(connection),
                logbook_by_pool=sqlite_facts.count_logbook(connection),
                publications=publications,
                published_readings=published_readings,
                verdicts=sqlite_results.count_verdicts(connection),
            )

    def readings_by_pool(self, *, from_ms: int, to_ms: int) -> dict[str, int]:
        """Count readings with from_ms <= measured_at < to_ms of each pool, in the table of readings itself."""
        with self._session.reading() as connection:
            return sqlite_facts.count_readings(connection, from_ms=from_ms, to_ms=to_ms)

    def gateway_statuses(self) -> dict[str, GatewayStatusRow]:
        """Return the newest status of each gateway that has said one."""
        with self._session.reading() as connection:
            return sqlite_facts.read_statuses(connection)

    def readings_waiting(self) -> int:
        """Readings whose arrivals come after `progress`: analytics has not worked through them yet."""
        with self._session.reading() as connection:
            return sqlite_arrivals.readings_after(connection, sqlite_results.read_least_progress(connection))

    def close(self) -> None:
        """Give back both connections."""
        self._session.close()
