"""When a duty binds a pool, and when it began to (DESIGN 12.4, 12.14). Pure."""

from dataclasses import dataclass

import numpy as np

from analytics.spans import FAR_MS, Instants, Spans, cut, merged
from analytics.standards.profile import Duty, DutyKind
from analytics.window import Window

_ONLINE_DUTIES = (DutyKind.ONLINE_MONITORING, DutyKind.ONLINE_PUBLICATION)


@dataclass(frozen=True, slots=True)
class DutyBound:
    """When a duty binds, whether the pool is open or not, as merged spans; and its beginnings. [ms]

    A duty cannot be overdue in the instant in which it begins: a beginning counts as a fact of that time. That an
    edition follows another of the same duty is no beginning.
    """

    spans: Spans
    begins_ms: Instants


def duty_bound(window: Window, duty: Duty, quantity: str) -> DutyBound | None:
    """Since the pool's begin; online duties while a sensor is registered; in force. None: never."""
    begin_ms = FAR_MS if window.begin_ms is None else window.begin_ms
    since = [(begin_ms, FAR_MS)]
    if duty.duty in _ONLINE_DUTIES:
        since = [
            (
                max(begin_ms, begin_ms if sensor.from_ms is None else sensor.from_ms),
                FAR_MS if sensor.until_ms is None else sensor.until_ms,
            )
            for sensor in window.pool.sensors
            if sensor.quantity == quantity
        ]
    if not since:
        return None
    return in_force_of(window, duty, quantity, merged(since))


def in_force_of(window: Window, duty: Duty, quantity: str, since: Spans) -> DutyBound:
    """The part of `since` in which this edition of a duty is in force, and the duty's beginnings."""
    from_ms = -FAR_MS if duty.from_ms is None else duty.from_ms
    if not len(since) or (duty.to_ms is None and from_ms <= since[0, 0]):
        return DutyBound(since, since[:, 0])
    to_ms = FAR_MS if duty.to_ms is None else duty.to_ms
    spans = cut(since, np.array([(from_ms, to_ms)], dtype=np.int64))
    follows = any(
        other.duty is duty.duty
        and (quantity in other.quantities or not duty.quantities)
        and other.in_force(from_ms - 1)
        for other in window.rules.duties
    )
    return DutyBound(spans, since[:, 0] if follows else spans[:, 0])
