"""Verdicts and pool states in InfluxDB: appended, with logs that a cursor follows."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from ingest.store.influx_answers import answer_columns, answer_records
from ingest.store.influx_connection import InfluxConnection
from ingest.store.influx_lines import NS_PER_MS, FieldValue, point_line
from ingest.store.influx_questions import FIRST_NS, LAST_NS, newest_records, records, revisions_of
from ingest.store.influx_records import free_instant_ns
from ingest.store.ports import StoreRejectedError
from ingest.store.records import PoolStateRow, VerdictRow

#: A verdict is judged after it began; a clock may be off.
_BEFORE_START_MS = 86_400_000
_PROGRESS_NS = 0
#: So many verdicts are asked for by name in one question.
_IDS_OF_A_QUESTION = 500

Revision = tuple[str, int]


def write_verdicts(
    connection: InfluxConnection, bucket: str, rows: Sequence[VerdictRow]
) -> list[list[object]]:
    """Append revisions; what a log tells of them, for those that are new.

    Raises
    ------
    StoreRejectedError
        If a revision is stored already with another content; then nothing is written.
    """
    if not rows:
        return []
    stored, taken = _stored_revisions(connection, bucket, rows)
    lines, told = [], []
    for row in rows:
        standing = stored.get((row.verdict_id, row.revision))
        if standing == row:
            continue
        if standing is not None:
            raise StoreRejectedError(
                f"verdict {row.verdict_id} of {row.pool_id}: another revision {row.revision} is stored "
                "already; revisions are never overwritten. Are two analytics services judging this pool?"
            )
        stored[row.verdict_id, row.revision] = row
        of_series = taken[row.kind, row.pool_id]
        at_ns = free_instant_ns(row.judged_at_ms, f"{row.verdict_id}/{row.revision}", of_series)
        of_series.add(at_ns)
        lines.append(_verdict_line(row, at_ns))
        told.append([row.verdict_id, row.revision, at_ns])
    if lines:
        connection.write(bucket, "\n".join(lines).encode(), precision="ns")
    return told


def _verdict_line(row: VerdictRow, at_ns: int) -> str:
    fields: dict[str, FieldValue] = {
        "id": row.verdict_id,
        "revision": row.revision,
        "state": row.state,
        "start": row.start_ms,
        "judged_at": row.judged_at_ms,
        "body": row.body.decode(),
    }
    if row.end_ms is not None:
        fields["end"] = row.end_ms
    return point_line("verdict", {"kind": row.kind, "pool_id": row.pool_id}, fields, at_ns)


def _stored_revisions(
    connection: InfluxConnection, bucket: str, rows: Sequence[VerdictRow]
) -> tuple[dict[Revision, VerdictRow], defaultdict[tuple[str, str], set[int]]]:
    """What is stored of some verdicts, and which instants of their pools are taken."""
    stored = {
        (row.verdict_id, row.revision): row
        for row in find_revisions(
            connection,
            bucket,
            {row.verdict_id for row in rows},
            from_ms=min(row.start_ms for row in rows) - _BEFORE_START_MS,
        )
    }
    taken: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
    for at_ms in {row.judged_at_ms for row in rows}:
        pools = {row.pool_id for row in rows if row.judged_at_ms == at_ms}
        for kind, pool_id, at_ns in _points(
            connection, bucket, at_ms * NS_PER_MS, (at_ms + 1) * NS_PER_MS, pools
        ):
            taken[kind, pool_id].add(at_ns)
    return stored, taken


def find_revisions(
    connection: InfluxConnection, bucket: str, verdict_ids: Iterable[str], *, from_ms: int | None
) -> list[VerdictRow]:
    """Every revision of some verdicts, by id, oldest first."""
    from_ns = FIRST_NS if from_ms is None else from_ms * NS_PER_MS
    wanted = sorted(verdict_ids)
    found: list[VerdictRow] = []
    for begin in range(0, len(wanted), _IDS_OF_A_QUESTION):
        part = wanted[begin : begin + _IDS_OF_A_QUESTION]
        answer = connection.ask(revisions_of(bucket, part, from_ns))
        kinds, pools, instants = answer_columns(answer, kind="text", pool_id="text", _time="time")
        if not pools:
            continue
        heads = set(zip(kinds, pools, instants.tolist(), strict=True))
        points = _points(connection, bucket, int(instants.min()), int(instants.max()) + 1, set(pools))
        found += [_as_verdict(key, fields) for key, fields in points.items() if key in heads]
    return sorted(found, key=lambda row: (row.verdict_id, row.revision))


def read_verdicts(
    connection: InfluxConnection,
    bucket: str,
    pool_id: str,
    *,
    from_ms: int | None,
    to_ms: int | None,
    kind: str | None,
) -> list[VerdictRow]:
    """Current revisions that overlap [from, to), by start."""
    current: dict[str, VerdictRow] = {}
    for key, fields in _points(connection, bucket, FIRST_NS, LAST_NS, {pool_id}).items():
        row = _as_verdict(key, fields)
        if row.verdict_id not in current or current[row.verdict_id].revision < row.revision:
            current[row.verdict_id] = row
    found = [
        row
        for row in current.values()
        if (to_ms is None or row.start_ms < to_ms)
        # An interval of no length counts where it lies.
        and (from_ms is None or row.end_ms is None or row.end_ms > from_ms or row.start_ms >= from_ms)
        and (kind is None or row.kind == kind)
    ]
    return sorted(found, key=lambda row: (row.start_ms, row.verdict_id))


def read_told_verdicts(
    connection: InfluxConnection, bucket: str, told: Sequence[tuple[str, int, int]]
) -> list[VerdictRow]:
    """Revisions that a log told of, in its order."""
    if not told:
        return []
    instants = [at_ns for _, _, at_ns in told]
    points = _points(connection, bucket, min(instants), max(instants) + 1, None)
    by_revision = {}
    for key, fields in points.items():
        row = _as_verdict(key, fields)
        by_revision[row.verdict_id, row.revision] = row
    return [by_revision[verdict_id, revision] for verdict_id, revision, _ in told]


def count_verdicts(connection: InfluxConnection, bucket: str) -> dict[str, int]:
    """Verdicts by kind, each once, without the withdrawn ones."""
    newest: dict[str, VerdictRow] = {}
    for key, fields in _points(connection, bucket, FIRST_NS, LAST_NS, None).items():
        row = _as_verdict(key, fields)
        if row.verdict_id not in newest or newest[row.verdict_id].revision < row.revision:
            newest[row.verdict_id] = row
    counts = Counter(row.kind for row in newest.values() if row.state != "withdrawn")
    return dict(sorted(counts.items()))


def _points(
    connection: InfluxConnection, bucket: str, from_ns: int, to_ns: int, pools: set[str] | None
) -> dict[tuple[str, str, int], dict[str, str]]:
    question = records(bucket, "verdict", "kind pool_id", from_ns, to_ns, pools)
    return answer_records(connection.ask(question), "kind", "pool_id")


def _as_verdict(key: tuple[str, str, int], fields: dict[str, str]) -> VerdictRow:
    kind, pool_id, _ = key
    return VerdictRow(
        fields["id"],
        int(fields["revision"]),
        kind,
        pool_id,
        fields["state"],
        int(fields["start"]),
        int(fields["end"]) if "end" in fields else None,
        int(fields["judged_at"]),
        fields["body"].encode(),
    )


def write_states(
    connection: InfluxConnection, bucket: str, rows: Sequence[PoolStateRow]
) -> list[list[object]]:
    """Append states; what a log tells of them. Of two of one pool and instant the later one stays."""
    last = {(row.pool_id, row.at_ms): row for row in rows}
    lines = [
        point_line(
            "pool_state",
            {"pool_id": row.pool_id},
            {"state": row.state, "body": row.body.decode()},
            row.at_ms * NS_PER_MS,
        )
        for row in last.values()
    ]
    if lines:
        connection.write(bucket, "\n".join(lines).encode(), precision="ns")
    return [[row.pool_id, row.at_ms] for row in last.values()]


def read_states(connection: InfluxConnection, bucket: str) -> dict[str, PoolStateRow]:
    """The latest state of each pool that has one."""
    answer = answer_records(connection.ask(newest_records(bucket, "pool_state", "pool_id")), "pool_id")
    return {str(key[0]): _as_state(key, fields) for key, fields in sorted(answer.items())}


def read_told_states(
    connection: InfluxConnection, bucket: str, told: Sequence[tuple[str, int]]
) -> list[PoolStateRow]:
    """States that a log told of, in its order; those that the bucket's retention took are left out."""
    if not told:
        return []
    instants = [at_ms for _, at_ms in told]
    question = records(
        bucket,
        "pool_state",
        "pool_id",
        min(instants) * NS_PER_MS,
        max(instants) * NS_PER_MS + 1,
        {pool_id for pool_id, _ in told},
    )
    points = answer_records(connection.ask(question), "pool_id")
    wanted = [(pool_id, at_ms * NS_PER_MS) for pool_id, at_ms in told]
    return [_as_state(key, points[key]) for key in wanted if key in points]


def _as_state(key: tuple[object, ...], fields: dict[str, str]) -> PoolStateRow:
    pool_id, at_ns = key
    assert isinstance(at_ns, int)  # noqa: S101 - for the type checker: the last of a record's key is its instant
    return PoolStateRow(str(pool_id), at_ns // NS_PER_MS, fields["state"], fields["body"].encode())


def write_progress(connection: InfluxConnection, bucket: str, reader: str, cursor: str) -> None:
    """Remember a reader's arrivals' cursor, in the place of the one before."""
    line = point_line("progress", {"reader": f"reader-{reader}"}, {"cursor": cursor}, _PROGRESS_NS)
    connection.write(bucket, line.encode(), precision="ns")


def read_progress(connection: InfluxConnection, bucket: str) -> dict[str, str]:
    """The cursor that each reader remembered last."""
    question = records(bucket, "progress", "reader", _PROGRESS_NS, _PROGRESS_NS + 1)
    found = answer_records(connection.ask(question), "reader")
    return {str(name).removeprefix("reader-"): fields["cursor"] for (name, _), fields in found.items()}
