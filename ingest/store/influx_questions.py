"""Every question asked of InfluxDB, by name, in Flux. Another dialect needs another file like this one. Pure.

Values are bound: the client puts them before the script as plain names (`p_pool`), and the storage engine still gets the
filters, `first`, `last` and `count`. No pivot: rows stay long. What mixes kinds of fields is asked as text (`toString`).
Instants are whole nanoseconds since the epoch.
"""

import re
from collections.abc import Collection
from typing import Any, NamedTuple

#: What InfluxDB can hold, a little narrowed. [ns since the epoch]
FIRST_NS = -9_223_372_036_854_000_000
LAST_NS = 9_223_372_036_854_000_000
#: Beyond this many pools a question asks for all: the expression would cost more than the rows.
_MANY_POOLS = 2_000

# Field keys of the measurements `reading` and `publication`: `sensor/quantity` and what belongs to it after another slash.
_VALUES = r"/^[^\/]+\/[^\/]+$/"
_NUMBERS = r"/^(received_at|stored_at)$|^[^\/]+\/[^\/]+\/(status|null|received_at|stored_at|measured_at)$/"
_NULLS = r"/^[^\/]+\/[^\/]+\/null$/"
_MEASURED = r"/^[^\/]+\/[^\/]+\/measured_at$/"
_SPAN = "range(start: time(v: p_from), stop: time(v: p_to))"


class Question(NamedTuple):
    """Flux with the values bound to its names; `name` is for messages."""

    name: str
    flux: str
    bound: dict[str, Any]


def _rows(where: str, *, columns: str, then: str = "") -> str:
    keep = ", ".join(f'"{column}"' for column in columns.split())
    return (
        f"from(bucket: p_bucket) |> {_SPAN} |> filter(fn: (r) => {where}){then}"
        f" |> keep(columns: [{keep}]) |> group()"
    )


def _spanned(bucket: str, from_ns: int, to_ns: int, **more: Any) -> dict[str, Any]:
    return {
        "p_bucket": bucket,
        "p_from": min(max(from_ns, FIRST_NS), LAST_NS),
        "p_to": min(max(to_ns, FIRST_NS), LAST_NS),
        **more,
    }


def _among(pools: Collection[str]) -> tuple[str, str, dict[str, Any]]:
    """Import, condition and bound value that choose pools; all of them if there are very many."""
    if len(pools) > _MANY_POOLS:
        return "", "", {}
    expression = "^(" + "|".join(map(_literal, sorted(pools))) + ")$"
    return (
        'import "regexp"\nchosen = regexp.compile(v: p_pools)\n',
        " and r.pool_id =~ chosen",
        {"p_pools": expression},
    )


def _literal(text: str) -> str:
    """A text as a part of an expression of Go, which takes no escape of plain characters."""
    return re.sub(r"([\\.+*?()|\[\]{}^$])", r"\\\1", text)


# Readings and publications ---------------------------------------------------------------------------------------


def pool_values(bucket: str, measurement: str, pool_id: str, from_ns: int, to_ns: int) -> Question:
    """Values of a pool: time, field, float."""
    where = f'r._measurement == "{measurement}" and r.pool_id == p_pool and r._field =~ {_VALUES}'
    flux = _rows(where, columns="_time _field _value")
    return Question(f"values of a {measurement}", flux, _spanned(bucket, from_ns, to_ns, p_pool=pool_id))


def pool_numbers(bucket: str, measurement: str, pool_id: str, from_ns: int, to_ns: int) -> Question:
    """Statuses, nulls and instants of a pool: time, field, integer."""
    where = f'r._measurement == "{measurement}" and r.pool_id == p_pool and r._field =~ {_NUMBERS}'
    flux = _rows(where, columns="_time _field _value")
    return Question(f"numbers of a {measurement}", flux, _spanned(bucket, from_ns, to_ns, p_pool=pool_id))


