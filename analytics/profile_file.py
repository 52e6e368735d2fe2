"""Profiles from TOML: every mistake of a file is found and named before any of it is used."""

import tomllib
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any, TypeVar

from analytics.errors import ProfileError
from analytics.profile import (
    ClauseStatus,
    Consequence,
    Duty,
    DutyKind,
    Limit,
    Profile,
    ServedBy,
    Tier,
)
from gateway.contract.quantities import SPECS, Quantity
from gateway.contract.registry import PoolKind

_E = TypeVar("_E", bound=StrEnum)


class _Table:
    """One table of the file: takes keys one by one, collects what is wrong, and in the end what was not taken."""

    def __init__(self, rows: dict[str, Any], *, place: str, mistakes: list[str]) -> None:
        self._rows = dict(rows)
        self._place = place
        self._mistakes = mistakes

    def wrong(self, text: str) -> None:
        self._mistakes.append(f"{self._place}: {text}")

    def text(self, key: str, default: str | None = None) -> str:
        found = self._rows.pop(key, default)
        if isinstance(found, str):
            return found
        self.wrong(f"{key} must be a text" if found is not None else f"{key} is missing")
        return ""

    def flag(self, key: str, *, default: bool | None = None) -> bool:
        found = self._rows.pop(key, default)
        if isinstance(found, bool):
            return found
        self.wrong(f"{key} must be true or false" if found is not None else f"{key} is missing")
        return False

    def number(self, key: str, *, low: float | None = None) -> float:
        found = self.optional_number(key, low=low)
        if found is None:
            self.wrong(f"{key} is missing or no number")
            return 0.0
        return found

    def optional_number(self, key: str, *, low: float | None = None) -> float | None:
        found = self._rows.pop(key, None)
        if found is None:
            return None
        if isinstance(found, bool) or not isinstance(found, int | float):
            self.wrong(f"{key} must be a number, not {found!r}")
            return None
        if low is not None and found < low:
            self.wrong(f"{key} must be {low} or more, not {found}")
        return float(found)

    def instant_ms(self, key: str) -> int | None:
        """Milliseconds of a date (its start in UTC) or of a date and time with its offset."""
        found = self._rows.pop(key, None)
        if found is None:
            return None
        if isinstance(found, datetime):
            if found.tzinfo is None:
                self.wrong(f"{key} needs a time zone, such as 2022-08-15T00:00:00+08:00")
                return None
            return int(found.timestamp() * 1000)
        if isinstance(found, date):
            return int(datetime(found.year, found.month, found.day, tzinfo=UTC).timestamp() * 1000)
        self.wrong(f"{key} must be a date, not {found!r}")
        return None

    def one_of(self, key: str, kind: type[_E]) -> _E:
        found = self._rows.pop(key, None)
        members = list(kind)
        if found in members:
            return kind(found)
        self.wrong(f"{key} must be one of {', '.join(members)}, not {found!r}")
        return members[0]

    def several_of(self, key: str, kind: type[_E], default: Iterable[_E] | None = None) -> tuple[_E, ...]:
        found = self._rows.pop(key, None)
        if found is None and default is not None:
            return tuple(default)
        if not isinstance(found, list):
            self.wrong(f"{key} must be a list")
            return ()
        members = list(kind)
        for name in found:
            if name not in members:
                self.wrong(f"{key} has {name!r}; known are {', '.join(members)}")
        return tuple(kind(name) for name in found if name in members)

    def tables(self, key: str) -> list[dict[str, Any]]:
        found = self._rows.pop(key, [])
        if isinstance(found, list) and all(isinstance(row, dict) for row in found):
            return found
        self.wrong(f"{key} must be tables, [[{key}]]")
        return []

    def table(self, key: str) -> dict[str, Any]:
        found = self._rows.pop(key, {})
        if isinstance(found, dict):
            return found
        self.wrong(f"{key} must be a table, [{key}]")
        return {}

    def end(self) -> None:
        for key in self._rows:
            self.wrong(f"{key!r} is unknown here")


