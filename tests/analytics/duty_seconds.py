"""How long duties were due, kept, overdue and unverified: what the tests of duties add up."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analytics.duties.judging import DutyOutcome
from analytics.results import DutyStanding
from analytics.spans import Spans, cut, length_before, merged


@dataclass(frozen=True, slots=True)
class DutySeconds:
    """Open time in which a duty was due, and how it was kept; arrays of shape (days,). [s]"""

    due_s: NDArray[np.float64]
    kept_s: NDArray[np.float64]
    overdue_s: NDArray[np.float64]
    unverified_s: NDArray[np.float64]

    @property
    def standings(self) -> list[DutyStanding]:
        """How the duty was done on each day: overdue if ever overdue, else unverified if ever unverified."""
        return [
            DutyStanding.OVERDUE
            if overdue > 0
            else DutyStanding.UNVERIFIED
            if unverified > 0
            else DutyStanding.KEPT
            if due > 0
            else DutyStanding.NOT_DUE
            for due, overdue, unverified in zip(self.due_s, self.overdue_s, self.unverified_s, strict=True)
        ]


def duty_seconds(outcome: DutyOutcome, *, days: Spans, open_time: Spans, until_ms: int) -> DutySeconds:
    """How long a duty was due, kept, overdue and unverified, of the open time of each day.

    Parameters
    ----------
    outcome : DutyOutcome
        Of a window that looks back to the first of the days.
    days : Spans
        Local days or other periods, shape (days, 2), in any order. [ms]
    open_time : Spans
        When the pool was open, merged. [ms]
    until_ms : int
        Nothing later counts: usually now. [ms]

    Returns
    -------
    seconds : DutySeconds
        `due_s` is the sum of the other three.
    """

    def of_days(spans: Spans) -> NDArray[np.float64]:
        within = cut(merged(spans), open_time)
        ends = np.minimum(days, until_ms)
        lengths: NDArray[np.float64] = (
            length_before(within, ends[:, 1]) - length_before(within, ends[:, 0])
        ) / 1000
        return lengths

    due, overdue, unverified = (
        of_days(outcome.bound),
        of_days(outcome.overdue),
        of_days(outcome.unverified),
    )
    return DutySeconds(due, due - overdue - unverified, overdue, unverified)