def newest_by_field(bucket: str, pool_id: str) -> Question:
    """The newest instant of each value and status of a pool: time, field."""
    where = (
        f'r._measurement == "reading" and r.pool_id == p_pool and '
        f"(r._field =~ {_VALUES} or r._field =~ {_NULLS})"
    )
    flux = _rows(where, columns="_time _field", then=" |> last()")
    return Question("newest readings", flux, _spanned(bucket, FIRST_NS, LAST_NS, p_pool=pool_id))


def first_instant(bucket: str, pool_id: str) -> Question:
    """The oldest instant of a pool: time, one row."""
    where = 'r._measurement == "reading" and r.pool_id == p_pool and r._field == "received_at"'
    flux = _rows(where, columns="_time", then=" |> first()")
    return Question("first reading", flux, _spanned(bucket, FIRST_NS, LAST_NS, p_pool=pool_id))


def newest_instants(bucket: str, pools: Collection[str]) -> Question:
    """The newest instant of each of some pools: pool, time."""
    before, among, bound = _among(pools)
    where = f'r._measurement == "reading" and r._field == "received_at"{among}'
    flux = before + _rows(where, columns="pool_id _time", then=" |> last()")
    return Question("newest instants", flux, _spanned(bucket, FIRST_NS, LAST_NS, **bound))


def next_instants(bucket: str, pools: Collection[str], from_ns: int) -> Question:
    """The first instant from `from_ns` on of each of some pools: pool, time."""
    before, among, bound = _among(pools)
    where = f'r._measurement == "reading" and r._field == "received_at"{among}'
    flux = before + _rows(where, columns="pool_id _time", then=" |> first()")
    return Question("next instants", flux, _spanned(bucket, from_ns, LAST_NS, **bound))


def stored_readings(bucket: str, pools: Collection[str], from_ns: int, to_ns: int) -> Question:
    """All that is stored of some pools' readings, and of those they displaced: measurement, pool, time, field, text."""
    before, among, bound = _among(pools)
    where = f'(r._measurement == "reading" or r._measurement == "displaced"){among}'
    flux = before + _rows(where, columns="_measurement pool_id _time _field _value", then=" |> toString()")
    return Question("stored readings", flux, _spanned(bucket, from_ns, to_ns, **bound))


def value_counts(bucket: str, from_ns: int, to_ns: int) -> Question:
    """How many values each pool has: pool, count. Nulls are asked apart."""
    return _counts(bucket, from_ns, to_ns, f"r._field =~ {_VALUES}")


def null_counts(bucket: str, from_ns: int, to_ns: int) -> Question:
    """How many nulls without a value under them each pool has: pool, count."""
    return _counts(bucket, from_ns, to_ns, f"r._field =~ {_NULLS} and r._value == 1")


def _counts(bucket: str, from_ns: int, to_ns: int, which: str) -> Question:
    flux = _rows(f'r._measurement == "reading" and {which}', columns="pool_id _value", then=" |> count()")
    summed = flux + ' |> group(columns: ["pool_id"]) |> sum() |> group()'
    return Question("counts of readings", summed, _spanned(bucket, from_ns, to_ns))


def published_instants(bucket: str) -> Question:
    """`measured_at` of every published value and null: pool, field, time, integer."""
    where = f'r._measurement == "publication" and r._field =~ {_MEASURED}'
    flux = _rows(where, columns="pool_id _field _time _value")
    return Question("published readings", flux, _spanned(bucket, FIRST_NS, LAST_NS))


def published_nulls(bucket: str) -> Question:
    """Where a publication said that there is no valid value: pool, field, time."""
    where = f'r._measurement == "publication" and r._field =~ {_NULLS}'
    flux = _rows(where, columns="pool_id _field _time")
    return Question("published nulls", flux, _spanned(bucket, FIRST_NS, LAST_NS))


def publication_count(bucket: str) -> Question:
    """How many publications there are: count, one row or none."""
    where = 'r._measurement == "publication" and r._field == "hash"'
    flux = _rows(where, columns="_value", then=" |> count()") + " |> sum()"
    return Question("count of publications", flux, _spanned(bucket, FIRST_NS, LAST_NS))


