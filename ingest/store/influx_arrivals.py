"""Arrivals in InfluxDB: a log of what became new, told after it is stored; also of what an earlier life stored untold."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from ingest.store.influx_connection import InfluxConnection
from ingest.store.influx_lines import HOUR_MS, NS_PER_MS
from ingest.store.influx_log import Log
from ingest.store.influx_questions import FIRST_NS, LAST_NS
from ingest.store.influx_readings import Told
from ingest.store.records import Arrival, ArrivalKind

_AROUND_NS = 3_600_000_000_000
Entry = list[Any]


class Arrivals:
    """The log of arrivals; ingest tells in the bucket of facts, the public service in that of publications."""

    def __init__(self, connection: InfluxConnection, *, facts: str, published: str, writer: str) -> None:
        # Two logs, two names: a mark of the cursor follows one log whose points become visible in their order.
        self._facts = Log(connection, "arrival", buckets=[facts], writer=f"{writer}-f")
        self._log_of = {
            facts: self._facts,
            published: Log(connection, "arrival", buckets=[published], writer=f"{writer}-p"),
        }
        self._all = Log(connection, "arrival", buckets=[facts, published], writer="")

    def tell(self, bucket: str, changes: Mapping[ArrivalKind, Told], *, stored_at_ms: int) -> None:
        """Tell of what was stored just now, and of repeated rows of which nobody was told."""
        rows_of: defaultdict[int, list[Entry]] = defaultdict(list)
        for kind, told in changes.items():
            hours = {**dict.fromkeys(told.replaced, 0), **told.new}
            rows_of[stored_at_ms] += _entries(kind, hours, stored_at_ms)
            # Told of late, with the instant at which they were stored, so that the next look finds them told of.
            for then_ms, untold in self._untold(bucket, kind, told.repeated).items():
                rows_of[then_ms] += _entries(kind, untold, then_ms)
        for _, entries in sorted(rows_of.items()):
            self._log_of[bucket].tell(bucket, entries, sums=_sums)

    def after(self, cursor: str | None, *, limit: int) -> tuple[list[Arrival], str]:
        """Arrivals since `cursor`, in the order of the server's clock, and the cursor after them."""
        entries, after = self._all.after(cursor, limit=limit)
        return [_as_arrival(entry) for entry in entries], after

    def readings_after(self, cursor: str | None) -> int:
        """Sum of `rows` over the arrivals of readings since `cursor`."""
        total, rest = self._facts.total_after(cursor, "readings")
        return total + _sums(rest)["readings"]

    def _untold(
        self, bucket: str, kind: ArrivalKind, repeated: Counter[tuple[str, int, int]]
    ) -> dict[int, Counter[tuple[str, int]]]:
        """Repeated rows whose arrival is missing: a writer ended between storing them and telling.

        They are known by their instant of storing, which a writer gives to one batch only.
        """
        if not repeated:
            return {}
        stored_at = {stored_at_ms for _, _, stored_at_ms in repeated}
        around = (min(stored_at) * NS_PER_MS - _AROUND_NS, max(stored_at) * NS_PER_MS + _AROUND_NS)
        missing = repeated
        # The server's clock and the writer's agree within an hour, nearly always: look there first.
        for from_ns, to_ns in (around, (FIRST_NS, LAST_NS)):
            told = {
                (entry[1], entry[2] * HOUR_MS, entry[4])
                for entry in self._log_of[bucket].entries_with(
                    "stored_at", stored_at, from_ns=from_ns, to_ns=to_ns
                )
                if entry[0] == kind.value
            }
            missing = Counter({key: count for key, count in missing.items() if key not in told})
            if not missing:
                break
        rows: defaultdict[int, Counter[tuple[str, int]]] = defaultdict(Counter)
        for (pool_id, hour_ms, stored_at_ms), count in missing.items():
            rows[stored_at_ms][pool_id, hour_ms] += count
        return rows


def _entries(kind: ArrivalKind, rows: Mapping[tuple[str, int], int], stored_at_ms: int) -> list[Entry]:
    name = kind.value
    return [
        [name, pool_id, hour_ms // HOUR_MS, count, stored_at_ms]
        for (pool_id, hour_ms), count in sorted(rows.items())
    ]


def _sums(entries: Sequence[Entry]) -> dict[str, int]:
    """Integer fields of a point: its readings, and when its entries were stored, which is one instant for all."""
    readings = sum(entry[3] for entry in entries if entry[0] == ArrivalKind.READINGS.value)
    return {"readings": readings, "stored_at": entries[0][4] if entries else 0}


def _as_arrival(entry: Entry) -> Arrival:
    kind, pool_id, hour, rows, stored_at_ms = entry
    return Arrival(ArrivalKind(kind), pool_id, hour * HOUR_MS, rows, stored_at_ms)
