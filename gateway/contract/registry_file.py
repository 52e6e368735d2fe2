"""`pools.toml` → `Registry`, or every mistake with its line."""

import difflib
import hashlib
import re
import tomllib
from collections.abc import Callable
from datetime import date, datetime, time
from typing import Any, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from gateway.contract.errors import ContractError, RegistryError, RegistryMistake
from gateway.contract.opening import check_expression
from gateway.contract.quantities import Quantity
from gateway.contract.readings import ID_PATTERN, MANUAL_SENSOR
from gateway.contract.registry import (
    DisplayEntry,
    GatewayEntry,
    Grade,
    OpeningHours,
    Pool,
    PoolKind,
    Registry,
    Sensor,
    Venue,
)
from gateway.contract.toml_lines import LineIndex

_ID = re.compile(ID_PATTERN, re.ASCII)
_DEFAULT_PROFILE = "changzhou-2022"
_DEFAULT_ZONE = "Asia/Shanghai"
_DEFAULT_INTERVAL_S = 60.0
_LATITUDE, _LONGITUDE = 90.0, 180.0

Place = tuple[str | int, ...]
_Entry = TypeVar("_Entry")


class _Table:
    """A table of the file under check: takes keys out, reports what is missing, wrong or left over."""

    def __init__(self, checker: "_Checker", place: Place, content: object) -> None:
        self.checker = checker
        self.place = place
        self.content: dict[str, Any] = {}
        self.taken: set[str] = set()
        if isinstance(content, dict):
            self.content = content
        else:
            checker.report(place, f"is a {_toml_type(content)}, it must be a table")

    def take(self, key: str, kind: type | tuple[type, ...], *, needed: bool = False) -> Any:
        self.taken.add(key)
        if key not in self.content:
            if needed:
                self.checker.report(self.place, f"`{key}` is missing")
            return None
        found = self.content[key]
        kinds = kind if isinstance(kind, tuple) else (kind,)
        if not isinstance(found, kinds) or (isinstance(found, bool) and bool not in kinds):
            wanted = " or ".join(_TYPE_NAMES[one] for one in kinds)
            self.report(key, f"is a {_toml_type(found)}, it must be a {wanted}")
            return None
        return found

    def report(self, key: str, text: str) -> None:
        self.checker.report((*self.place, key), text)

    def close(self) -> None:
        """Report the keys that nobody took."""
        for key in self.content.keys() - self.taken:
            near = difflib.get_close_matches(key, self.taken, n=1)
            hint = f"did you mean `{near[0]}`?" if near else f"known here: {', '.join(sorted(self.taken))}"
            self.report(key, f"is not a known key; {hint}")


_TYPE_NAMES: dict[type, str] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    list: "list",
    dict: "table",
    datetime: "date-time with offset",
    date: "date",
}


def _toml_type(found: object) -> str:
    if isinstance(found, bool):
        return "true or false"
    for kind in (str, int, float, list, dict, datetime, date):
        if isinstance(found, kind):
            return _TYPE_NAMES[kind]
    return type(found).__name__


