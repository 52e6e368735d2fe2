"""Readings that may meet a stored one of the same series and instant: which stands, and what is to be written. Pure.

The smallest (received_at, gateway, boot, seq, position) stands, whatever the order of arrival. One that replaces another
keeps the other under its own message in the measurement ``displaced``, so that a repeated write tells the same conflict.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from ingest.store.batches import Origin
from ingest.store.influx_lines import HOUR_MS, NS_PER_MS, FieldValue, escape_name, point_line
from ingest.store.influx_reading_lines import message_text, series_fields
from ingest.store.records import STATUS_CODES, STATUS_NAMES, ReadingRow

#: Marks the message of a series that came later than the line's own.
_LATER = "+"
Stored = Mapping[tuple[Any, ...], dict[str, str]]


@dataclass(frozen=True, slots=True)
class _Standing:
    """A reading that holds a place, and how it came there."""

    row: ReadingRow
    stored_at_ms: int
    #: Is in the store already; else it is of this batch.
    known: bool
    #: Its message is its own and not that of the line.
    later: bool
    #: The store has a field with a value, also where that is not in force.
    has_value: bool
    null_mark: bool
    signed: bool
    changed: bool = False


@dataclass(slots=True)
class _Place:
    """One pool and instant."""

    has_line: bool
    standing: dict[str, _Standing]
    displaced: dict[tuple[str, str], list[ReadingRow]]


@dataclass(slots=True)
class Meetings:
    """Readings of one write that are looked at one by one.

    Parameters
    ----------
    stored : mapping
        Fields by (measurement, pool, nanoseconds) of ``reading`` and ``displaced`` at the instants in question.
    stored_at_ms : int
        Of this write.
    """

    stored: Stored
    stored_at_ms: int
    duplicates: list[ReadingRow] = field(default_factory=list)
    conflicts: list[ReadingRow] = field(default_factory=list)
    #: New readings, and hours in which one was replaced, by (pool, hour).
    new: Counter[tuple[str, int]] = field(default_factory=Counter)
    replaced: set[tuple[str, int]] = field(default_factory=set)
    #: Readings found as they are, by (pool, hour, stored_at): were they told of?
    repeated: Counter[tuple[str, int, int]] = field(default_factory=Counter)
    _places: dict[tuple[str, int], _Place] = field(default_factory=dict)
    _lost: list[tuple[ReadingRow, ReadingRow]] = field(default_factory=list)

    def meet(self, new: ReadingRow) -> None:
        """Take one reading, in the journal's order."""
        place = self._place(new.pool_id, new.measured_at_ms)
        key = _key(new)
        hour = (new.pool_id, new.measured_at_ms - new.measured_at_ms % HOUR_MS)
        old = place.standing.get(key)
        if old is None:
            place.standing[key] = self._fresh(new, place)
            self.new[hour] += 1
            return
        same_value = (old.row.value, old.row.status) == (new.value, new.status)
        if same_value and _precedence(old.row)[1:] == _precedence(new)[1:]:
            if old.known:
                self.repeated[(*hour, old.stored_at_ms)] += 1
            displaced = place.displaced.get((key, _displacer(new)), [])
            self.conflicts += displaced
            if displaced:
                self.replaced.add(hour)
            return
        if same_value:
            self.duplicates.append(new)
        if _precedence(new) >= _precedence(old.row):
            if not same_value:
                self.conflicts.append(new)
            return
        stored_at_ms = old.stored_at_ms if same_value else self.stored_at_ms
        place.standing[key] = replace(old, row=new, stored_at_ms=stored_at_ms, changed=True)
        if same_value:
            return
        self.conflicts.append(old.row)
        if old.known:
            self._lost.append((new, old.row))
            self.replaced.add(hour)

    def displaced_lines(self) -> list[str]:
        """Lines to be written before the others: what was displaced must not be lost between the two."""
        return [
            point_line(
                "displaced",
                {"pool_id": old.pool_id},
                {f"{_key(old)}/{escape_key(_displacer(new))}": msgspec.json.encode(list(old[4:])).decode()},
                old.measured_at_ms,
            )
            for new, old in self._lost
        ]

    def lines(self) -> list[str]:
        """Lines that bring the store to what stands now."""
        texts: list[str] = []
        for (pool_id, at_ms), place in self._places.items():
            fresh = {key: one for key, one in place.standing.items() if not one.known}
            fields: dict[str, FieldValue] = {}
            shared: Origin | None = None
            if fresh and not place.has_line:
                shared = _origin(next(iter(fresh.values())).row)
                fields |= self._line_fields(
                    shared, {key: one for key, one in fresh.items() if _origin(one.row) == shared}
                )
            for key, one in place.standing.items():
                if one.known and one.changed:
                    fields |= _rewritten(key, one)
                elif not one.known and _origin(one.row) != shared:
                    fields |= _added(key, one)
            if fields:
                texts.append(point_line("reading", {"pool_id": pool_id}, fields, at_ms))
        return texts

    def instants(self) -> dict[str, list[int]]:
        """Where each pool has a reading now, of those that were looked at."""
        found: defaultdict[str, list[int]] = defaultdict(list)
        for pool_id, at_ms in self._places:
            found[pool_id].append(at_ms)
        return found

    def _fresh(self, row: ReadingRow, place: _Place) -> _Standing:
        return _Standing(
            row,
            self.stored_at_ms,
            known=False,
            later=place.has_line,
            has_value=False,
            null_mark=False,
            signed=False,
        )

    def _line_fields(self, shared: Origin, members: Mapping[str, _Standing]) -> dict[str, FieldValue]:
        fields: dict[str, FieldValue] = {}
        for key, one in members.items():
            fields |= _fact(key, one.row)
        positions = ",".join(str(members[key].row.position) for key in sorted(members))
        return fields | {
            "received_at": shared.received_at_ms,
            "stored_at": self.stored_at_ms,
            "message": message_text(shared, positions),
        }

    def _place(self, pool_id: str, at_ms: int) -> _Place:
        found = self._places.get((pool_id, at_ms))
        if found is None:
            at_ns = at_ms * NS_PER_MS
            found = self._places[pool_id, at_ms] = _read_place(
                pool_id,
                at_ms,
                self.stored.get(("reading", pool_id, at_ns), {}),
                self.stored.get(("displaced", pool_id, at_ns), {}),
            )
        return found


