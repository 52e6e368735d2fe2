"""QARTOD's flags, the checks that set them, their one merge, and what a series is checked by. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from analytics.standards.quality_rules import QualityRules
from gateway.contract.quantities import SPECS, Quantity
from ingest.store.records import StatusCode

#: How many of a sensor's intervals may be missed before its reading before counts no more. DESIGN 12.8
_REACH_INTERVALS = 3
#: "Within one interval": half an interval more for jitter of the sampling. DESIGN 12.9
ONE_INTERVAL = 1.5
_DAY_MS = 86_400_000
_MS_PER_MIN = 60_000.0
#: More than the rounding of a difference in float32: a screen in the values' own dtype lets through what is then compared
#: exactly, in float64.
SLACK = 1.0 - 1e-6
#: Longer than any two readings of one series are apart: "at any distance". [ms]
ANY_MS = 2**43


class Flag(IntEnum):
    """QARTOD's flags."""

    GOOD = 1
    NOT_EVALUATED = 2
    SUSPECT = 3
    FAIL = 4
    MISSING = 9


class Check(IntFlag):
    """Why a reading is not good: one bit for each check, so that a reading can have several causes."""

    GAP = 1
    GROSS_RANGE = 2
    SPIKE = 4
    RATE_OF_CHANGE = 8
    FLAT_LINE = 16
    ZERO_DROPOUT = 32
    RECONNECT = 64
    SENSOR_STATUS = 128
    CALIBRATION = 256
    NEIGHBOUR = 512
    ORP_CHLORINE = 1024
    TIME = 2048


class Flagged(NamedTuple):
    """Flag of each reading or cell, and the `Check` bits that made it so; two arrays of one shape."""

    flag: NDArray[np.uint8]
    reason: NDArray[np.uint16]


#: Worse is higher; a missing value stays missing whatever a check says of it.
_RANK = np.zeros(10, dtype=np.uint8)
_BY_RANK = (Flag.NOT_EVALUATED, Flag.GOOD, Flag.SUSPECT, Flag.FAIL, Flag.MISSING)
for _rank, _flag in enumerate(_BY_RANK):
    _RANK[_flag] = _rank
_FLAG = np.array(_BY_RANK, dtype=np.uint8)


def worst(flags: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """The one merge: per reading the worst of several checks' flags.

    Parameters
    ----------
    flags : sequence of ndarray of uint8, all of one shape
        At least one. MISSING beats FAIL beats SUSPECT beats GOOD beats NOT_EVALUATED.

    Returns
    -------
    flags : ndarray of uint8, the same shape
    """
    rank = _RANK[flags[0]]
    for flag in flags[1:]:
        np.maximum(rank, _RANK[flag], out=rank)
    merged: NDArray[np.uint8] = _FLAG[rank]
    return merged


def is_sample(status: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which readings were taken by people: manual and laboratory."""
    taken: NDArray[np.bool_] = (status == StatusCode.MANUAL) | (status == StatusCode.LABORATORY)
    return taken


@dataclass(frozen=True, slots=True)
class Before:
    """The last measured value of a series before a window, and whether it was a dropout."""

    measured_at_ms: int
    value: float
    dropout: bool


@dataclass(frozen=True, slots=True)
class Checked:
    """One series as the checks need it.

    Attributes
    ----------
    quantity : Quantity
        Chooses the plausible range.
    rules : QualityRules
    pool : int or None
        Number of the pool; series of one number are each other's context on a grid. None: no context.
    interval_s : float or None
        The sensor's interval. [s]
    begin_ms : int or None
        Before this the pool had no readings that can be true. [ms]
    calibrated_at_ms : tuple of int
        When the sensor was calibrated, sorted; before the first and without any nothing is known. [ms]
    """

    quantity: Quantity
    rules: QualityRules = field(default_factory=QualityRules)
    pool: int | None = None
    interval_s: float | None = None
    begin_ms: int | None = None
    calibrated_at_ms: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Rules as numbers to compare with: cast once to the dtype of the values, times in ms, None where off."""

    low: float
    high: float
    spike: tuple[float | None, float | None]
    rate_per_min: tuple[float | None, float | None]
    over_ms: int
    flat_ms: tuple[int | None, int | None]
    tolerance: float
    needs_life: bool
    above: float | None
    floor: float
    pinned_ms: int | None
    one_interval_ms: int | None
    reconnect_ms: int | None
    neighbour: float | None
    overdue_ms: int | None
    orp_low_mv: float | None
    orp_free_chlorine_mg_l: float | None
    reach_ms: int

    @property
    def least_spike(self) -> float:
        """A step up to this, in the values' own dtype, makes no spike; infinite where that check is off."""
        return _screen(self.spike, 1.0)

    @property
    def least_rate_step(self) -> float:
        """A step up to this, in the values' own dtype, is never too fast; infinite where that check is off."""
        return _screen(self.rate_per_min, self.over_ms / _MS_PER_MIN)


def _screen(bounds: tuple[float | None, float | None], factor: float) -> float:
    """The smaller threshold, a little less of it: what passes is compared exactly, in float64."""
    return min((bound * factor * SLACK for bound in bounds if bound is not None), default=float("inf"))


@lru_cache(maxsize=4096)
def thresholds(
    quantity: Quantity, rules: QualityRules, *, interval_s: float | None, dtype: np.dtype[np.floating]
) -> Thresholds:
    """The rules of one series for values of one dtype; a threshold that is NaN is off, as None is."""
    spec = SPECS[quantity]

    def cast(number: float | None) -> float | None:
        return None if number is None or number != number else float(dtype.type(number))  # noqa: PLR0124 - NaN differs from itself

    def ms(seconds: float | None) -> int | None:
        return None if seconds is None or seconds != seconds else round(seconds * 1000)  # noqa: PLR0124 - as above

    is_orp = quantity == Quantity.ORP_MV
    return Thresholds(
        low=float(dtype.type(spec.low)),
        high=float(dtype.type(spec.high)),
        spike=(cast(rules.spike_suspect), cast(rules.spike_fail)),
        rate_per_min=(cast(rules.rate_suspect_per_min), cast(rules.rate_fail_per_min)),
        over_ms=max(ms(rules.rate_over_s) or 0, 1),
        flat_ms=(ms(rules.flat_line_s), ms(rules.flat_line_fail_s)),
        tolerance=cast(rules.flat_line_tolerance) or 0.0,
        needs_life=rules.flat_line_needs_flow,
        above=cast(rules.zero_dropout_above),
        floor=cast(rules.zero_floor) or 0.0,
        pinned_ms=ms(rules.zero_pinned_s),
        one_interval_ms=None if interval_s is None else int(interval_s * 1000 * ONE_INTERVAL),
        reconnect_ms=ms(rules.reconnect_gap_s),
        neighbour=cast(rules.neighbour_suspect),
        overdue_ms=None if rules.calibration_days is None else round(rules.calibration_days * _DAY_MS),
        orp_low_mv=cast(rules.orp_low_mv) if is_orp else None,
        orp_free_chlorine_mg_l=cast(rules.orp_free_chlorine_mg_l) if is_orp else None,
        reach_ms=min(
            max(ms(rules.reach_s) or 0, round((interval_s or 0.0) * 1000 * _REACH_INTERVALS)), ANY_MS
        ),
    )