def parse_profile(text: str, *, place: str, limits_of: Callable[[str], tuple[Limit, ...]]) -> Profile:
    """Profile of a TOML text; `limits_of` gives the limits of another profile by name.

    Raises
    ------
    ProfileError
        Listing every mistake, each with its place.
    """
    try:
        rows = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ProfileError(f"{place}: no TOML: {error}") from error
    mistakes: list[str] = []
    top = _Table(rows, place=place, mistakes=mistakes)
    if rows.get("schema") != 1:
        top.wrong("schema must be 1")
    top.number("schema")
    confirmation = _Table(top.table("confirmation"), place=f"{place}: confirmation", mistakes=mistakes)
    hysteresis = _Table(confirmation.table("hysteresis"), place=f"{place}: hysteresis", mistakes=mistakes)
    limits = tuple(
        _limit(_Table(row, place=f"{place}: limits {row.get('id', number)}", mistakes=mistakes))
        for number, row in enumerate(top.tables("limits"), start=1)
    )
    duties = tuple(
        _duty(_Table(row, place=f"{place}: duties {number} ({row.get('duty')})", mistakes=mistakes))
        for number, row in enumerate(top.tables("duties"), start=1)
    )
    if "limits_of" in rows:
        limits = limits_of(top.text("limits_of")) + limits
    _repeated(limits, top)
    profile = Profile(
        name=top.text("name"),
        title_zh=top.text("title_zh"),
        title_en=top.text("title_en"),
        notice=top.flag("notice"),
        grid_step_s=top.number("grid_step_s", low=0.001),
        confirm_s=confirmation.number("confirm_s", low=0),
        clear_s=confirmation.number("clear_s", low=0),
        hysteresis={
            quantity: found
            for quantity in Quantity
            if (found := hysteresis.optional_number(quantity, low=0)) is not None
        },
        limits=limits,
        duties=duties,
    )
    for table in (hysteresis, confirmation, top):
        table.end()
    if mistakes:
        raise ProfileError("\n".join(mistakes))
    return profile


def _repeated(limits: tuple[Limit, ...], top: _Table) -> None:
    seen: set[str] = set()
    for limit in limits:
        if limit.limit_id in seen:
            top.wrong(f"two limits have the id {limit.limit_id!r}")
        seen.add(limit.limit_id)


def _limit(table: _Table) -> Limit:
    low = table.optional_number("low")
    high = table.optional_number("high")
    quantity = table.one_of("quantity", Quantity)
    unit = table.text("unit")
    if low is None and high is None:
        table.wrong("needs low, high or both")
    if low is not None and high is not None and low >= high:
        table.wrong(f"low {low} must be below high {high}")
    if unit != SPECS[quantity].unit:
        table.wrong(f"unit must be {SPECS[quantity].unit!r}, the unit of {quantity}")
    limit = Limit(
        limit_id=table.text("id"),
        quantity=quantity,
        low=low,
        high=high,
        # Only an end that exists has to say whether it belongs to the range.
        low_closed=table.flag("low_closed", default=None if low is not None else True),
        high_closed=table.flag("high_closed", default=None if high is not None else True),
        unit=unit,
        standard=table.text("standard"),
        edition=table.text("edition"),
        clause=table.text("clause"),
        clause_status=table.one_of("clause_status", ClauseStatus),
        source=table.text("source"),
        binding=table.flag("binding"),
        tier=table.one_of("tier", Tier),
        applies_to=frozenset(table.several_of("applies_to", PoolKind, default=PoolKind)),
        from_ms=table.instant_ms("from"),
        to_ms=table.instant_ms("to"),
        consequence=table.one_of("consequence", Consequence),
    )
    table.end()
    return limit


def _duty(table: _Table) -> Duty:
    duty = Duty(
        duty=table.one_of("duty", DutyKind),
        quantities=table.several_of("quantities", Quantity),
        kinds=frozenset(table.several_of("kinds", PoolKind, default=PoolKind)),
        interval_s=table.number("interval_s", low=0.001),
        grace_s=table.number("grace_s", low=0),
        before_session_s=table.optional_number("before_session_s", low=0),
        served_by=frozenset(table.several_of("served_by", ServedBy)),
        standard=table.text("standard"),
        edition=table.text("edition"),
        clause=table.text("clause"),
        clause_status=table.one_of("clause_status", ClauseStatus),
        source=table.text("source"),
        consequence=table.one_of("consequence", Consequence),
    )
    if duty.duty is DutyKind.ONLINE_PUBLICATION and duty.consequence is not Consequence.NONE:
        table.wrong("online publication is only encouraged: its consequence must be none")
    table.end()
    return duty
