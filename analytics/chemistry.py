"""How much of the free chlorine disinfects, and when a pH out of line makes a chlorine verdict doubtful. Pure.

Cyanuric acid is not modelled: in stabilised water (dichlor, trichlor) most of what a DPD test calls free chlorine is
bound to it, and the figures here are too high.
"""

from itertools import product

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

_ZERO_C_IN_K = 273.15
#: Where the pH is missing or stale: from where to where the CDC MAHC sees no imminent hazard (section 6.6.3.1).
UNKNOWN_PH = (6.5, 8.0)
#: Where the temperature is missing: coldest and warmest water of a pool. The choice moves the correction by some 10 %.
UNKNOWN_TEMP_C = (20.0, 35.0)


def hocl_pka(*, water_temp_c: ArrayLike) -> Floats:
    """Acid constant of hypochlorous acid as its negative decimal logarithm.

    3000/T - 10.0686 + 0.0253 T, T in kelvin; 7.537 ± 0.011 at 25 degC. Fresh water: ionic strength is not modelled.

    Parameters
    ----------
    water_temp_c : array_like, shape (...,)
        Water temperature, 5 to 35 in the source; beyond it the formula is extrapolated. [degC]

    Returns
    -------
    pka : ndarray of float64, shape (...,)
        NaN where the temperature is NaN or not above absolute zero. [-]

    References
    ----------
    .. [1] J. C. Morris, J. Phys. Chem. 70(12), 3798-3805, 1966, doi:10.1021/j100884a007.
    """
    kelvin = np.asarray(water_temp_c, dtype=np.float64) + _ZERO_C_IN_K
    kelvin = np.where(kelvin > 0, kelvin, np.nan)
    return np.asarray(3000.0 / kelvin - 10.0686 + 0.0253 * kelvin)


def hocl_fraction(*, ph: ArrayLike, water_temp_c: ArrayLike) -> Floats:
    """Fraction of free chlorine present as hypochlorous acid, HOCl.

    HOCl is the disinfecting form. Cyanuric acid is not modelled.

    Parameters
    ----------
    ph : array_like, shape (...,)
        pH of the water. [-]
    water_temp_c : array_like, broadcastable to `ph`
        Water temperature, 5 to 35 in the source. [degC]

    Returns
    -------
    fraction : ndarray of float64, the broadcast shape
        HOCl / (HOCl + OCl-), 0 to 1; NaN where an input is NaN. One half where the pH is the pKa. [-]

    References
    ----------
    .. [1] J. C. Morris, J. Phys. Chem. 70(12), 3798-3805, 1966, doi:10.1021/j100884a007.
    """
    above = np.asarray(ph, dtype=np.float64) - hocl_pka(water_temp_c=water_temp_c)
    with np.errstate(over="ignore"):
        return np.asarray(1.0 / (1.0 + np.power(10.0, above)))


def hocl_mg_l(*, free_chlorine_mg_l: ArrayLike, ph: ArrayLike, water_temp_c: ArrayLike) -> Floats:
    """Disinfection strength: what of the free chlorine is hypochlorous acid.

    Parameters
    ----------
    free_chlorine_mg_l : array_like, shape (...,)
        Free chlorine as Cl2. [mg/L]
    ph : array_like, broadcastable
        pH of the water. [-]
    water_temp_c : array_like, broadcastable
        Water temperature. [degC]

    Returns
    -------
    hocl : ndarray of float64, the broadcast shape
        As Cl2, like the input; NaN where an input is NaN. [mg/L]
    """
    return np.asarray(
        np.asarray(free_chlorine_mg_l, dtype=np.float64) * hocl_fraction(ph=ph, water_temp_c=water_temp_c)
    )


def uncompensated_reading_mg_l(
    *, free_chlorine_mg_l: ArrayLike, ph: ArrayLike, water_temp_c: ArrayLike, ph_cal: ArrayLike
) -> Floats:
    """Free chlorine that an uncompensated probe shows in water that really holds `free_chlorine_mg_l`.

    Assumed of the probe: its signal is proportional to HOCl (membrane amperometric); its slope was set by a test of
    free chlorine in water of `ph_cal`; its signal is compensated for temperature, so that the water of the calibration
    counts as having the same temperature; no drift, enough flow.

    Parameters
    ----------
    free_chlorine_mg_l : array_like, shape (...,)
        What is in the water, as Cl2. [mg/L]
    ph : array_like, broadcastable
        pH of the water now. [-]
    water_temp_c : array_like, broadcastable
        Water temperature. [degC]
    ph_cal : array_like, broadcastable
        pH of the water in which the probe was calibrated. [-]

    Returns
    -------
    reading : ndarray of float64, the broadcast shape
        ``free chlorine * f(ph) / f(ph_cal)``, f the `hocl_fraction`; NaN where an input is NaN. [mg/L]
    """
    return np.asarray(
        np.asarray(free_chlorine_mg_l, dtype=np.float64)
        * hocl_fraction(ph=ph, water_temp_c=water_temp_c)
        / hocl_fraction(ph=ph_cal, water_temp_c=water_temp_c)
    )


