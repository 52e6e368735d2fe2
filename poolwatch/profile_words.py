"""What a profile says, in words: limits, duties and quality checks."""

from collections.abc import Iterator
from dataclasses import fields
from datetime import time

from analytics.standards.limits import Limit, Tier
from analytics.standards.profile import Duty, Profile
from analytics.standards.quality_rules import QualityRules
from gateway.contract.local_time import time_zone, wall_time
from gateway.contract.quantities import Quantity
from gateway.contract.registry import PoolKind

_HOUR_S, _DAY_S, _MINUTE_S = 3600.0, 86_400.0, 60.0


def summary_lines(profile: Profile) -> Iterator[str]:
    """What a profile says, for people."""
    yield f"{profile.name}: {profile.title_en} / {profile.title_zh}"
    if profile.notice:
        yield "every page says that this profile is none of an authority"
    yield f"confirmed after {_span(profile.confirm_s)}, cleared after {_span(profile.clear_s)}"
    yield ""
    yield "Limits"
    for quantity in Quantity:
        of_quantity = [limit for limit in profile.limits if limit.quantity == quantity]
        if of_quantity:
            yield f"  {quantity}"
        for limit in sorted(of_quantity, key=lambda limit: (limit.tier == Tier.CLOSURE, limit.from_ms or 0)):
            yield from _limit_lines(limit, profile.time_zone)
    if not profile.limits:
        yield "  none"
    yield ""
    yield "Duties"
    for duty in profile.duties:
        yield from _duty_lines(duty, profile.time_zone)
    if not profile.duties:
        yield "  none"
    yield ""
    yield "Quality checks"
    for quantity, rules in profile.quality.items():
        yield f"  {quantity}: {_checks(rules)}"
    if not profile.quality:
        yield "  none: readings are checked for their plausible range and status only"


def _limit_lines(limit: Limit, zone: str) -> Iterator[str]:
    advice = "recommended" if limit.tier is Tier.OPERATING else "not binding"
    force = "binding" if limit.binding else advice
    decimals = limit.comparison_decimals
    compared = "" if decimals is None else f", compared with {decimals} decimal{'s' * (decimals != 1)}"
    yield (
        f"    {_range(limit)}{compared}  {limit.tier}, {force}; {_kinds(limit.applies_to)}; "
        f"{_validity(limit.from_ms, limit.to_ms, zone)}"
    )
    yield f"      {limit.standard}, edition {limit.edition}: {limit.clause}"
    yield f"      {limit.clause_status}: {limit.source}; consequence: {limit.consequence}"


def _duty_lines(duty: Duty, zone: str) -> Iterator[str]:
    of = f" of {', '.join(duty.quantities)}" if duty.quantities else ""
    grace = f" and {_span(duty.grace_s)} of grace" if duty.grace_s else ""
    yield (
        f"  {duty.duty}{of}: every {_span(duty.interval_s)}{grace}; {_kinds(duty.kinds)}; "
        f"{_validity(duty.from_ms, duty.to_ms, zone)}"
    )
    yield f"      {duty.standard}, edition {duty.edition}: {duty.clause}"
    yield f"      {duty.clause_status}: {duty.source}; consequence: {duty.consequence}"


def _range(limit: Limit) -> str:
    """A range in words; an end that does not belong to it says so."""
    unit = f" {limit.unit}" if limit.unit else ""
    low = "" if limit.low is None else f"{'≥' if limit.low_closed else '>'} {limit.low:g}{unit}"
    high = "" if limit.high is None else f"{'≤' if limit.high_closed else '<'} {limit.high:g}{unit}"
    return " and ".join(end for end in (low, high) if end)


def _kinds(kinds: frozenset[PoolKind]) -> str:
    return (
        "all pools" if kinds == frozenset(PoolKind) else ", ".join(kind for kind in PoolKind if kind in kinds)
    )


def _validity(from_ms: int | None, to_ms: int | None, zone: str) -> str:
    start = "" if from_ms is None else f"from {_day(from_ms, zone)}"
    end = "" if to_ms is None else f"until before {_day(to_ms, zone)}"
    return " ".join(part for part in (start, end) if part) or "no dates"


def _day(instant_ms: int, zone: str) -> str:
    """An instant on the profile's clock; only the date if it is a midnight."""
    wall = wall_time(instant_ms, time_zone(zone))
    return wall.date().isoformat() if wall.time() == time() else f"{wall.isoformat(sep=' ')} ({zone})"


def _span(seconds: float) -> str:
    for size, word in ((_DAY_S, "d"), (_HOUR_S, "h"), (_MINUTE_S, "min")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {word}"
    return f"{seconds:g} s"


def _checks(rules: QualityRules) -> str:
    """The parameters that differ from those of a profile that says nothing."""
    silent = QualityRules()
    given = [
        f"{parameter.name} {getattr(rules, parameter.name):g}"
        for parameter in fields(rules)
        if getattr(rules, parameter.name) != getattr(silent, parameter.name)
    ]
    return ", ".join(given) or "none"
