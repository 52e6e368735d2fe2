"""What goes wrong in a scenario, when, and what a correct judge should find: the truth to test against. Pure."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import count

from gateway.contract.quantities import Quantity

_REMEMBERED_PERIODS = 4


class FaultKind(StrEnum):
    """What goes wrong."""

    LOW_CHLORINE = "low_chlorine"
    PH_DRIFT = "ph_drift"
    STUCK_PROBE = "stuck_probe"
    SILENT_SENSOR = "silent_sensor"
    DEAD_GATEWAY = "dead_gateway"


class FindingKind(StrEnum):
    """Which kind of finding a fault leads to."""

    EXCEEDANCE = "exceedance"
    LAPSE = "lapse"
    QUALITY = "quality"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a correct judge finds: of which quantity, and at which end of its limit or from which cause."""

    kind: FindingKind
    quantity: Quantity
    detail: str


_FC, _PH, _TEMP = Quantity.FREE_CHLORINE_MG_L, Quantity.PH, Quantity.WATER_TEMP_C
_FINDINGS: dict[FaultKind, tuple[Finding, ...]] = {
    FaultKind.LOW_CHLORINE: (Finding(FindingKind.EXCEEDANCE, _FC, "low"),),
    FaultKind.PH_DRIFT: (Finding(FindingKind.EXCEEDANCE, _PH, "high"),),
    FaultKind.DEAD_GATEWAY: tuple(
        Finding(FindingKind.LAPSE, quantity, "not_received") for quantity in (_FC, _PH, _TEMP)
    ),
}
_WORDS = {
    FaultKind.LOW_CHLORINE: "free chlorine falls",
    FaultKind.PH_DRIFT: "pH drifts up",
    FaultKind.STUCK_PROBE: "a probe is stuck",
    FaultKind.SILENT_SENSOR: "a sensor is silent",
    FaultKind.DEAD_GATEWAY: "the gateway is cut off",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault within [start_s, end_s) of a scenario.

    `pool_ids` are all that it touches: several for a dead gateway. `sensor_id` and `quantity` belong to a stuck probe
    and a silent sensor, `gateway_id` to a dead gateway.
    """

    kind: FaultKind
    pool_ids: tuple[str, ...]
    start_s: float
    end_s: float
    sensor_id: str | None = None
    quantity: Quantity | None = None
    gateway_id: str | None = None

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What a correct judge finds, if the fault lasts longer than confirmation or allowed age."""
        if self.quantity is not None:
            if self.kind is FaultKind.SILENT_SENSOR:
                return (Finding(FindingKind.LAPSE, self.quantity, "not_measured"),)
            return (Finding(FindingKind.QUALITY, self.quantity, "flat_line"),)
        return _FINDINGS[self.kind]

    def describe(self) -> str:
        """One line for people: what goes wrong, where, for how long, and what should be found."""
        where = self.gateway_id or ", ".join(self.pool_ids)
        if self.sensor_id is not None:
            where += f" {self.sensor_id}"
        kind = self.findings[0].kind
        quantities = ", ".join(finding.quantity for finding in self.findings)
        expected = f"{kind} of {quantities} ({self.findings[0].detail})"
        return f"{_WORDS[self.kind]}: {where}, for {self.end_s - self.start_s:.0f} s; to be found: {expected}"


def active(faults: Iterable[Fault], at_s: float) -> list[Fault]:
    """Return those within whose [start, end) the instant lies, in their order."""
    return [fault for fault in faults if fault.start_s <= at_s < fault.end_s]


@dataclass(frozen=True, slots=True)
class Slot:
    """A line of a timetable: a kind of fault, its place in the period, and the sensor where the kind needs one."""

    kind: FaultKind
    start_s: float
    duration_s: float
    sensor_id: str | None = None
    quantity: Quantity | None = None


@dataclass(frozen=True, slots=True)
class Timetable:
    """Slots that come again each period, with other pools each time.

    `pools_by_gateway` holds the pools whose water and probes may fail. Within a period chlorine, silence and the dead
    gateway get gateways of their own, so that none hides another; a slot that finds none is left out.
    """

    slots: tuple[Slot, ...] = ()
    period_s: float = 150.0
    pools_by_gateway: tuple[tuple[str, tuple[str, ...]], ...] = ()
    _known: dict[int, tuple[Fault, ...]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def active(self, at_s: float) -> list[Fault]:
        """Faults under way at an instant, by start."""
        if at_s < 0 or not self.slots:
            return []
        period = int(at_s // self.period_s)
        # No slot is longer than a period, so only this one and the one before can reach here.
        before = active(self.faults_of(period - 1), at_s) if period else []
        return before + active(self.faults_of(period), at_s)

    def until(self, end_s: float) -> list[Fault]:
        """Every fault that starts before an instant, by start."""
        periods = range(int(end_s // self.period_s) + 1)
        faults = [fault for period in periods for fault in self.faults_of(period) if fault.start_s < end_s]
        return sorted(faults, key=lambda fault: fault.start_s)

    def faults_of(self, period: int) -> tuple[Fault, ...]:
        """Faults of the n-th period, 0 the first, by start; the last few are remembered."""
        known = self._known.get(period)
        if known is None:
            if len(self._known) > _REMEMBERED_PERIODS:
                self._known.clear()
            known = self._known[period] = self._make_faults(period)
        return known

    def _make_faults(self, period: int) -> tuple[Fault, ...]:
        gateways = list(self.pools_by_gateway)
        if not gateways:
            return ()
        stride = next(step for step in count(len(self.slots)) if math.gcd(step, len(gateways)) == 1)
        turn = period * stride % len(gateways)
        order = gateways[turn:] + gateways[:turn]
        faults = []
        taken = 0
        shared = 0
        for slot in self.slots:
            start_s = period * self.period_s + slot.start_s
            end_s = start_s + slot.duration_s
            exclusive = slot.kind not in (FaultKind.PH_DRIFT, FaultKind.STUCK_PROBE)
            if taken < len(order):
                gateway_id, pool_ids = order[taken]
                taken += 1
            elif exclusive:
                continue
            else:
                gateway_id, pool_ids = order[shared % len(order)]
                shared += 1
            pool_ids = pool_ids if slot.kind is FaultKind.DEAD_GATEWAY else (_one_of(pool_ids, period),)
            faults.append(
                Fault(
                    slot.kind,
                    pool_ids,
                    start_s,
                    end_s,
                    sensor_id=slot.sensor_id,
                    quantity=slot.quantity,
                    gateway_id=gateway_id if slot.kind is FaultKind.DEAD_GATEWAY else None,
                )
            )
        return tuple(sorted(faults, key=lambda fault: fault.start_s))


def _one_of(pool_ids: Sequence[str], period: int) -> str:
    return pool_ids[period % len(pool_ids)]