class _Checker:
    """Collects mistakes while the registry is built."""

    def __init__(self, text: str) -> None:
        self.lines = LineIndex(text)
        self.mistakes: list[RegistryMistake] = []

    def report(self, place: Place, text: str) -> None:
        words = ".".join(str(part) if not isinstance(part, int) else f"[{part}]" for part in place).replace(
            ".[", "["
        )
        self.mistakes.append(RegistryMistake(line=self.lines.find(place), place=words or "file", text=text))

    def identifiers(self, section: str, content: object) -> dict[str, _Table]:
        """Tables of a section by id; bad ids are reported and left out."""
        if content is None:
            return {}
        if not isinstance(content, dict):
            self.report((section,), f"is a {_toml_type(content)}, it must hold tables like [{section}.ID]")
            return {}
        tables = {}
        for name, table in content.items():
            if _ID.fullmatch(name):
                tables[name] = _Table(self, (section, name), table)
            else:
                self.report(
                    (section, name),
                    "an id has lower-case letters, digits and hyphens, at most 63, no hyphen first",
                )
        return tables

    def choice(self, table: _Table, key: str, choices: type, *, needed: bool = False) -> Any:
        given = table.take(key, str, needed=needed)
        if given is None:
            return None
        try:
            return choices(given)
        except ValueError:
            known = [str(choice) for choice in choices]  # type: ignore[attr-defined]
            near = difflib.get_close_matches(given, known, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            table.report(key, f"{given!r} is not known; {hint}known: {', '.join(known)}")
            return None

    def instant(self, table: _Table, key: str, zone: ZoneInfo) -> int | None:
        """Milliseconds of a date-time with offset, or of a date: its local midnight."""
        given = table.take(key, (datetime, date))
        if given is None:
            return None
        if not isinstance(given, datetime):
            given = datetime.combine(given, time(), tzinfo=zone)
        elif given.tzinfo is None:
            table.report(key, "has no offset: write 2026-03-01T08:00:00+08:00, or only the date")
            return None
        return int(given.timestamp() * 1000)


def parse_registry(text: str) -> Registry:
    """Registry of a file's text.

    Raises
    ------
    RegistryError
        With every mistake of the file and its line.
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"line (\d+)", str(error))
        mistake = RegistryMistake(line=int(line[1]) if line else None, place="TOML", text=str(error))
        raise RegistryError([mistake]) from error
    checker = _Checker(text)
    top = _Table(checker, (), content)
    schema = top.take("schema", int, needed=True)
    if schema is not None and schema != 1:
        top.report("schema", f"is {schema}, this version reads 1")
    sections = {name: top.take(name, dict) for name in ("venues", "pools", "gateways", "displays")}
    top.close()
    venues = _each(checker.identifiers("venues", sections["venues"]), _venue)
    pools = _each(
        checker.identifiers("pools", sections["pools"]),
        lambda name, table: _pool(name, table, set(sections["venues"] or ())),
    )
    known_pools = set(sections["pools"] or ())
    gateways = _each(
        checker.identifiers("gateways", sections["gateways"]),
        lambda name, table: _gateway(name, table, known_pools),
    )
    displays = _each(
        checker.identifiers("displays", sections["displays"]),
        lambda name, table: _display(name, table, known_pools),
    )
    if checker.mistakes:
        raise RegistryError(sorted(checker.mistakes, key=lambda mistake: mistake.line or 0))
    return Registry(venues, pools, gateways, displays, sha256=hashlib.sha256(text.encode()).hexdigest())


def _each(tables: dict[str, _Table], build: Callable[[str, _Table], _Entry | None]) -> dict[str, _Entry]:
    entries = {}
    for name, table in tables.items():
        entry = build(name, table)
        table.close()
        if entry is not None:
            entries[name] = entry
    return entries


def _venue(venue_id: str, table: _Table) -> Venue | None:
    name_zh = table.take("name_zh", str, needed=True)
    name_en = table.take("name_en", str, needed=True)
    district = table.take("district", str, needed=True)
    position = table.take("position", list)
    latitude = longitude = None
    if position is not None:
        if len(position) != 2 or not all(isinstance(part, int | float) for part in position):  # noqa: PLR2004 - a pair
            table.report("position", "must be [latitude, longitude] in degrees")
        elif abs(position[0]) > _LATITUDE or abs(position[1]) > _LONGITUDE:
            table.report(
                "position",
                f"{position} is not on Earth: latitude comes first, within ±90, then longitude, within ±180",
            )
        else:
            latitude, longitude = float(position[0]), float(position[1])
    grade = _grade(table)
    if name_zh is None or name_en is None or district is None:
        return None
    return Venue(venue_id, name_zh, name_en, district, latitude, longitude, grade)


def _grade(venue: _Table) -> Grade | None:
    content = venue.take("grade", dict)
    if content is None:
        return None
    table = _Table(venue.checker, (*venue.place, "grade"), content)
    grade = table.take("grade", str, needed=True)
    issuer = table.take("issuer", str, needed=True)
    issued_on = table.take("issued_on", date, needed=True)
    table.close()
    return Grade(grade, issuer, issued_on) if grade and issuer and issued_on else None


def _pool(pool_id: str, table: _Table, venue_ids: set[str]) -> Pool | None:
    checker = table.checker
    venue_id = table.take("venue", str, needed=True)
    if venue_id is not None and venue_id not in venue_ids:
        near = difflib.get_close_matches(venue_id, venue_ids, n=1)
        table.report(
            "venue", f"there is no [venues.{venue_id}]" + (f"; did you mean {near[0]!r}?" if near else "")
        )
    name_zh = table.take("name_zh", str, needed=True)
    name_en = table.take("name_en", str, needed=True)
    kind = checker.choice(table, "kind", PoolKind, needed=True)
    volume_m3 = table.take("volume_m3", (float, int))
    if volume_m3 is not None and volume_m3 <= 0:
        table.report("volume_m3", f"{volume_m3} is not above 0")
    zone_name = table.take("time_zone", str) or _DEFAULT_ZONE
    try:
        zone = ZoneInfo(zone_name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        table.report("time_zone", f"{zone_name!r} is no time zone; write one like {_DEFAULT_ZONE!r}")
        zone_name, zone = _DEFAULT_ZONE, ZoneInfo(_DEFAULT_ZONE)
    profile = table.take("profile", str) or _DEFAULT_PROFILE
    if not profile.strip():
        table.report("profile", "is empty")
    opening = _opening(table, zone)
    from_ms = checker.instant(table, "from", zone)
    sensors = _sensors(table, zone)
    if None in (venue_id, name_zh, name_en, kind) or not opening:
        return None
    return Pool(
        pool_id=pool_id,
        venue_id=venue_id,
        name_zh=name_zh,
        name_en=name_en,
        kind=kind,
        volume_m3=None if volume_m3 is None else float(volume_m3),
        opening=opening,
        time_zone=zone_name,
        profile=profile,
        sensors=sensors,
        from_ms=from_ms,
    )


def _opening(pool: _Table, zone: ZoneInfo) -> tuple[OpeningHours, ...]:
    given = pool.take("opening_hours", (str, list))
    if given is None:
        if "opening_hours" not in pool.content:
            return (OpeningHours("24/7"),)  # unknown hours: duties never rest
        return ()
    tables = [{"hours": given}] if isinstance(given, str) else given
    found = []
    for index, content in enumerate(tables):
        place = ("opening_hours",) if isinstance(given, str) else ("opening_hours", index)
        table = _Table(pool.checker, (*pool.place, *place), content)
        from_ms = pool.checker.instant(table, "from", zone)
        expression = table.take("hours", str, needed=True)
        table.close()
        if expression is None:
            continue
        try:
            check_expression(expression, time_zone=zone.key)
        except ContractError as error:
            pool.checker.report((*pool.place, *place), f"{expression!r} {error}")
            continue
        found.append(OpeningHours(expression, from_ms))
    instants = [hours.from_ms for hours in found]
    if any(instant is None for instant in instants[1:]) or sorted(instant or 0 for instant in instants) != [
        instant or 0 for instant in instants
    ]:
        pool.report("opening_hours", "every entry but the first needs `from`, in rising order")
    return tuple(found)


def _sensors(pool: _Table, zone: ZoneInfo) -> tuple[Sensor, ...]:
    content = pool.take("sensors", list)
    sensors = []
    seen: set[tuple[str, str]] = set()
    for index, entry in enumerate(content or ()):
        table = _Table(pool.checker, (*pool.place, "sensors", index), entry)
        sensor = _sensor(table, zone)
        table.close()
        if sensor is None:
            continue
        key = (sensor.sensor_id, sensor.quantity)
        if key in seen and sensor.from_ms is None:
            table.report(
                "id", f"{sensor.sensor_id!r} measures {sensor.quantity} twice; a later one needs `from`"
            )
        seen.add(key)
        sensors.append(sensor)
    return tuple(sensors)


def _sensor(table: _Table, zone: ZoneInfo) -> Sensor | None:
    checker = table.checker
    sensor_id = table.take("id", str, needed=True)
    if sensor_id is not None:
        if not _ID.fullmatch(sensor_id):
            table.report(
                "id",
                f"{sensor_id!r}: an id has lower-case letters, digits and hyphens, at most 63, no hyphen first",
            )
        elif sensor_id == MANUAL_SENSOR:
            table.report(
                "id",
                f"{MANUAL_SENSOR!r} is the sensor that every pool has for tests by hand: take another id",
            )
    quantity = checker.choice(table, "quantity", Quantity, needed=True)
    place = table.take("place", str) or ""
    interval_s = table.take("interval_s", (float, int))
    if interval_s is not None and interval_s <= 0:
        table.report("interval_s", f"{interval_s} is not above 0")
    calibrated_on = table.take("calibrated_on", date)
    from_ms = checker.instant(table, "from", zone)
    until_ms = checker.instant(table, "until", zone)
    if from_ms is not None and until_ms is not None and until_ms <= from_ms:
        table.report("until", "is not after `from`")
    if sensor_id is None or quantity is None:
        return None
    return Sensor(
        sensor_id=sensor_id,
        quantity=quantity,
        place=place,
        interval_s=_DEFAULT_INTERVAL_S if interval_s is None else float(interval_s),
        calibrated_on=calibrated_on,
        from_ms=from_ms,
        until_ms=until_ms,
    )


def _gateway(gateway_id: str, table: _Table, pool_ids: set[str]) -> GatewayEntry | None:
    pools = table.take("pools", list, needed=True)
    if pools is None:
        return None
    for pool_id in pools:
        if pool_id not in pool_ids:
            near = difflib.get_close_matches(str(pool_id), pool_ids, n=1)
            table.report(
                "pools", f"there is no [pools.{pool_id}]" + (f"; did you mean {near[0]!r}?" if near else "")
            )
    return GatewayEntry(gateway_id, frozenset(str(pool_id) for pool_id in pools))


def _display(display_id: str, table: _Table, pool_ids: set[str]) -> DisplayEntry | None:
    pool_id = table.take("pool", str, needed=True)
    if pool_id is None:
        return None
    if pool_id not in pool_ids:
        table.report("pool", f"there is no [pools.{pool_id}]")
    return DisplayEntry(display_id, pool_id)
