"""Profiles from TOML: every mistake of a file is found and named, with its line, before any of it is used."""

import re
import tomllib
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from itertools import combinations
from zoneinfo import ZoneInfo

from analytics.errors import ProfileError
from analytics.standards.limits import ClauseStatus, Consequence, Limit, Tier, overlap
from analytics.standards.profile import Duty, DutyKind, Profile, ServedBy
from analytics.standards.profile_tables import ProfileTable
from analytics.standards.quality_tables import take_quality
from gateway.contract.errors import ContractError
from gateway.contract.local_time import time_zone
from gateway.contract.quantities import SPECS, Quantity
from gateway.contract.registry import PoolKind
from gateway.contract.registry_tables import Mistakes, toml_type

_SCHEMA = 1
_LIMIT_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_FULL_VALUE = "full_value"
_MOST_DECIMALS = 6

LimitsOf = Callable[[str], tuple[Limit, ...]]


def parse_profile(text: str, *, place: str, limits_of: LimitsOf) -> Profile:
    """Profile of a TOML text; `limits_of` gives the limits of another profile by name.

    Raises
    ------
    ProfileError
        Listing every mistake, each with its file, line, table and key.
    """
    try:
        content = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ProfileError(f"{place}: not TOML: {error}") from error
    mistakes = Mistakes(text)
    top = ProfileTable(mistakes, (), content)
    schema = top.take("schema", (int,), needed=True)
    if schema not in (None, _SCHEMA):
        top.report("schema", f"is {schema}, this version reads {_SCHEMA}")
    zone = _zone(top)
    confirmation = top.take_table("confirmation", needed=True)
    hysteresis = confirmation.take_table("hysteresis")
    own = [(table, limit) for table in top.take_list("limits") if (limit := _limit(table, zone)) is not None]
    duties = [(table, duty) for table in top.take_list("duties") if (duty := _duty(table, zone)) is not None]
    included = _included(top, zone, limits_of)
    _check_limits(own, included, top)
    _check_duties(duties)
    profile = Profile(
        name=top.take_words("name"),
        title_zh=top.take_words("title_zh"),
        title_en=top.take_words("title_en"),
        notice=top.take_flag("notice"),
        grid_step_s=top.take_number("grid_step_s", above=0, needed=True) or 0.0,
        confirm_s=confirmation.take_number("confirm_s", low=0, needed=True) or 0.0,
        clear_s=confirmation.take_number("clear_s", low=0, needed=True) or 0.0,
        hysteresis={
            quantity: found
            for quantity in Quantity
            if (found := hysteresis.take_number(quantity, low=0)) is not None
        },
        limits=(*included, *(limit for _, limit in own)),
        duties=tuple(duty for _, duty in duties),
        quality=take_quality(top.take_table("quality")),
        time_zone=zone.key,
    )
    for table in (hysteresis, confirmation, top):
        table.close()
    if wrong := mistakes.in_order():
        raise ProfileError("\n".join(f"{place}: {mistake}" for mistake in wrong))
    return profile


def _zone(top: ProfileTable) -> ZoneInfo:
    """Time zone in which a date without a time begins."""
    name = top.take_text("time_zone")
    try:
        return time_zone(name or "UTC")
    except ContractError as error:
        top.report("time_zone", str(error))
        return time_zone("UTC")


def _included(top: ProfileTable, zone: ZoneInfo, limits_of: LimitsOf) -> tuple[Limit, ...]:
    """Limits of other profiles: names, or tables with a name and the dates between which they are taken."""
    given = top.take("limits_of", (str, list))
    limits: list[Limit] = []
    for number, entry in enumerate([given] if isinstance(given, str) else given or []):
        from_ms = to_ms = None
        inner = () if isinstance(given, str) else (number,)
        name = entry
        if isinstance(entry, dict):
            table = ProfileTable(top.mistakes, ("limits_of", number), entry)
            name = table.take_words("profile")
            from_ms, to_ms = table.take_instant("from", zone), table.take_instant("to", zone)
            table.close()
        if not isinstance(name, str):
            top.report("limits_of", f"has {toml_type(entry)}, it must have names or tables", inner=inner)
            continue
        if not name:
            continue
        try:
            found = limits_of(name)
        except ProfileError as error:
            top.report("limits_of", str(error), inner=inner)
            continue
        limits += [cut for limit in found if (cut := _between(limit, from_ms, to_ms)) is not None]
    return tuple(limits)


