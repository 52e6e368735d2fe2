"""The `[quality.<quantity>]` tables of a profile: parameters of the quality checks, each one checked."""

from dataclasses import fields

from analytics.standards.profile_tables import ProfileTable
from analytics.standards.quality_rules import QualityRules
from gateway.contract.quantities import Quantity
from gateway.contract.registry_tables import nearest

#: Where half of a pair alone, or the first above the second, would make no sense.
_QUALITY_ORDER = (
    ("spike_suspect", "spike_fail"),
    ("rate_suspect_per_min", "rate_fail_per_min"),
    ("flat_line_s", "flat_line_fail_s"),
)
#: Durations: 0 of them would flag everything, or nothing.
_QUALITY_ABOVE_ZERO = (
    "rate_over_s",
    "reach_s",
    "flat_line_s",
    "flat_line_fail_s",
    "zero_pinned_s",
    "calibration_days",
)
_ORP_PAIR = ("orp_low_mv", "orp_free_chlorine_mg_l")


def take_quality(section: ProfileTable) -> dict[Quantity, QualityRules]:
    """Parameters by quantity; what is wrong is reported."""
    found: dict[Quantity, QualityRules] = {}
    for name in section.content:
        if name not in list(Quantity):
            known = ", ".join(Quantity)
            section.report(name, f"is no quantity{nearest(name, Quantity)}; known: {known}")
            continue
        found[Quantity(name)] = _quality_rules(section.take_table(name), Quantity(name))
    return found


def _quality_rules(table: ProfileTable, quantity: Quantity) -> QualityRules:
    values: dict[str, float | bool] = {}
    for parameter in fields(QualityRules):
        key = parameter.name
        if isinstance(parameter.default, bool):
            values[key] = table.take_flag(key, default=parameter.default)
        elif key in _QUALITY_ABOVE_ZERO:
            number = table.take_number(key, above=0)
            values |= {} if number is None else {key: number}
        else:
            number = table.take_number(key, low=0)
            values |= {} if number is None else {key: number}
    for first, second in _QUALITY_ORDER:
        if first in values and second in values and values[second] < values[first]:
            table.report(second, f"is {values[second]:g}, it must be `{first}`, {values[first]:g}, or more")
    given = [key for key in _ORP_PAIR if key in table.content]
    if given and quantity is not Quantity.ORP_MV:
        table.report(given[0], f"is only for {Quantity.ORP_MV}")
    elif len(given) == 1:
        table.report(given[0], f"needs both of {' and '.join(_ORP_PAIR)}")
    table.close()
    return QualityRules(**values)  # type: ignore[arg-type]  # names and types were checked above