def equivalent_free_chlorine_mg_l(
    *, reading_mg_l: ArrayLike, ph: ArrayLike, water_temp_c: ArrayLike, ph_cal: ArrayLike
) -> Floats:
    """Free chlorine that really is in the water when an uncompensated probe shows `reading_mg_l`.

    The inverse of `uncompensated_reading_mg_l`, with the same assumptions, shapes, units and NaN.
    """
    return np.asarray(
        np.asarray(reading_mg_l, dtype=np.float64)
        * hocl_fraction(ph=ph_cal, water_temp_c=water_temp_c)
        / hocl_fraction(ph=ph, water_temp_c=water_temp_c)
    )


def chlorine_doubtful(
    *,
    reading_mg_l: ArrayLike,
    ph: ArrayLike,
    water_temp_c: ArrayLike,
    ph_cal: ArrayLike,
    ph_limit: tuple[float | None, float | None],
    chlorine_limit_mg_l: tuple[float | None, float | None],
) -> NDArray[np.bool_]:
    """Where a pH out of line makes the verdict on an uncompensated probe's free chlorine doubtful.

    The pH is out of line where it is outside its limit, missing or stale. Then a reading is doubtful if its
    correction (`equivalent_free_chlorine_mg_l`) lies on another side of the chlorine limit: below, within, above.
    Where the pH is unknown, any correction for a pH of `UNKNOWN_PH` may change the side; where the temperature is
    unknown, any of `UNKNOWN_TEMP_C`. The correction is monotonic in both, so the corners decide. Inside its limit the
    pH is not called out of line, although it alone can change the reading 2.2-fold there: that is what calibrating
    close to the pool's pH is for. A doubt never makes or lifts an exceedance: it calls for a test by hand, and the time that
    a doubtful reading covers is unverified (`analytics.compliance.covered`, to be given as suspect).

    Parameters
    ----------
    reading_mg_l : array_like, shape (...,)
        What the probe shows; NaN (no reading) is never doubtful. [mg/L]
    ph : array_like, broadcastable
        NaN where no good value is young enough. [-]
    water_temp_c : array_like, broadcastable
        NaN where unknown. [degC]
    ph_cal : array_like, broadcastable
        pH of the water in which the probe was calibrated; finite. [-]
    ph_limit, chlorine_limit_mg_l : tuple of float or None
        Low and high end, None for an open one; the ends belong to the limit. [-], [mg/L]

    Returns
    -------
    doubtful : ndarray of bool, the broadcast shape

    Raises
    ------
    ValueError
        If a `ph_cal` is not finite.
    """
    if not np.isfinite(np.asarray(ph_cal, dtype=np.float64)).all():
        raise ValueError("ph_cal: the pH at the calibration must be known; leave probes without it out")
    reading, acidity, temp_c, calibrated = np.broadcast_arrays(
        *(np.asarray(given, dtype=np.float64) for given in (reading_mg_l, ph, water_temp_c, ph_cal))
    )
    # What is out of line is rare: the powers are taken only there.
    where = np.flatnonzero(~np.isnan(reading) & ((_side(acidity, ph_limit) != 0) | np.isnan(acidity)))
    doubtful = np.zeros(reading.shape, dtype=np.bool_)
    shown, acidity, temp_c, calibrated = (
        given.ravel()[where] for given in (reading, acidity, temp_c, calibrated)
    )
    side = _side(shown, chlorine_limit_mg_l)
    changed = np.zeros(len(where), dtype=np.bool_)
    for unknown_ph, unknown_temp_c in product(UNKNOWN_PH, UNKNOWN_TEMP_C):
        corrected = equivalent_free_chlorine_mg_l(
            reading_mg_l=shown,
            ph=np.where(np.isnan(acidity), unknown_ph, acidity),
            water_temp_c=np.where(np.isnan(temp_c), unknown_temp_c, temp_c),
            ph_cal=calibrated,
        )
        changed |= _side(corrected, chlorine_limit_mg_l) != side
    doubtful.reshape(-1)[where] = changed
    return doubtful


def newest_young(
    at_ms: NDArray[np.int64], *, measured_at_ms: NDArray[np.int64], value: NDArray[np.floating], age_ms: int
) -> Floats:
    """The newest reading at or before each instant, if it is young enough: the pH that belongs to a chlorine reading.

    Parameters
    ----------
    at_ms : ndarray of int64, shape (n,)
        Instants asked for, in any order. [ms]
    measured_at_ms, value : ndarray, shape (m,)
        Readings of one series, ascending by time; NaN is no reading. [ms], the series' unit
    age_ms : int
        A reading measured at t is in force over [t, t + age). [ms]

    Returns
    -------
    value : ndarray of float64, shape (n,)
        NaN where there is none, or only a stale one.
    """
    good = np.flatnonzero(~np.isnan(value))
    found = np.full(at_ms.shape, np.nan)
    if not len(good):
        return found
    times = measured_at_ms[good]
    index = np.searchsorted(times, at_ms, side="right") - 1
    young = (index >= 0) & (at_ms < times[np.maximum(index, 0)] + age_ms)
    found[young] = value[good[index[young]]]
    return found


def _side(value: Floats, limit: tuple[float | None, float | None]) -> NDArray[np.int8]:
    """-1 below the limit, 0 within, 1 above; NaN counts as within."""
    low, high = limit
    side = np.zeros(value.shape, dtype=np.int8)
    if low is not None:
        side -= value < low
    if high is not None:
        side += value > high
    return side