def _between(limit: Limit, from_ms: int | None, to_ms: int | None) -> Limit | None:
    """The part of a limit's validity in [from, to); None if it has none."""
    if not overlap((limit.from_ms, limit.to_ms), (from_ms, to_ms)):
        return None
    starts = [start for start in (limit.from_ms, from_ms) if start is not None]
    ends = [end for end in (limit.to_ms, to_ms) if end is not None]
    return replace(limit, from_ms=max(starts, default=None), to_ms=min(ends, default=None))


def _check_limits(
    own: list[tuple[ProfileTable, Limit]], included: tuple[Limit, ...], top: ProfileTable
) -> None:
    """Report ids that come twice, and two operating limits of one quantity and kind that are in force together."""
    placed: list[tuple[ProfileTable | None, Limit]] = [(None, limit) for limit in included]
    for (_, one), (table, other) in combinations([*placed, *own], 2):
        text = ""
        kinds = one.applies_to & other.applies_to
        if one.limit_id == other.limit_id:
            text = f"two limits have the id {one.limit_id!r}"
        elif (
            one.quantity == other.quantity
            and one.tier is other.tier is Tier.OPERATING
            and kinds
            and overlap((one.from_ms, one.to_ms), (other.from_ms, other.to_ms))
        ):
            text = (
                f"{other.limit_id!r} and {one.limit_id!r} are both operating limits of {one.quantity} "
                f"for {', '.join(sorted(kinds))} at one time; give them successive `from` and `to`"
            )
        if text and table is not None:
            table.report_table(text)
        elif text:
            top.report("limits_of", text)


def _check_duties(duties: list[tuple[ProfileTable, Duty]]) -> None:
    """Report two duties of one kind, quantity and kind of pool that are in force together."""
    for (_, one), (table, other) in combinations(duties, 2):
        kinds = one.kinds & other.kinds
        both = set(one.quantities) & set(other.quantities)
        same = bool(both) or (not one.quantities and not other.quantities)
        if (
            one.duty is other.duty
            and kinds
            and same
            and overlap((one.from_ms, one.to_ms), (other.from_ms, other.to_ms))
        ):
            of = f" of {', '.join(sorted(both))}" if both else ""
            table.report_table(
                f"a second {one.duty}{of} for {', '.join(sorted(kinds))} at one time; "
                "give them successive `from` and `to`"
            )


def _validity(table: ProfileTable, zone: ZoneInfo) -> tuple[int | None, int | None]:
    from_ms, to_ms = table.take_instant("from", zone), table.take_instant("to", zone)
    if from_ms is not None and to_ms is not None and from_ms >= to_ms:
        table.report("to", "is not after `from`")
    return from_ms, to_ms


