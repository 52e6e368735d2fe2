"""The checks that need no rules: missing, status, plausible range, the exact zero of chlorine. Pure."""

import numpy as np
from numpy.typing import NDArray

from analytics.quality.formulae import Chain, dropouts
from analytics.quality.series import with_before, zeros_of
from analytics.quality.vocabulary import ONE_INTERVAL, Before, Flag
from analytics.spans import FAR_MS, Instants
from gateway.contract.quantities import SPECS, Quantity
from ingest.store.records import StatusCode

#: A probe's zero right after more than this is a dead or dry cell, not clean water. [mg/L] DESIGN 12.9
DROPOUT_ABOVE_MG_L = 0.2


def flags(
    quantity: str,
    *,
    measured_at_ms: Instants,
    value: NDArray[np.float64],
    status: NDArray[np.uint8],
    interval_s: float | None,
    before: Before | None = None,
) -> NDArray[np.uint8]:
    """Flag of each reading of one series, sorted by time, by the checks that need no rules.

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
        probe = np.flatnonzero((status == StatusCode.NORMAL) & ~missing)
        none = np.empty(0, dtype=np.int64)
        links = with_before(Chain(probe, value[probe], measured_at_ms[probe], none), before)
        at = np.flatnonzero(links.value == 0.0)
        if len(at):
            zeros = zeros_of(
                links,
                at,
                above=DROPOUT_ABOVE_MG_L,
                one_interval_ms=None if interval_s is None else int(interval_s * 1000 * ONE_INTERVAL),
                reach_ms=FAR_MS,
                carried=before is not None and before.dropout,
            )
            place = links.place[at[dropouts(zeros, pinned_ms=None, stands=None, alive=None)]]
            result[place[place >= 0]] = Flag.SUSPECT
    with np.errstate(invalid="ignore"):
        result[(value < spec.low) | (value > spec.high)] = Flag.FAIL
    result[status > StatusCode.LABORATORY] = Flag.FAIL
    result[missing] = Flag.MISSING
    return result
