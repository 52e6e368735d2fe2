"""`pools.toml` → `Registry`, or every mistake with its line."""

import hashlib
import re
import tomllib
from collections.abc import Callable, Collection
from datetime import date
from typing import TypeVar
from zoneinfo import ZoneInfo

from gateway.contract.errors import ContractError, RegistryError, RegistryMistake
from gateway.contract.local_time import time_zone
from gateway.contract.opening import check_expression
from gateway.contract.quantities import Quantity
from gateway.contract.readings import ID_RULE, MANUAL_SENSOR, is_id
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
from gateway.contract.registry_tables import Mistakes, Table, toml_type
from gateway.contract.toml_lines import Place

_SCHEMA = 1
_DEFAULT_PROFILE = "changzhou-2022"
_DEFAULT_ZONE = "Asia/Shanghai"
_DEFAULT_INTERVAL_S = 60.0
#: A pool whose hours are not known: its duties never rest.
_ALWAYS_OPEN = "24/7"
_LATITUDE, _LONGITUDE = 90.0, 180.0

_Entry = TypeVar("_Entry")


def parse_registry(text: str) -> Registry:
    """Registry of a file's text.

    Raises
    ------
    RegistryError
        With every mistake of the file and its line.
    """
    try:
        content = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # TOMLDecodeError, and integers of thousands of digits
        raise RegistryError([_syntax_mistake(text, str(error))]) from error
    mistakes = Mistakes(text)
    top = Table(mistakes, (), content)
    schema = top.take("schema", (int,), needed=True)
    if schema not in (None, _SCHEMA):
        top.report("schema", f"is {schema}, this version reads {_SCHEMA}")
    # References are checked against every id written, so that a faulty entry is not reported twice.
    venue_ids, pool_ids = _written_ids(content, "venues"), _written_ids(content, "pools")
    venues = _each(top.take_tables("venues"), _venue)
    pools = _each(top.take_tables("pools"), lambda name, table: _pool(name, table, venue_ids))
    gateways = _each(top.take_tables("gateways"), lambda name, table: _gateway(name, table, pool_ids))
    displays = _each(top.take_tables("displays"), lambda name, table: _display(name, table, pool_ids))
    top.close()
    if found := mistakes.in_order():
        raise RegistryError(found)
    return Registry(venues, pools, gateways, displays, sha256=hashlib.sha256(text.encode()).hexdigest())


def _syntax_mistake(text: str, reason: str) -> RegistryMistake:
    position = re.search(r"\(at line (\d+), column (\d+)\)", reason)
    if position is None:
        return RegistryMistake(line=text.count("\n") + 1, place="TOML", text=reason)
    words = reason.replace(position[0], f"(column {position[2]})")
    return RegistryMistake(line=int(position[1]), place="TOML", text=words)


def _written_ids(content: dict[str, object], section: str) -> Collection[str]:
    """Ids of a section in the file's order; looked up for each reference, of which there are as many."""
    tables = content.get(section)
    return dict.fromkeys(tables) if isinstance(tables, dict) else {}


def _each(tables: dict[str, Table], build: Callable[[str, Table], _Entry | None]) -> dict[str, _Entry]:
    entries = {}
    for name, table in tables.items():
        entry = build(name, table)
        table.close()
        if entry is not None:
            entries[name] = entry
    return entries


def _venue(venue_id: str, table: Table) -> Venue | None:
    name_zh = table.take_text("name_zh", needed=True)
    name_en = table.take_text("name_en", needed=True)
    district = table.take_text("district", needed=True)
    latitude, longitude = _position(table)
    grade = _grade(table)
    if name_zh is None or name_en is None or district is None:
        return None
    return Venue(venue_id, name_zh, name_en, district, latitude, longitude, grade)


def _position(venue: Table) -> tuple[float, float] | tuple[None, None]:
    position = venue.take("position", (list,))
    if position is None:
        return None, None
    if [type(part) in (int, float) for part in position] != [True, True]:
        venue.report("position", "must be [latitude, longitude] in degrees")
        return None, None
    latitude, longitude = position
    # Written so that NaN is outside.
    if not (abs(latitude) <= _LATITUDE and abs(longitude) <= _LONGITUDE):
        venue.report(
            "position",
            f"{position} is not on Earth: latitude comes first, within ±90, then longitude, within ±180",
        )
        return None, None
    return float(latitude), float(longitude)


def _grade(venue: Table) -> Grade | None:
    content = venue.take("grade", (dict,))
    if content is None:
        return None
    table = Table(venue.mistakes, (*venue.place, "grade"), content)
    grade = table.take_text("grade", needed=True)
    issuer = table.take_text("issuer", needed=True)
    issued_on = table.take("issued_on", (date,), needed=True)
    table.close()
    if grade is None or issuer is None or issued_on is None:
        return None
    return Grade(grade, issuer, issued_on)


def _pool(pool_id: str, table: Table, venue_ids: Collection[str]) -> Pool | None:
    venue_id = table.take_reference("venue", "venues", venue_ids)
    name_zh = table.take_text("name_zh", needed=True)
    name_en = table.take_text("name_en", needed=True)
    kind = table.take_choice("kind", PoolKind)
    volume_m3 = table.take_positive("volume_m3")
    zone = _zone(table)
    profile = table.take_text("profile") or _DEFAULT_PROFILE
    if not is_id(profile):
        table.report("profile", f"{profile!r} is no name of a profile like {_DEFAULT_PROFILE!r}: {ID_RULE}")
    opening = _opening(table, zone)
    from_ms = table.take_instant("from", zone)
    sensors = _sensors(table, zone)
    if venue_id is None or name_zh is None or name_en is None or kind is None:
        return None
    return Pool(
        pool_id=pool_id,
        venue_id=venue_id,
        name_zh=name_zh,
        name_en=name_en,
        kind=kind,
        volume_m3=volume_m3,
        opening=opening,
        time_zone=zone.key,
        profile=profile,
        sensors=sensors,
        from_ms=from_ms,
    )


