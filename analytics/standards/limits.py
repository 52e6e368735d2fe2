"""Limits of a standard: a range of one quantity, where its text is from, and when it is in force. Pure."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from analytics.spans import FAR_MS, Instants
from gateway.contract.quantities import Quantity
from gateway.contract.registry import PoolKind


class ClauseStatus(StrEnum):
    """Whether the text of a clause was read, or where else the figure comes from."""

    READ = "read"
    SECOND_HAND = "second_hand"
    UNCONFIRMED = "unconfirmed"
    BORROWED = "borrowed"
    OURS = "ours"


class Tier(StrEnum):
    """Operating limits say what is in standard; closure limits say when to close."""

    OPERATING = "operating"
    CLOSURE = "closure"


class Consequence(StrEnum):
    """What the order attaches to a violation; never more is claimed."""

    ORDER_AND_WARNING_FINE_AT_DISCRETION = "order_and_warning_fine_at_discretion"
    ORDER_TO_CORRECT_THEN_FINE = "order_to_correct_then_fine"
    NONE = "none"


class Side(StrEnum):
    """Which end of a range a limit is."""

    LOW = "low"
    HIGH = "high"


@dataclass(frozen=True, slots=True)
class Limit:
    """A range of a quantity; an absent end is None, a closed end belongs to the range. `from_ms` to `to_ms`: in force.

    `comparison_decimals` is None where the full value is compared (the rule of GB/T 8170 unless a standard says
    otherwise); else a value is rounded to that many decimals first, half to even, as the same text rounds.
    """

    limit_id: str
    quantity: Quantity
    low: float | None
    high: float | None
    low_closed: bool
    high_closed: bool
    unit: str
    standard: str
    edition: str
    clause: str
    clause_status: ClauseStatus
    source: str
    binding: bool
    tier: Tier
    applies_to: frozenset[PoolKind]
    from_ms: int | None
    to_ms: int | None
    consequence: Consequence
    comparison_decimals: int | None = None

    def in_force(self, at_ms: int) -> bool:
        """Whether the limit is in force at an instant."""
        return in_force(self.from_ms, self.to_ms, at_ms)

    def outside_by(self, value: float) -> float | None:
        """How far a value lies outside, in the limit's unit; None inside, and for NaN. On an open end: 0."""
        for end in self.ends():
            if end.is_outside(value):
                return max(0.0, end.value - value if end.side is Side.LOW else value - end.value)
        return None

    def ends(self) -> tuple["LimitEnd", ...]:
        """The ends that the range has, low before high."""
        found = []
        if self.low is not None:
            found.append(LimitEnd(f"{self.limit_id}.low", self, Side.LOW, self.low, self.low_closed))
        if self.high is not None:
            found.append(LimitEnd(f"{self.limit_id}.high", self, Side.HIGH, self.high, self.high_closed))
        return tuple(found)


@dataclass(frozen=True, slots=True)
class LimitEnd:
    """One end of a limit, which is judged by itself; `rule` names it in verdicts.

    `value` and `closed` are those of the standard, for people. Readings are compared with `threshold` and
    `threshold_closed`, which are the same unless the standard rounds before it compares.
    """

    rule: str
    limit: Limit
    side: Side
    value: float
    closed: bool

    @property
    def threshold(self) -> float:
        """What the full value is compared with, in the limit's unit."""
        return _full_value_end(self.value, self.closed, self.side, self.limit.comparison_decimals)[0]

    @property
    def threshold_closed(self) -> bool:
        """Whether a value on the threshold is inside."""
        return _full_value_end(self.value, self.closed, self.side, self.limit.comparison_decimals)[1]

    @property
    def from_ms(self) -> int:
        """First instant in force; -FAR_MS if it was always in force."""
        return -FAR_MS if self.limit.from_ms is None else self.limit.from_ms

    @property
    def to_ms(self) -> int:
        """First instant no longer in force; FAR_MS if no end is known."""
        return FAR_MS if self.limit.to_ms is None else self.limit.to_ms

    def is_outside(self, value: float) -> bool:
        """Whether a value is outside; False for NaN."""
        at, closed = _full_value_end(self.value, self.closed, self.side, self.limit.comparison_decimals)
        if self.side is Side.HIGH:
            return value > at or (value == at and not closed)
        return value < at or (value == at and not closed)


@lru_cache(maxsize=1024)
def _full_value_end(value: float, closed: bool, side: Side, decimals: int | None) -> tuple[float, bool]:  # noqa: FBT001 - called above only
    """Threshold and its closedness that judge the full value as the rounded one would be judged.

    With a step s, rounded(v) > 1.0 is v > 1.0 + s/2, and rounded(v) >= 1.0 is v > 1.0 - s/2; a value exactly half way
    goes to the even neighbour. For a low end it is the mirror image.
    """
    if decimals is None:
        return value, closed
    exact = Decimal(repr(value))
    outward = 1 if side is Side.HIGH else -1
    away = outward if closed else -outward
    half_way = exact + away * Decimal(5).scaleb(-decimals - 1)
    even = int(exact.scaleb(decimals)) % 2 == 0
    # Half way, an even end draws the value onto itself: inside if the end belongs to the range.
    return float(half_way), even == closed


def in_force(from_ms: int | None, to_ms: int | None, at_ms: int) -> bool:
    """Whether an instant lies in [from, to); None is open."""
    return (from_ms is None or from_ms <= at_ms) and (to_ms is None or at_ms < to_ms)


def in_force_at(limit: Limit, at_ms: Instants) -> NDArray[np.bool_]:
    """Which instants lie in the time in which a limit judges, [from, to); shape of `at_ms`."""
    from_ms = -FAR_MS if limit.from_ms is None else limit.from_ms
    to_ms = FAR_MS if limit.to_ms is None else limit.to_ms
    return (at_ms >= from_ms) & (at_ms < to_ms)


def overlap(one: tuple[int | None, int | None], other: tuple[int | None, int | None]) -> bool:
    """Whether two validities [from, to) have an instant in common; None is open."""
    starts = [start for start, _ in (one, other) if start is not None]
    ends = [end for _, end in (one, other) if end is not None]
    return max(starts, default=-FAR_MS) < min(ends, default=FAR_MS)
