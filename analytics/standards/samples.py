"""A manual or laboratory sample is judged by itself: on its value and its time, without confirmation or opening hours. Pure.

Vectorised over samples. A value that was not analysed is NaN: neither a pass nor a violation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analytics.standards.limits import LimitEnd, Side, Tier, in_force_at
from analytics.standards.profile import KindRules


class SampleState(IntEnum):
    """What can be said of a sample."""

    NOT_ANALYSED = 0
    IN_STANDARD = 1
    OUT_OF_STANDARD = 2


@dataclass(frozen=True, eq=False)
class EndColumns:
    """Values against limit ends; axes (end, sample).

    Attributes
    ----------
    outside : ndarray of bool, shape (ends, n)
        The end was in force when the sample was taken, and the value is outside.
    margin : ndarray of float64, shape (ends, n)
        How far the value lies outside the standard's own figure, 0 on an open end; NaN where it is not outside.
    judged : ndarray of bool, shape (ends, n)
        The end was in force and there is a value.
    """

    outside: NDArray[np.bool_]
    margin: NDArray[np.float64]
    judged: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class SampleVerdicts:
    """Verdicts on n samples.

    Attributes
    ----------
    state : ndarray of uint8, shape (n,)
        `SampleState`. Only binding operating limits count.
    closure : ndarray of bool, shape (n,)
        A closure limit is broken, whatever the state is.
    ends : tuple of LimitEnd
        The ends that were compared: the first axis of `columns`.
    columns : EndColumns
        Every end against every sample.
    """

    state: NDArray[np.uint8]
    closure: NDArray[np.bool_]
    ends: tuple[LimitEnd, ...]
    columns: EndColumns

    def broken(self, sample: int) -> tuple[LimitEnd, ...]:
        """The limit ends that a sample broke, in the order of the profile's limits; their `rule` names them."""
        return tuple(self.ends[row] for row in np.flatnonzero(self.columns.outside[:, sample]))


def compare_samples(values: ArrayLike, *, measured_at_ms: ArrayLike, ends: Sequence[LimitEnd]) -> EndColumns:
    """Compare samples of one quantity with limit ends, each by the edition in force when it was measured.

    The full value is compared with the end's `threshold`, which stands for the standard's rounding if it has any.

    Parameters
    ----------
    values : array_like, shape (n,)
        Values in the unit of the ends; NaN: not analysed. Compared as float64.
    measured_at_ms : array_like of int, shape (n,)
        When each sample was taken. [ms since the epoch]
    ends : sequence of LimitEnd
        Ends of one quantity.

    Returns
    -------
    EndColumns
        Of shape (len(ends), n).

    Raises
    ------
    ValueError
        If the two arrays are not of one length, or have more than one axis.
    """
    value = np.asarray(values, dtype=np.float64)
    at_ms = np.asarray(measured_at_ms, dtype=np.int64)
    if value.ndim != 1 or value.shape != at_ms.shape:
        raise ValueError(
            f"values and times must be of one length, not of shapes {value.shape} and {at_ms.shape}"
        )
    shape = (len(ends), len(value))
    columns = EndColumns(
        outside=np.zeros(shape, dtype=np.bool_),
        margin=np.full(shape, np.nan),
        judged=np.zeros(shape, dtype=np.bool_),
    )
    there = ~np.isnan(value)
    for row, end in enumerate(ends):
        judged = there & in_force_at(end.limit, at_ms)
        outside = judged & _beyond(value, end)
        # A standard that rounds may put a value outside that has not reached an open end: no distance is negative.
        distance = end.value - value[outside] if end.side is Side.LOW else value[outside] - end.value
        columns.judged[row] = judged
        columns.outside[row] = outside
        columns.margin[row, outside] = np.maximum(distance, 0.0)
    return columns


def judge_samples(
    values: Mapping[str, ArrayLike], *, measured_at_ms: ArrayLike, rules: KindRules
) -> SampleVerdicts:
    """Verdict on each sample of a table, with the limits that it broke.

    A sample is out of standard if any binding operating limit in force is broken, else in standard if any was
    compared, else not analysed: a sample of which nothing that has a limit was analysed says nothing.
    Recommended limits are not judged. Samples of pools of another kind are judged by the rules of that kind.

    Parameters
    ----------
    values : mapping of quantity to array_like, each of shape (n,)
        One column a quantity, in its unit; NaN: not analysed. Quantities without limits are ignored.
    measured_at_ms : array_like of int, shape (n,)
        When each sample was taken. [ms since the epoch]
    rules : KindRules
        Limits of the kind of pool.

    Returns
    -------
    SampleVerdicts
        For the n samples.

    Raises
    ------
    ValueError
        If a column and the times are not of one length.
    """
    at_ms = np.asarray(measured_at_ms, dtype=np.int64)
    ends: list[LimitEnd] = []
    parts = [compare_samples(np.full(at_ms.shape, np.nan), measured_at_ms=at_ms, ends=())]
    for quantity, column in values.items():
        of_quantity = rules.ends(quantity)
        ends += of_quantity
        parts.append(compare_samples(column, measured_at_ms=at_ms, ends=of_quantity))
    columns = EndColumns(
        outside=np.concatenate([part.outside for part in parts]),
        margin=np.concatenate([part.margin for part in parts]),
        judged=np.concatenate([part.judged for part in parts]),
    )
    operating = np.array([end.limit.tier is Tier.OPERATING for end in ends], dtype=np.bool_)
    state = np.full(at_ms.shape, SampleState.NOT_ANALYSED, dtype=np.uint8)
    state[columns.judged[operating].any(axis=0)] = SampleState.IN_STANDARD
    state[columns.outside[operating].any(axis=0)] = SampleState.OUT_OF_STANDARD
    closure = np.zeros(at_ms.shape, dtype=np.bool_)
    np.any(columns.outside[~operating], axis=0, out=closure)
    return SampleVerdicts(state=state, closure=closure, ends=tuple(ends), columns=columns)


def _beyond(value: NDArray[np.float64], end: LimitEnd) -> NDArray[np.bool_]:
    """Whether values lie beyond an end; False for NaN."""
    if end.side is Side.HIGH:
        return value > end.threshold if end.threshold_closed else value >= end.threshold
    return value < end.threshold if end.threshold_closed else value <= end.threshold
