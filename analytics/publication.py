"""Overdue time and its causes in closed form (DESIGN 12.6, 12.7): vectorised, on true times. Pure."""

from dataclasses import dataclass

import numpy as np

from analytics.results import Cause
from analytics.spans import FAR_MS, Instants, Spans, length_before, merged


@dataclass(frozen=True, slots=True)
class Facts:
    """What serves a duty: from when each fact counts, until when it is young enough; shape (n,), any order. [ms]"""

    from_ms: Instants
    until_ms: Instants
    measured_at_ms: Instants

    @property
    def cover(self) -> Spans:
        """Union of what the facts cover."""
        return merged(np.column_stack((self.from_ms, self.until_ms)))


def aged_facts(
    *,
    from_ms: Instants,
    measured_at_ms: Instants,
    age_ms: int,
    sessions: Spans,
    before_session_ms: int | None,
) -> Facts:
    """Facts that count from `from_ms` until min(measured, from) + allowed age.

    With `before_session_ms` none of them reaches into a session (one opening interval) that begins more than that
    after it was measured.
    """
    measured = np.minimum(measured_at_ms, from_ms)
    until = measured + age_ms
    if before_session_ms is not None and len(sessions):
        following = np.searchsorted(sessions[:, 0], measured + before_session_ms, side="right")
        until = np.minimum(until, np.append(sessions[:, 0], FAR_MS)[following])
    return Facts(from_ms=from_ms, until_ms=until, measured_at_ms=measured_at_ms)


def overdue_pieces(facts: Facts, *, from_ms: int, to_ms: int) -> Spans:
    """What of [from, to) no fact covers, before it is cut by opening.

    With facts sorted by when they begin to count, p, and M the running maximum of when they end, the pieces are
    [max(p[i], M[i]), p[i + 1]). The instant `from_ms` itself counts as served for no time.
    """
    order = np.argsort(facts.from_ms, kind="stable")
    begin = np.clip(np.concatenate(([from_ms], facts.from_ms[order])), from_ms, to_ms)
    reach = np.maximum.accumulate(np.concatenate(([from_ms], facts.until_ms[order])))
    starts = np.maximum(begin, reach)
    ends = np.append(begin[1:], to_ms)
    return merged(np.column_stack((starts, ends)))


def seconds_by_cause(
    pieces: Spans, *, published: Spans | None, stored: Spans, measured: Spans
) -> list[dict[Cause, float]]:
    """Seconds of each piece by cause; causes of no time are absent.

    At an instant: covered by `published` → not displayed (only for duties of displaying, else None); by `stored`
    (a good reading young enough was in the store) → not published; by `measured` (it existed) → not received; else
    not measured. All merged.
    """
    known = published if published is not None else merged([])
    in_store = merged(np.concatenate((known, stored)))
    existing = merged(np.concatenate((in_store, measured)))
    lengths = [
        length_before(part, pieces[:, 1]) - length_before(part, pieces[:, 0])
        for part in (known, in_store, existing)
    ]
    total = pieces[:, 1] - pieces[:, 0]
    by_cause = {
        Cause.NOT_DISPLAYED: lengths[0],
        Cause.NOT_PUBLISHED: lengths[1] - lengths[0],
        Cause.NOT_RECEIVED: lengths[2] - lengths[1],
        Cause.NOT_MEASURED: total - lengths[2],
    }
    return [
        {cause: float(length[index]) / 1000 for cause, length in by_cause.items() if length[index] > 0}
        for index in range(len(pieces))
    ]


def largest_cause(seconds: dict[Cause, float]) -> Cause:
    """The cause with most seconds; on a tie the one nearest to the sensor. Not measured when there are none."""
    order = (Cause.NOT_MEASURED, Cause.NOT_RECEIVED, Cause.NOT_PUBLISHED, Cause.NOT_DISPLAYED)
    return max(order, key=lambda cause: seconds.get(cause, 0.0))
