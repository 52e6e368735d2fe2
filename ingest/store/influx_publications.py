"""Publications in InfluxDB: what was served to the public, when, and of which reading; fields as those of readings."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from ingest.store.batches import Series
from ingest.store.influx_answers import answer_columns, answer_records
from ingest.store.influx_columns import fold_series, to_ms_of
from ingest.store.influx_connection import InfluxConnection
from ingest.store.influx_lines import HOUR_MS, NS_PER_MS, FieldValue, point_line
from ingest.store.influx_questions import (
    pool_numbers,
    pool_values,
    publication_count,
    published_instants,
    published_nulls,
    records,
)
from ingest.store.influx_reading_lines import field_key
from ingest.store.influx_records import New, Repeated, free_instant_ns
from ingest.store.ports import StoreRejectedError
from ingest.store.records import STATUS_CODES, PublicationColumns, PublicationRow, SeriesKey


def write_publications(
    connection: InfluxConnection, bucket: str, rows: Sequence[PublicationRow], *, stored_at_ms: int
) -> tuple[New, Repeated]:
    """Store publications that are not there yet, by (pool, hash, replica, published_at); what is new, and what was there.

    Raises
    ------
    StoreRejectedError
        If a value is no number, a status is none of a reading's, or a series is there twice; then nothing is written.
    """
    fields_of = [_fields(row, stored_at_ms) for row in rows]
    new: New = Counter()
    repeated: Repeated = Counter()
    stored_at: dict[tuple[str, int, str, str], int] = {}
    taken: defaultdict[str, set[int]] = defaultdict(set)
    for at_ms in sorted({row.published_at_ms for row in rows}):
        pools = {row.pool_id for row in rows if row.published_at_ms == at_ms}
        question = records(
            bucket, "publication", "pool_id replica", at_ms * NS_PER_MS, (at_ms + 1) * NS_PER_MS, pools
        )
        answer = answer_records(connection.ask(question), "pool_id", "replica")
        for (pool_id, replica, at_ns), fields in answer.items():
            taken[pool_id].add(at_ns)
            stored_at[pool_id, at_ms, replica, fields["hash"]] = int(fields["stored_at"])
    lines = []
    for row, fields_of_row in zip(rows, fields_of, strict=True):
        key = (row.pool_id, row.published_at_ms, row.replica, row.content_hash)
        hour = (row.pool_id, row.published_at_ms - row.published_at_ms % HOUR_MS)
        if key in stored_at:
            repeated[(*hour, stored_at[key])] += 1
            continue
        stored_at[key] = stored_at_ms
        new[hour] += 1
        # All of a pool keep apart, of other replicas too: readers fold them by instant.
        at_ns = free_instant_ns(row.published_at_ms, f"{row.replica}/{row.content_hash}", taken[row.pool_id])
        taken[row.pool_id].add(at_ns)
        tags = {"pool_id": row.pool_id, "replica": row.replica}
        lines.append(point_line("publication", tags, fields_of_row, at_ns))
    if lines:
        connection.write(bucket, "\n".join(lines).encode(), precision="ns")
    return new, repeated


def _fields(row: PublicationRow, stored_at_ms: int) -> dict[str, FieldValue]:
    fields: dict[str, FieldValue] = {
        "hash": row.content_hash,
        "state": row.state,
        "stored_at": stored_at_ms,
    }
    for shown in row.values:
        status = STATUS_CODES.get(shown.status)
        if status is None or (shown.value is not None and not math.isfinite(shown.value)):
            raise StoreRejectedError(
                f"publication of {row.pool_id}: {shown.quantity} has value {shown.value} and status "
                f"{shown.status!r}; give a number or null, and a reading's status"
            )
        key = field_key(Series(row.pool_id, shown.sensor_id, shown.quantity))
        if f"{key}/measured_at" in fields:
            raise StoreRejectedError(
                f"publication of {row.pool_id}: {shown.sensor_id}/{shown.quantity} is there twice"
            )
        if shown.value is None:
            fields[f"{key}/null"] = 1
        else:
            fields[key] = float(shown.value)
        fields |= {f"{key}/status": status, f"{key}/measured_at": shown.measured_at_ms}
    return fields


def read_publications(
    connection: InfluxConnection, bucket: str, pool_id: str, *, from_ms: int, to_ms: int
) -> dict[SeriesKey, PublicationColumns]:
    """Published values of a pool with from <= published_at < to, by series; none for a series without one."""
    if from_ms >= to_ms:
        return {}
    span = (bucket, "publication", pool_id, from_ms * NS_PER_MS, to_ms * NS_PER_MS)
    values, numbers = connection.ask(pool_values(*span)), connection.ask(pool_numbers(*span))
    return {
        key: PublicationColumns(
            published_at_ms=to_ms_of(facts),
            measured_at_ms=facts.numbers["measured_at"],
            value=facts.value,
            status=facts.numbers["status"].astype(np.uint8),
            stored_at_ms=facts.numbers["stored_at"],
        )
        for key, facts in fold_series(values, numbers, "measured_at", "stored_at").items()
    }


def count_publications(connection: InfluxConnection, bucket: str) -> tuple[int, int]:
    """Publications, and the distinct readings that were published with a value."""
    (counts,) = answer_columns(connection.ask(publication_count(bucket)), _value="int")
    everything = answer_columns(
        connection.ask(published_instants(bucket)), pool_id="text", _field="text", _time="time", _value="int"
    )
    nulls = answer_columns(
        connection.ask(published_nulls(bucket)), pool_id="text", _field="text", _time="time"
    )
    without = {
        (pool_id, name.removesuffix("/null"), at_ns)
        for pool_id, name, at_ns in zip(nulls[0], nulls[1], nulls[2].tolist(), strict=True)
    }
    published = {
        (pool_id, name.removesuffix("/measured_at"), measured_at_ms)
        for pool_id, name, at_ns, measured_at_ms in zip(
            everything[0], everything[1], everything[2].tolist(), everything[3].tolist(), strict=True
        )
        if (pool_id, name.removesuffix("/measured_at"), at_ns) not in without
    }
    return int(counts.sum()), len(published)
