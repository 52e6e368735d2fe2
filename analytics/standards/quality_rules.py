"""Parameters of the quality checks of one quantity: the `[quality.<quantity>]` table of a profile. Pure.

None switches a check off. A threshold of 0 is a threshold. Names of the checks are QARTOD's.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class QualityRules:
    """How the readings of one quantity are checked; values in the quantity's unit.

    Attributes
    ----------
    spike_suspect, spike_fail : float or None
        A reading whose distance from the mean of its two neighbours is above this.
    rate_suspect_per_min, rate_fail_per_min : float or None
        A change since the reading before that is faster than this. [unit/min]
    rate_over_s : float
        A change within less than this counts as one within this: resolution over a short time is no rate. [s]
    reach_s : float
        The reading before, the next one and another channel's newest one count only up to this distance, or three
        times the sensor's interval if that is longer; beyond it the checks that need them say nothing. [s]
    flat_line_s : float or None
        A reading that has not moved by more than `flat_line_tolerance` for this long is suspect. [s]
    flat_line_fail_s : float or None
        The same for fail. [s]
    flat_line_tolerance : float
        Largest range of values that still counts as flat.
    flat_line_needs_flow : bool
        Flat counts only where the pool's flow, if it is measured, is above zero, or another channel of the pool moved.
    zero_dropout_above : float or None
        A zero right after a reading above this is a dropout (DESIGN 12.9).
    zero_floor : float
        A reading this near to zero counts as zero: what a dead cell's residual current may show.
    zero_pinned_s : float or None
        A probe that has read zero for this long while the pool lives is a dropout however it got there. [s]
    reconnect_gap_s : float or None
        The first reading after a gap longer than this is suspect: it is often stale. [s]
    neighbour_suspect : float or None
        Sensors of one pool and quantity that differ by more than this at one time are both suspect.
    calibration_days : float or None
        Readings later than this after the sensor's calibration are suspect. [d]
    orp_low_mv, orp_free_chlorine_mg_l : float or None
        ORP below the first while free chlorine reads above the second: the two disagree. Only for `orp_mv`.
    """

    spike_suspect: float | None = None
    spike_fail: float | None = None
    rate_suspect_per_min: float | None = None
    rate_fail_per_min: float | None = None
    rate_over_s: float = 60.0
    reach_s: float = 900.0
    flat_line_s: float | None = None
    flat_line_fail_s: float | None = None
    flat_line_tolerance: float = 0.0
    flat_line_needs_flow: bool = True
    zero_dropout_above: float | None = None
    zero_floor: float = 0.0
    zero_pinned_s: float | None = None
    reconnect_gap_s: float | None = None
    neighbour_suspect: float | None = None
    calibration_days: float | None = None
    orp_low_mv: float | None = None
    orp_free_chlorine_mg_l: float | None = None