def _read_place(pool_id: str, at_ms: int, fields: Mapping[str, str], displaced: Mapping[str, str]) -> _Place:
    names = {name for name in fields if name.count("/") == 1}
    names |= {name.removesuffix("/null") for name in fields if name.endswith("/null")}
    # Positions of the line's message are in the order of the escaped keys.
    of_line = sorted(
        escape_key(name) for name in names if not fields.get(f"{name}/message", "").endswith(f"/{_LATER}")
    )
    positions = fields["message"].rpartition("/")[2].split(",") if "message" in fields else []
    place_of = dict(zip(of_line, positions, strict=False))
    standing = {}
    for name in names:
        key = escape_key(name)
        own = fields.get(f"{name}/message")
        message = (own or fields.get("message", "//0/0")).removesuffix(f"/{_LATER}")
        gateway_id, boot_id, seq, position = message.rsplit("/", 3)
        null = int(fields.get(f"{name}/null", "0"))
        sensor_id, quantity = name.split("/")
        row = ReadingRow(
            pool_id,
            sensor_id,
            quantity,
            at_ms,
            None if null else float(fields[name]),
            STATUS_NAMES[int(fields.get(f"{name}/status", "0"))],
            int(fields.get(f"{name}/received_at") or fields.get("received_at", "0")),
            gateway_id,
            boot_id,
            int(seq),
            int(position if own else place_of.get(key, "0")),
            fields.get(f"{name}/by") or None,
            fields.get(f"{name}/method") or None,
        )
        standing[key] = _Standing(
            row,
            int(fields.get(f"{name}/stored_at") or fields.get("stored_at", "0")),
            known=True,
            later=(own or "").endswith(f"/{_LATER}"),
            has_value=name in fields,
            null_mark=f"{name}/null" in fields,
            signed=f"{name}/by" in fields or f"{name}/method" in fields,
        )
    lost: defaultdict[tuple[str, str], list[ReadingRow]] = defaultdict(list)
    for name, text in displaced.items():
        sensor_id, quantity, by = name.split("/", 2)
        row = ReadingRow(pool_id, sensor_id, quantity, at_ms, *msgspec.json.decode(text))
        lost[_key(row), by].append(row)
    return _Place("received_at" in fields, standing, lost)


def escape_key(name: str) -> str:
    """Key of a series' field, escaped, of the field's name as it is read."""
    return "/".join(map(escape_name, name.split("/")))


def _fact(key: str, row: ReadingRow) -> dict[str, FieldValue]:
    return series_fields(key, row.value, STATUS_CODES[row.status], row.by, row.method)


def _added(key: str, one: _Standing) -> dict[str, FieldValue]:
    return _fact(key, one.row) | {
        f"{key}/received_at": one.row.received_at_ms,
        f"{key}/stored_at": one.stored_at_ms,
        f"{key}/message": f"{_own_message(one.row)}/{_LATER}",
    }


def _rewritten(key: str, one: _Standing) -> dict[str, FieldValue]:
    """All of it, so that nothing of the reading before shows through."""
    row = one.row
    fields: dict[str, FieldValue] = {} if row.value is None else {key: row.value}
    if row.value is None:
        fields[f"{key}/null"] = 2 if one.has_value else 1
    elif one.null_mark:
        fields[f"{key}/null"] = 0
    fields[f"{key}/status"] = STATUS_CODES[row.status]
    if one.signed or row.by is not None or row.method is not None:
        fields |= {f"{key}/by": row.by or "", f"{key}/method": row.method or ""}
    message = _own_message(row)
    return fields | {
        f"{key}/received_at": row.received_at_ms,
        f"{key}/stored_at": one.stored_at_ms,
        f"{key}/message": f"{message}/{_LATER}" if one.later else message,
    }


def _own_message(row: ReadingRow) -> str:
    return message_text(_origin(row), str(row.position))


def _origin(row: ReadingRow) -> Origin:
    return Origin(row.received_at_ms, row.gateway_id, row.boot_id, row.seq)


def _key(row: ReadingRow) -> str:
    return f"{escape_name(row.sensor_id)}/{escape_name(row.quantity)}"


def _displacer(row: ReadingRow) -> str:
    return "/".join((row.gateway_id, row.boot_id, str(row.seq), str(row.position)))


def _precedence(row: ReadingRow) -> tuple[int, str, str, int, int]:
    return row.received_at_ms, row.gateway_id, row.boot_id, row.seq, row.position
