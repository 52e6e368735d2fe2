"""Lapses as verdicts: seconds by cause, and the facts that prove them (DESIGN 12.6, 12.7). Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analytics.duties.facts import FactPart, ServingFacts, corrected_part
from analytics.duties.posting import Displays
from analytics.duties.sources import published_parts
from analytics.publication import largest_cause, seconds_by_cause
from analytics.results import Cause, EndedBy, Evidence, VerdictKind, VerdictState
from analytics.series import OnlineSeries, SampleSeries
from analytics.spans import EMPTY, Spans, holds, merged, next_edge
from analytics.standards.profile import Duty, DutyKind
from analytics.verdicts import Finding
from analytics.window import Window


@dataclass(frozen=True, slots=True)
class Covers:
    """When a young enough result was published (None: that is no cause of this duty), in the store, and in existence."""

    published: Spans | None
    stored: Spans
    measured: Spans

    def by_cause(self, pieces: Spans) -> list[dict[Cause, float]]:
        """Seconds of each piece by cause."""
        return seconds_by_cause(pieces, published=self.published, stored=self.stored, measured=self.measured)

    def edges_after(self, at_ms: int) -> list[int]:
        """The next instant after another at which each of them begins or ends."""
        covers = (self.stored, self.measured, EMPTY if self.published is None else self.published)
        return [edge for cover in covers if (edge := next_edge(cover, at_ms)) is not None]


#: A test that is not made can only be not measured: one that is serves from when it is made.
NOT_MEASURED = Covers(None, EMPTY, EMPTY)


def cause_covers(
    window: Window,
    duty: Duty,
    quantity: str,
    online: Sequence[OnlineSeries],
    samples: Sequence[SampleSeries],
    displays: Displays,
) -> Covers:
    """What of the way from the sensor to the public was done at each instant, by what may serve the duty."""
    if duty.duty is DutyKind.DAILY_TEST:
        return NOT_MEASURED
    known = [(series.key, series.good) for series in online if series.key.quantity == quantity]
    if duty.duty is not DutyKind.ONLINE_MONITORING:
        known += [(found.key, found.good) for found in samples if found.key.quantity == quantity]
    parts = [
        corrected_part(
            FactPart("", key.sensor_id, good.stored_at_ms, good.measured_at_ms),
            window.entries.corrections,
            key,
        )
        for key, good in known
    ]
    return Covers(
        published=_cover(published_parts(window, quantity, online, displays), duty.age_ms)
        if duty.duty is DutyKind.POSTING
        else None,
        stored=_cover(parts, duty.age_ms),
        measured=_cover(
            [
                FactPart(
                    "", part.source, part.measured_at_ms, part.measured_at_ms, at_most_ms=part.at_most_ms
                )
                for part in parts
            ],
            duty.age_ms,
        ),
    )


def _cover(parts: Sequence[FactPart], age_ms: int) -> Spans:
    spans = []
    for part in parts:
        until = np.minimum(part.measured_at_ms, part.counts_from_ms) + age_ms
        if part.at_most_ms is not None:
            until = np.minimum(until, part.at_most_ms)
        spans.append(np.column_stack((part.counts_from_ms, until)))
    return merged(np.concatenate([EMPTY, *spans]))


def lapse_findings(
    window: Window,
    duty: Duty,
    quantity: str,
    pieces: Spans,
    *,
    facts: ServingFacts,
    covers: Covers,
    bound: Spans,
    now_ms: int,
) -> tuple[list[Finding], list[int]]:
    """Verdicts of overdue pieces, and the instants at which an open one's largest cause may become another.

    `pieces`, shape (n, 2), are sorted, begin at or before now and are not empty; the last may be open. `bound`: when
    the duty binds the pool at all.
    """
    until_now = np.column_stack((pieces[:, 0], np.minimum(pieces[:, 1], max(now_ms, int(pieces[-1, 0])))))
    causes = covers.by_cause(until_now)
    findings = []
    for (start_ms, end_ms), seconds in zip(pieces.tolist(), causes, strict=True):
        is_open = end_ms > now_ms
        findings.append(
            Finding(
                verdict_id="",
                revision=0,
                kind=VerdictKind.LAPSE,
                pool_id=window.pool.pool_id,
                quantity=quantity,
                rule=duty.duty,
                profile=window.profile.name,
                standard=duty.standard,
                edition=duty.edition,
                clause=duty.clause,
                clause_status=duty.clause_status,
                consequence=duty.consequence,
                state=VerdictState.OPEN if is_open else VerdictState.CLOSED,
                start_ms=start_ms,
                end_ms=None if is_open else end_ms,
                judged_at_ms=0,
                # An open lapse's seconds run on by themselves: they are written down when it is closed.
                seconds_by_cause=None
                if is_open
                else {cause.value: length for cause, length in seconds.items()},
                cause=largest_cause(seconds),
                evidence=_evidence(
                    window, facts, bound, start_ms=start_ms, end_ms=None if is_open else end_ms
                ),
            )
        )
    edges: list[int] = []
    if pieces[-1, 1] > now_ms:
        edges = covers.edges_after(now_ms)
        current = largest_cause(covers.by_cause(np.array([(now_ms, now_ms + 1)], dtype=np.int64))[0])
        if current is not largest_cause(causes[-1]):
            # The cause that runs now will be the largest when it has caught up.
            lead_s = max(causes[-1].values(), default=0.0) - causes[-1].get(current, 0.0)
            edges += [now_ms + round(lead_s * 1000), now_ms + round(lead_s * 1000) + 1]
    return findings, edges


def _evidence(
    window: Window, facts: ServingFacts, bound: Spans, *, start_ms: int, end_ms: int | None
) -> Evidence:
    last = facts.last_before(start_ms)
    if end_ms is None:
        return Evidence(last)
    fact = facts.ending_at(end_ms)
    if fact is not None:
        return Evidence(last, EndedBy.FACT, fact)
    if holds(window.entries.closed, end_ms):
        return Evidence(last, EndedBy.CLOSURE)
    if not holds(window.opening, end_ms):
        return Evidence(last, EndedBy.CLOSING)
    return Evidence(last, EndedBy.UNVERIFIED if holds(bound, end_ms) else EndedBy.NOT_BOUND)