def _zone(pool: Table) -> ZoneInfo:
    try:
        return time_zone(pool.take_text("time_zone") or _DEFAULT_ZONE)
    except ContractError as error:
        pool.report("time_zone", str(error))
        return time_zone(_DEFAULT_ZONE)


def _opening(pool: Table, zone: ZoneInfo) -> tuple[OpeningHours, ...]:
    given = pool.take("opening_hours", (str, list))
    if given is None:
        return (OpeningHours(_ALWAYS_OPEN),)
    if isinstance(given, str):
        _check_hours(pool, given, inner=())
        return (OpeningHours(given),)
    if not given:
        pool.report("opening_hours", "is empty: leave it out for a pool whose hours are not known")
    found: list[OpeningHours] = []
    for index, content in enumerate(given):
        table = Table(pool.mistakes, (*pool.place, "opening_hours", index), content)
        from_ms = table.take_instant("from", zone)
        expression = table.take("hours", (str,), needed=True)
        table.close()
        if expression is None:
            continue
        _check_hours(pool, expression, inner=(index, "hours"))
        if found and (from_ms is None or from_ms <= (found[-1].from_ms or from_ms - 1)):
            pool.report(
                "opening_hours",
                "every entry but the first needs `from`, each later than the one before",
                inner=(index,),
            )
        found.append(OpeningHours(expression, from_ms))
    return tuple(found)


def _check_hours(pool: Table, expression: str, *, inner: Place) -> None:
    try:
        check_expression(expression)
    except ContractError as error:
        pool.report("opening_hours", f"{expression!r} {error}", inner=inner)


def _sensors(pool: Table, zone: ZoneInfo) -> tuple[Sensor, ...]:
    sensors: list[Sensor] = []
    for index, content in enumerate(pool.take("sensors", (list,)) or ()):
        table = Table(pool.mistakes, (*pool.place, "sensors", index), content)
        sensor = _sensor(table, zone)
        table.close()
        if sensor is None:
            continue
        if any(_same_time(sensor, other) for other in sensors):
            table.report(
                "id",
                f"{sensor.sensor_id!r} measures {sensor.quantity} twice at one time; "
                "the newer one needs `from`, the older one an `until` that is not later",
            )
        sensors.append(sensor)
    return tuple(sensors)


def _same_time(sensor: Sensor, other: Sensor) -> bool:
    """Whether two entries are the same series within one period."""
    if (sensor.sensor_id, sensor.quantity) != (other.sensor_id, other.quantity):
        return False
    before = sensor.until_ms is not None and other.from_ms is not None and sensor.until_ms <= other.from_ms
    after = other.until_ms is not None and sensor.from_ms is not None and other.until_ms <= sensor.from_ms
    return not (before or after)


def _sensor(table: Table, zone: ZoneInfo) -> Sensor | None:
    sensor_id = table.take_text("id", needed=True)
    if sensor_id is not None and not is_id(sensor_id):
        table.report("id", f"{sensor_id!r}: {ID_RULE}")
    elif sensor_id == MANUAL_SENSOR:
        table.report(
            "id", f"{MANUAL_SENSOR!r} is the sensor that every pool has for tests by hand: take another id"
        )
    quantity = table.take_choice("quantity", Quantity)
    place = table.take_text("place") or ""
    interval_s = table.take_positive("interval_s")
    calibrated_on = table.take("calibrated_on", (date,))
    from_ms = table.take_instant("from", zone)
    until_ms = table.take_instant("until", zone)
    if from_ms is not None and until_ms is not None and until_ms <= from_ms:
        table.report("until", "is not after `from`")
    if sensor_id is None or quantity is None:
        return None
    return Sensor(
        sensor_id=sensor_id,
        quantity=quantity,
        place=place,
        interval_s=_DEFAULT_INTERVAL_S if interval_s is None else interval_s,
        calibrated_on=calibrated_on,
        from_ms=from_ms,
        until_ms=until_ms,
    )


def _gateway(gateway_id: str, table: Table, pool_ids: Collection[str]) -> GatewayEntry | None:
    given = table.take("pools", (list,), needed=True)
    if given is None:
        return None
    if not given:
        table.report("pools", "is empty: name the pools that the gateway may speak for")
    pools: list[str] = []
    for index, pool_id in enumerate(given):
        if not isinstance(pool_id, str):
            table.report("pools", f"has {toml_type(pool_id)}, it must hold ids of pools", inner=(index,))
            continue
        table.check_reference("pools", pool_id, "pools", pool_ids, inner=(index,))
        if pool_id in pools:
            table.report("pools", f"{pool_id!r} is there twice", inner=(index,))
        pools.append(pool_id)
    return GatewayEntry(gateway_id, frozenset(pools))


def _display(display_id: str, table: Table, pool_ids: Collection[str]) -> DisplayEntry | None:
    pool_id = table.take_reference("pool", "pools", pool_ids)
    return None if pool_id is None else DisplayEntry(display_id, pool_id)
