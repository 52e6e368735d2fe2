"""Quality of readings in QARTOD's vocabulary: arrays in, flags out. Missing is masked once, here. Pure."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from gateway.contract.quantities import SPECS, Quantity
from ingest.store.records import StatusCode

#: A probe's zero right after more than this is a dead or dry cell, not clean water. [mg/L] DESIGN 12.9
DROPOUT_ABOVE_MG_L = 0.2
#: "Within one interval": half an interval more for jitter of the sampling.
_ONE_INTERVAL = 1.5


class Flag(IntEnum):
    """QARTOD's flags."""

    GOOD = 1
    NOT_EVALUATED = 2
    SUSPECT = 3
    FAIL = 4
    MISSING = 9


@dataclass(frozen=True, slots=True)
class Before:
    """The last measured value of a series before a window, and whether it was a dropout."""

    measured_at_ms: int
    value: float
    dropout: bool


def is_sample(status: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which readings were taken by people: manual and laboratory."""
    taken: NDArray[np.bool_] = (status == StatusCode.MANUAL) | (status == StatusCode.LABORATORY)
    return taken


def flags(
    quantity: str,
    *,
    measured_at_ms: NDArray[np.int64],
    value: NDArray[np.float64],
    status: NDArray[np.uint8],
    interval_s: float | None,
    before: Before | None = None,
) -> NDArray[np.uint8]:
    """Flag of each reading of one series, sorted by time.

    Parameters
    ----------
    quantity : str
        Name on the wire; it chooses the plausible range (ends included).
    measured_at_ms, value, status : ndarray, shape (n,)
        Time [ms], value in the quantity's unit with NaN where null, `StatusCode`.
    interval_s : float or None
        The sensor's interval [s]; None (unknown): a zero after a high value is a dropout at any distance.
    before : Before or None
        What the series measured last before these readings, for the exact zero.

    Returns
    -------
    flags : ndarray of uint8, shape (n,)
        9 where the value is missing, 4 where the sensor itself says that it is no result or the value is outside the
        plausible range, 3 for an exact zero of free chlorine that is a dropout (DESIGN 12.9), else 1.
    """
    spec = SPECS[Quantity(quantity)]
    missing = np.isnan(value)
    result = np.full(value.shape, Flag.GOOD, dtype=np.uint8)
    if quantity == Quantity.FREE_CHLORINE_MG_L and bool((value == 0.0).any()):
        result[_dropouts(measured_at_ms, value, status, interval_s, before)] = Flag.SUSPECT
    with np.errstate(invalid="ignore"):
        result[(value < spec.low) | (value > spec.high)] = Flag.FAIL
    result[status > StatusCode.LABORATORY] = Flag.FAIL
    result[missing] = Flag.MISSING
    return result


def _dropouts(
    measured_at_ms: NDArray[np.int64],
    value: NDArray[np.float64],
    status: NDArray[np.uint8],
    interval_s: float | None,
    before: Before | None,
) -> NDArray[np.bool_]:
    """Which are zeros of a run of a probe's zeros that began at once from above 0.2 mg/L: the whole run, not its first."""
    probe = np.flatnonzero((status == StatusCode.NORMAL) & ~np.isnan(value))
    at, measured = measured_at_ms[probe], value[probe]
    carried = before is not None and before.dropout
    if before is not None:
        at, measured = (
            np.concatenate(([before.measured_at_ms], at)),
            np.concatenate(([before.value], measured)),
        )
    zero = measured == 0.0
    begins = np.zeros(len(zero), dtype=np.bool_)
    fell = zero[1:] & (measured[:-1] > DROPOUT_ABOVE_MG_L)
    if interval_s is not None:
        fell &= np.diff(at) <= interval_s * 1000 * _ONE_INTERVAL
    begins[1:] = fell
    if carried:
        begins[0] = True
    # The run of a zero is known by where it started: the last reading that is no zero, or zero after no zero.
    starts = zero & np.concatenate(([True], ~zero[:-1]))
    run = np.maximum.accumulate(np.where(starts, np.arange(len(zero)), 0))
    dropout = zero & begins[run]
    result = np.zeros(value.shape, dtype=np.bool_)
    result[probe] = dropout[1:] if before is not None else dropout
    return result