# Records: points of a few fields, asked as text --------------------------------------------------------------------


def records(
    bucket: str, measurement: str, tags: str, from_ns: int, to_ns: int, pools: Collection[str] | None = None
) -> Question:
    """Points of a measurement, of some pools: the tags, time, field, text."""
    before, among, bound = ("", "", {}) if pools is None else _among(pools)
    where = f'r._measurement == "{measurement}"{among}'
    flux = before + _rows(where, columns=f"{tags} _time _field _value", then=" |> toString()")
    return Question(f"records of {measurement}", flux, _spanned(bucket, from_ns, to_ns, **bound))


def newest_records(bucket: str, measurement: str, tags: str) -> Question:
    """The newest point of each combination of tags: the tags, time, field, text."""
    where = f'r._measurement == "{measurement}"'
    flux = _rows(where, columns=f"{tags} _time _field _value", then=" |> last() |> toString()")
    return Question(f"newest records of {measurement}", flux, _spanned(bucket, FIRST_NS, LAST_NS))


def record_counts(bucket: str, measurement: str, field: str) -> Question:
    """How many points with a field each pool has: pool, count."""
    where = f'r._measurement == "{measurement}" and r._field == "{field}"'
    flux = _rows(where, columns="pool_id _value", then=" |> count()")
    summed = flux + ' |> group(columns: ["pool_id"]) |> sum() |> group()'
    return Question(f"counts of {measurement}", summed, _spanned(bucket, FIRST_NS, LAST_NS))


def registry_times(bucket: str) -> Question:
    """When versions of the registry were accepted: sha256, time."""
    where = 'r._measurement == "registry" and r._field == "stored_at"'
    flux = _rows(where, columns="sha256 _time _value")
    return Question("registry versions", flux, _spanned(bucket, FIRST_NS, LAST_NS))


def revisions_of(bucket: str, verdict_ids: Collection[str], from_ns: int) -> Question:
    """Instants at which some verdicts were judged: kind, pool, time."""
    expression = "^(" + "|".join(map(_literal, sorted(verdict_ids))) + ")$"
    where = 'r._measurement == "verdict" and r._field == "id" and r._value =~ chosen'
    flux = 'import "regexp"\nchosen = regexp.compile(v: p_ids)\n' + _rows(where, columns="kind pool_id _time")
    return Question("revisions", flux, _spanned(bucket, from_ns, LAST_NS, p_ids=expression))


# Logs: what was written, in the order of the server's clock ---------------------------------------------------------


def log_heads(bucket: str, measurement: str, field: str, from_ns: int, limit: int) -> Question:
    """The first points of each writer from an instant on: writer, time, integer."""
    where = f'r._measurement == "{measurement}" and r._field == "{field}"'
    flux = _rows(where, columns="writer _time _value", then=f" |> limit(n: {limit})")
    return Question(f"log of {measurement}", flux, _spanned(bucket, from_ns, LAST_NS))


def log_entries(bucket: str, measurement: str, from_ns: int, to_ns: int) -> Question:
    """What the points of a log say: writer, time, text."""
    where = f'r._measurement == "{measurement}" and r._field == "entries"'
    flux = _rows(where, columns="writer _time _value")
    return Question(f"entries of {measurement}", flux, _spanned(bucket, from_ns, to_ns))


def log_points(
    bucket: str, measurement: str, field: str, between: tuple[int, int], from_ns: int, to_ns: int
) -> Question:
    """Points of a log with an integer within [low, high]: time, integer."""
    where = f'r._measurement == "{measurement}" and r._field == "{field}" and r._value >= p_low and r._value <= p_high'
    bound = _spanned(bucket, from_ns, to_ns, p_low=between[0], p_high=between[1])
    return Question(f"points of {measurement}", _rows(where, columns="_time _value"), bound)
