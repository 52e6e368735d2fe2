"""Items, weights and factors of the indicator: the published formula of ``docs/indicator.md``. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from analytics.standards.profile import ClauseStatus, DutyKind, KindRules, Limit, Tier
from gateway.contract.quantities import Quantity

#: Name of the formula; a change of any number below is a new one.
FORMULA = "poolwatch-1"

#: Points of water by quantity, for those that have a binding operating limit.
WATER_POINTS = {
    Quantity.FREE_CHLORINE_MG_L: 25.0,
    Quantity.PH: 15.0,
    Quantity.COMBINED_CHLORINE_MG_L: 5.0,
    Quantity.TURBIDITY_NTU: 5.0,
}
MONITORING_POINTS = 10.0
DUTY_POINTS = {DutyKind.DAILY_TEST: 15.0, DutyKind.POSTING: 15.0}
CLOSURE_POINTS = 10.0

#: Water out of standard for a quarter of the known time has lost all of the item's points.
OUT_FACTOR = 4.0
#: Half of the time silent has lost all points of monitoring. Of water silence takes its share once.
SILENCE_FACTOR = 2.0
#: A duty overdue for half of the known time has lost all of its points.
OVERDUE_FACTOR = 2.0
#: Each exceedance of a closure limit.
CLOSURE_POINTS_EACH = 5.0

#: The quantities that order no. 17 names, whose monitoring counts.
ORDER_QUANTITIES = (Quantity.FREE_CHLORINE_MG_L, Quantity.PH, Quantity.WATER_TEMP_C)


class ItemKind(StrEnum):
    """How an item's points come from its figures."""

    WATER = "water"
    MONITORING = "monitoring"
    DUTY = "duty"
    CLOSURE = "closure"


class Loss(StrEnum):
    """Why points are lost."""

    OUT = "out_of_standard"
    SILENT = "silent"
    OVERDUE = "overdue"
    CLOSURE = "closure"


_LOSSES = {
    ItemKind.WATER: Loss.OUT,
    ItemKind.MONITORING: Loss.SILENT,
    ItemKind.DUTY: Loss.OVERDUE,
    ItemKind.CLOSURE: Loss.CLOSURE,
}


@dataclass(frozen=True, slots=True)
class Item:
    """One item: its points, of which quantities (or which duty of them), and the clause that asks for it.

    `silence_clause`: the clause that asks for measuring, cited where points are lost by silence.
    """

    kind: ItemKind
    points: float
    quantities: tuple[Quantity, ...]
    clause: str
    duty: DutyKind | None = None
    silence_clause: str = ""

    @property
    def name(self) -> str:
        """Name in the formula."""
        if self.kind is ItemKind.WATER:
            return f"water.{self.quantities[0].value}"
        return self.kind.value if self.duty is None else f"duty.{self.duty.value}"

    @property
    def loss(self) -> Loss:
        """Why points are lost other than by silence."""
        return _LOSSES[self.kind]

    def clause_of(self, loss: Loss) -> str:
        """The clause to cite for a loss."""
        return self.silence_clause if loss is Loss.SILENT and self.silence_clause else self.clause


def items_of(rules: KindRules, *, at_ms: int) -> tuple[Item, ...]:
    """The items that a profile has for a kind of pool.

    Water only for quantities with a binding operating limit in force at `at_ms`: a recommended one never costs a point.
    """
    monitoring = next((duty for duty in rules.duties if duty.duty is DutyKind.ONLINE_MONITORING), None)
    asked = "" if monitoring is None else f"{monitoring.standard}, {monitoring.clause}"
    items = []
    for quantity, weight in WATER_POINTS.items():
        limit = rules.operating(quantity, at_ms)
        if limit is not None and limit.binding:
            items.append(Item(ItemKind.WATER, weight, (quantity,), _cited(limit), silence_clause=asked))
    if monitoring is not None:
        watched = tuple(quantity for quantity in ORDER_QUANTITIES if quantity in monitoring.quantities)
        items.append(Item(ItemKind.MONITORING, MONITORING_POINTS, watched, asked, silence_clause=asked))
    for kind, weight in DUTY_POINTS.items():
        duties = [duty for duty in rules.duties if duty.duty is kind]
        if duties:
            quantities = tuple(dict.fromkeys(quantity for duty in duties for quantity in duty.quantities))
            clause = "; ".join(dict.fromkeys(f"{duty.standard}, {duty.clause}" for duty in duties))
            items.append(Item(ItemKind.DUTY, weight, quantities, clause, duty=kind))
    closing = [limit for limit in rules.limits if limit.tier is Tier.CLOSURE and limit.in_force(at_ms)]
    if closing:
        quantities = tuple(dict.fromkeys(limit.quantity for limit in closing))
        clause = "; ".join(_cited(limit) for limit in closing)
        items.append(Item(ItemKind.CLOSURE, CLOSURE_POINTS, quantities, clause))
    return tuple(items)


def _cited(limit: Limit) -> str:
    cited = f"{limit.standard}, {limit.clause}"
    if limit.clause_status is ClauseStatus.BORROWED and "borrowed" not in cited:
        return f"{cited} (borrowed)"
    return cited
