"""Where the pH of a pool makes what its chlorine probe shows doubtful. Pure.

An amperometric probe without compensation answers to hypochlorous acid, whose share falls as the pH rises. How
a probe compensates is not registered, so each counts as one that does not, calibrated in the middle of the pH limit.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analytics.chemistry import chlorine_doubtful, newest_young
from analytics.spans import Instants
from analytics.standards.limits import Limit, Tier, in_force_at
from analytics.standards.profile import KindRules
from gateway.contract.quantities import Quantity


@dataclass(frozen=True, slots=True)
class Channel:
    """Good readings of one quantity of a pool, sorted by time; shape (n,) each. [ms], [the quantity's unit]"""

    at_ms: Instants
    value: NDArray[np.floating]


NO_CHANNEL = Channel(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float64))


def doubtful_chlorine(
    rules: KindRules, chlorine: Channel, *, ph: Channel, water_temp: Channel
) -> NDArray[np.bool_]:
    """Which readings of free chlorine a pH outside its limit makes doubtful.

    Parameters
    ----------
    rules : KindRules
        The operating limits of both, each while it is in force; without one for pH nothing is doubtful.
    chlorine : Channel
        Readings of one probe. [mg/L]
    ph, water_temp : Channel
        Of the same pool. A value counts as long as an online one may be in force; where none does, nothing is doubtful
        for want of a pH, and any temperature is thought possible. [-], [degC]

    Returns
    -------
    doubtful : ndarray of bool, shape (n,)
        By `analytics.chemistry.chlorine_doubtful`. A doubt makes and lifts no exceedance.
    """
    doubtful = np.zeros(len(chlorine.at_ms), dtype=np.bool_)
    if not len(chlorine.at_ms) or not len(ph.at_ms):
        return doubtful
    for limit in _operating(rules, Quantity.FREE_CHLORINE_MG_L):
        for of_ph in _operating(rules, Quantity.PH):
            if of_ph.low is None or of_ph.high is None:
                continue
            if not ((ph.value < of_ph.low) | (ph.value > of_ph.high)).any():
                continue
            chosen = np.flatnonzero(in_force_at(limit, chlorine.at_ms) & in_force_at(of_ph, chlorine.at_ms))
            at_ms = chlorine.at_ms[chosen]
            acidity = newest_young(
                at_ms, measured_at_ms=ph.at_ms, value=ph.value, age_ms=rules.online_age_ms(Quantity.PH)
            )
            out = (acidity < of_ph.low) | (acidity > of_ph.high)
            chosen, at_ms, acidity = chosen[out], at_ms[out], acidity[out]
            temp_c = newest_young(
                at_ms,
                measured_at_ms=water_temp.at_ms,
                value=water_temp.value,
                age_ms=rules.online_age_ms(Quantity.WATER_TEMP_C),
            )
            doubtful[chosen] = chlorine_doubtful(
                reading_mg_l=chlorine.value[chosen],
                ph=acidity,
                water_temp_c=temp_c,
                ph_cal=(of_ph.low + of_ph.high) / 2,
                ph_limit=(of_ph.low, of_ph.high),
                chlorine_limit_mg_l=(limit.low, limit.high),
            )
    return doubtful


def _operating(rules: KindRules, quantity: Quantity) -> list[Limit]:
    return [limit for limit in rules.limits if limit.quantity == quantity and limit.tier is Tier.OPERATING]