def _limit(table: ProfileTable, zone: ZoneInfo) -> Limit | None:
    limit_id = table.take_words("id")
    if limit_id and not _LIMIT_ID.fullmatch(limit_id):
        table.report("id", f"{limit_id!r}: small letters, digits, _ and -, at most 63")
    quantity = table.take_choice("quantity", Quantity)
    low, high = table.take_number("low"), table.take_number("high")
    unit = table.take("unit", (str,), needed=True)
    # Only an end that exists has to say whether it belongs to the range.
    low_closed = table.take_flag("low_closed", default=None if "low" in table.content else True)
    high_closed = table.take_flag("high_closed", default=None if "high" in table.content else True)
    _check_range(table, quantity, low, high)
    if quantity is not None and unit is not None and unit != SPECS[quantity].unit:
        table.report("unit", f"is {unit!r}, it must be {SPECS[quantity].unit!r}, the unit of {quantity}")
    standard, edition, clause = (table.take_words(key) for key in ("standard", "edition", "clause"))
    status = table.take_choice("clause_status", ClauseStatus)
    source = table.take_words("source")
    binding = table.take_flag("binding")
    tier = table.take_choice("tier", Tier)
    applies_to = frozenset(table.take_choices("applies_to", PoolKind, default=PoolKind))
    decimals = _comparison(table, low, high)
    from_ms, to_ms = _validity(table, zone)
    consequence = table.take_choice("consequence", Consequence)
    table.close()
    if table.mistaken or quantity is None or status is None or tier is None or consequence is None:
        return None
    return Limit(
        limit_id=limit_id,
        quantity=quantity,
        low=low,
        high=high,
        low_closed=low_closed,
        high_closed=high_closed,
        unit=unit,
        standard=standard,
        edition=edition,
        clause=clause,
        clause_status=status,
        source=source,
        binding=binding,
        tier=tier,
        applies_to=applies_to,
        from_ms=from_ms,
        to_ms=to_ms,
        consequence=consequence,
        comparison_decimals=decimals,
    )


def _check_range(
    table: ProfileTable, quantity: Quantity | None, low: float | None, high: float | None
) -> None:
    if "low" not in table.content and "high" not in table.content:
        table.report_table("needs `low`, `high` or both")
    if low is not None and high is not None and low >= high:
        table.report("low", f"is {low:g}, it must be below `high`, {high:g}")
    if quantity is None:
        return
    spec = SPECS[quantity]
    for key, end in (("low", low), ("high", high)):
        if end is not None and not spec.low <= end <= spec.high:
            text = f"no instrument for {quantity} reports it: it must be {spec.low:g} to {spec.high:g} {spec.unit}"
            table.report(key, f"is {end:g}, {text.strip()}")


def _comparison(table: ProfileTable, low: float | None, high: float | None) -> int | None:
    """Decimals to which a value is rounded before it is compared; None: the full value."""
    found = table.take("comparison", (str, int))
    if found is None or found == _FULL_VALUE:
        return None
    if isinstance(found, str) or not 0 <= found <= _MOST_DECIMALS:
        table.report(
            "comparison", f"is {found!r}, it must be {_FULL_VALUE!r} or 0 to {_MOST_DECIMALS} decimals"
        )
        return None
    for key, end in (("low", low), ("high", high)):
        if end is not None and Decimal(repr(end)).scaleb(found) % 1:
            table.report(key, f"{end:g} has more than the {found} decimals of `comparison`")
    return int(found)


def _duty(table: ProfileTable, zone: ZoneInfo) -> Duty | None:
    kind = table.take_choice("duty", DutyKind)
    quantities = table.take_choices("quantities", Quantity)
    kinds = frozenset(table.take_choices("kinds", PoolKind, default=PoolKind))
    interval_s = table.take_number("interval_s", above=0, needed=True)
    grace_s = table.take_number("grace_s", low=0, needed=True)
    before_session_s = table.take_number("before_session_s", low=0)
    served_by = frozenset(table.take_choices("served_by", ServedBy))
    standard, edition, clause = (table.take_words(key) for key in ("standard", "edition", "clause"))
    status = table.take_choice("clause_status", ClauseStatus)
    source = table.take_words("source")
    consequence = table.take_choice("consequence", Consequence)
    from_ms, to_ms = _validity(table, zone)
    if kind is DutyKind.ONLINE_PUBLICATION and consequence not in (None, Consequence.NONE):
        table.report("consequence", "online publication is only encouraged: its consequence must be none")
    table.close()
    if table.mistaken or kind is None or status is None or consequence is None:
        return None
    return Duty(
        duty=kind,
        quantities=quantities,
        kinds=kinds,
        interval_s=interval_s or 0.0,
        grace_s=grace_s or 0.0,
        before_session_s=before_session_s,
        served_by=served_by,
        standard=standard,
        edition=edition,
        clause=clause,
        clause_status=status,
        source=source,
        consequence=consequence,
        from_ms=from_ms,
        to_ms=to_ms,
    )
