"""Records of one point each in InfluxDB: how points of one instant keep apart, and the logbook, statuses and registry."""

import hashlib
from collections import Counter
from collections.abc import Container, Sequence

from ingest.store.influx_answers import answer_columns, answer_records
from ingest.store.influx_connection import InfluxConnection
from ingest.store.influx_lines import HOUR_MS, NS_PER_MS, FieldValue, point_line
from ingest.store.influx_questions import newest_records, records, registry_times
from ingest.store.records import GatewayStatusRow, LogbookRow, RegistryVersionRow

#: InfluxDB takes texts up to 1 MiB, and a character may have four bytes.
_TEXT_PART = 200_000

New = Counter[tuple[str, int]]
Repeated = Counter[tuple[str, int, int]]


def free_instant_ns(at_ms: int, identity: str, taken: Container[int]) -> int:
    """A nanosecond within a millisecond: by the record's identity, else the next that is not taken.

    The same record gets the same instant in an empty millisecond, whoever writes it.
    """
    begin_ns = at_ms * NS_PER_MS
    offset = int.from_bytes(hashlib.blake2b(identity.encode(), digest_size=8).digest()) % NS_PER_MS
    while begin_ns + offset in taken:
        offset = (offset + 1) % NS_PER_MS
    return begin_ns + offset


def write_logbook(
    connection: InfluxConnection, bucket: str, rows: Sequence[LogbookRow], *, stored_at_ms: int
) -> tuple[New, Repeated]:
    """Store logbook entries that are not there yet; what is new, and what was there."""
    new: New = Counter()
    repeated: Repeated = Counter()
    if not rows:
        return new, repeated
    stored_at: dict[tuple[str, ...], int] = {}
    taken: dict[str, set[int]] = {}
    for at_ms in sorted({row.at_ms for row in rows}):
        pools = {row.pool_id for row in rows if row.at_ms == at_ms}
        question = records(bucket, "logbook", "pool_id", at_ms * NS_PER_MS, (at_ms + 1) * NS_PER_MS, pools)
        for (pool_id, at_ns), fields in answer_records(connection.ask(question), "pool_id").items():
            taken.setdefault(pool_id, set()).add(at_ns)
            stored_at[(pool_id, str(at_ms), fields["message"])] = int(fields["stored_at"])
    lines = []
    for row in rows:
        message = f"{row.gateway_id}/{row.boot_id}/{row.seq}/{row.position}"
        identity = (row.pool_id, str(row.at_ms), message)
        hour = (row.pool_id, row.at_ms - row.at_ms % HOUR_MS)
        if identity in stored_at:
            repeated[(*hour, stored_at[identity])] += 1
            continue
        of_pool = taken.setdefault(row.pool_id, set())
        at_ns = free_instant_ns(row.at_ms, message, of_pool)
        of_pool.add(at_ns)
        stored_at[identity] = stored_at_ms
        new[hour] += 1
        fields_of_row: dict[str, FieldValue] = {
            "kind": row.kind,
            "received_at": row.received_at_ms,
            "stored_at": stored_at_ms,
            "message": message,
            "body": row.body.decode(),
        }
        lines.append(point_line("logbook", {"pool_id": row.pool_id}, fields_of_row, at_ns))
    if lines:
        connection.write(bucket, "\n".join(lines).encode(), precision="ns")
    return new, repeated


def read_logbook(
    connection: InfluxConnection, bucket: str, pool_id: str, *, from_ms: int, to_ms: int
) -> list[LogbookRow]:
    """Logbook entries of a pool with from <= at < to, by `at`, then by message."""
    if from_ms >= to_ms:
        return []
    question = records(bucket, "logbook", "pool_id", from_ms * NS_PER_MS, to_ms * NS_PER_MS, [pool_id])
    found = []
    for (_, at_ns), fields in answer_records(connection.ask(question), "pool_id").items():
        gateway_id, boot_id, seq, position = fields["message"].rsplit("/", 3)
        found.append(
            LogbookRow(
                pool_id,
                fields["kind"],
                at_ns // NS_PER_MS,
                int(fields["received_at"]),
                gateway_id,
                boot_id,
                int(seq),
                int(position),
                fields["body"].encode(),
            )
        )
    return sorted(found, key=lambda row: row[2:8])


def status_lines(rows: Sequence[GatewayStatusRow]) -> list[str]:
    """What gateways say of themselves, in nanoseconds; a repeated one is the same point."""
    return [
        point_line(
            "gateway_status",
            {"gateway_id": row.gateway_id},
            {"state": row.state, "boot_id": row.boot_id, "body": row.body.decode()},
            row.received_at_ms * NS_PER_MS,
        )
        for row in rows
    ]


def read_statuses(connection: InfluxConnection, bucket: str) -> dict[str, GatewayStatusRow]:
    """The newest status of each gateway."""
    answer = connection.ask(newest_records(bucket, "gateway_status", "gateway_id"))
    return {
        gateway_id: GatewayStatusRow(
            gateway_id, at_ns // NS_PER_MS, fields["state"], fields["boot_id"], fields["body"].encode()
        )
        for (gateway_id, at_ns), fields in sorted(answer_records(answer, "gateway_id").items())
    }


def write_registry_versions(
    connection: InfluxConnection, bucket: str, rows: Sequence[RegistryVersionRow], *, stored_at_ms: int
) -> tuple[New, Repeated]:
    """Store accepted versions of the registry that are not there yet; what is new, and what was there."""
    new: New = Counter()
    repeated: Repeated = Counter()
    if not rows:
        return new, repeated
    known = _registry_versions(connection, bucket)
    lines = []
    for row in rows:
        key = (row.accepted_at_ms * NS_PER_MS, row.sha256)
        if key in known:
            repeated["", 0, known[key]] += 1
            continue
        known[key] = stored_at_ms
        new["", 0] += 1
        parts = [row.text[begin : begin + _TEXT_PART] for begin in range(0, len(row.text), _TEXT_PART)]
        fields: dict[str, FieldValue] = {"stored_at": stored_at_ms, "parts": len(parts)}
        fields |= {f"part_{number}": part for number, part in enumerate(parts)}
        lines.append(point_line("registry", {"sha256": row.sha256}, fields, key[0]))
    if lines:
        connection.write(bucket, "\n".join(lines).encode(), precision="ns")
    return new, repeated


def _registry_versions(connection: InfluxConnection, bucket: str) -> dict[tuple[int, str], int]:
    hashes, instants, stored_at = answer_columns(
        connection.ask(registry_times(bucket)), sha256="text", _time="time", _value="int"
    )
    return dict(zip(zip(instants.tolist(), hashes, strict=True), stored_at.tolist(), strict=True))


def read_registry_text(connection: InfluxConnection, bucket: str) -> str | None:
    """The newest accepted registry; None before there is one."""
    versions = _registry_versions(connection, bucket)
    if not versions:
        return None
    at_ns, sha256 = max(versions, key=lambda key: (key[0], _backwards(key[1])))
    question = records(bucket, "registry", "sha256", at_ns, at_ns + 1)
    fields = answer_records(connection.ask(question), "sha256")[sha256, at_ns]
    return "".join(fields[f"part_{number}"] for number in range(int(fields["parts"])))


def _backwards(text: str) -> tuple[int, ...]:
    """For two versions of one instant: the smaller hash, as in every store."""
    return tuple(-ord(character) for character in text)
