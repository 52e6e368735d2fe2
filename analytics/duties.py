"""How the duties of a pool stand, and the lapses in which they were not kept (DESIGN 12.4, 12.6, 12.7). Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from analytics.profile import Duty, DutyKind, ServedBy
from analytics.publication import aged_facts, largest_cause, overdue_pieces, seconds_by_cause
from analytics.results import DutyStanding, DutyState, VerdictKind, VerdictState
from analytics.series import OnlineSeries, SampleSeries
from analytics.spans import EMPTY, FAR_MS, Instants, Spans, cut, holds, merged, next_edge
from analytics.verdicts import Finding
from analytics.window import Window
from ingest.store.records import ReadingColumns, StatusCode

_ONLINE_DUTIES = (DutyKind.ONLINE_MONITORING, DutyKind.ONLINE_PUBLICATION)
_NO_INSTANTS: Instants = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class DutyOutcome:
    """Lapses and standing of one duty of one quantity, and the instants after now at which it changes by itself."""

    findings: list[Finding]
    standing: DutyState
    edges_ms: list[int]


@dataclass(frozen=True, slots=True)
class _Known:
    """Times of good readings of one quantity."""

    measured_at_ms: Instants
    stored_at_ms: Instants

    def facts(self, age_ms: int) -> tuple[Spans, Spans]:
        """What is covered by readings in the store, and what by readings that exist."""
        young = np.minimum(self.measured_at_ms, self.stored_at_ms) + age_ms
        stored = merged(np.column_stack((self.stored_at_ms, young)))
        return stored, merged(np.column_stack((self.measured_at_ms, self.measured_at_ms + age_ms)))


def _known(columns: Iterable[ReadingColumns]) -> _Known:
    parts = list(columns)
    if not parts:
        return _Known(_NO_INSTANTS, _NO_INSTANTS)
    if len(parts) == 1:
        return _Known(parts[0].measured_at_ms, parts[0].stored_at_ms)
    return _Known(
        np.concatenate([part.measured_at_ms for part in parts]),
        np.concatenate([part.stored_at_ms for part in parts]),
    )


def judge_duties(
    window: Window, online: Sequence[OnlineSeries], samples: Sequence[SampleSeries], *, now_ms: int
) -> list[DutyOutcome]:
    """Every duty of the pool's profile for every quantity that it has it for."""
    outcomes = []
    for duty in window.rules.duties:
        if duty.duty is DutyKind.FULL_TEST:
            outcomes.append(_full_test(window, duty, now_ms=now_ms))
            continue
        for quantity in duty.quantities:
            bound = _bound_time(window, duty, quantity)
            if bound is not None:
                outcomes.append(_judge_duty(window, duty, quantity, bound, online, samples, now_ms=now_ms))
    return outcomes


def _bound_time(window: Window, duty: Duty, quantity: str) -> Spans | None:
    """When the duty binds: since the pool's begin; online ones while a sensor is registered. None: never."""
    begin_ms = FAR_MS if window.begin_ms is None else window.begin_ms
    if duty.duty not in _ONLINE_DUTIES:
        return merged([(begin_ms, FAR_MS)])
    sensors = [sensor for sensor in window.pool.sensors if sensor.quantity == quantity]
    if not sensors:
        return None
    return merged(
        [
            (
                max(begin_ms, begin_ms if sensor.from_ms is None else sensor.from_ms),
                FAR_MS if sensor.until_ms is None else sensor.until_ms,
            )
            for sensor in sensors
        ]
    )


def _serving(
    window: Window,
    duty: Duty,
    quantity: str,
    online: Sequence[OnlineSeries],
    samples: Sequence[SampleSeries],
) -> tuple[Instants, Instants]:
    """From when each serving fact counts, and when it was measured."""
    parts: list[tuple[Instants, Instants]] = []
    if ServedBy.PUBLICATION in duty.served_by:
        parts += _published(window, quantity, online)
    if ServedBy.NOTICE_BOARD in duty.served_by:
        posted = [posting for posting in window.entries.postings if quantity in posting.quantities]
        at_ms = np.array([posting.at_ms for posting in posted], dtype=np.int64)
        parts.append((at_ms, np.array([posting.measured_at_ms for posting in posted], dtype=np.int64)))
    by_people = {ServedBy.MANUAL, ServedBy.LABORATORY} & duty.served_by
    # Testing is done when it is done, however late the message: nobody is blamed for the network.
    tested = [
        found.good.measured_at_ms
        for found in samples
        if found.key.quantity == quantity and found.kind in by_people
    ]
    parts += [(at_ms, at_ms) for at_ms in tested]
    if ServedBy.ONLINE in duty.served_by:
        good = [series.good for series in online if series.key.quantity == quantity]
        # Online monitoring means that the values arrive; a sensor that may serve tests only has to measure.
        arrives = duty.duty is DutyKind.ONLINE_MONITORING
        parts += [
            (part.stored_at_ms if arrives else part.measured_at_ms, part.measured_at_ms) for part in good
        ]
    if not parts:
        return _NO_INSTANTS, _NO_INSTANTS
    if len(parts) == 1:
        return parts[0]
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def _published(
    window: Window, quantity: str, online: Sequence[OnlineSeries]
) -> list[tuple[Instants, Instants]]:
    """Publications of a result; publishing no value, or one that is not good, is not publishing a result."""
    bad = {series.key: series.bad_times for series in online if series.bad_times}
    parts = []
    for key, columns in window.publications.items():
        if key.quantity != quantity:
            continue
        counts = (columns.status <= StatusCode.LABORATORY) & ~np.isnan(columns.value)
        if key in bad:
            counts &= ~np.isin(columns.measured_at_ms, list(bad[key]))
        parts.append((columns.published_at_ms[counts], columns.measured_at_ms[counts]))
    return parts


def _judge_duty(
    window: Window,
    duty: Duty,
    quantity: str,
    bound: Spans,
    online: Sequence[OnlineSeries],
    samples: Sequence[SampleSeries],
    *,
    now_ms: int,
) -> DutyOutcome:
    served_from, measured = _serving(window, duty, quantity, online, samples)
    before_session_ms = None if duty.before_session_s is None else round(duty.before_session_s * 1000)
    # A duty cannot be overdue in the instant in which it begins: its beginning counts as a fact of that time.
    begins = bound[:, 0]
    facts = aged_facts(
        from_ms=np.concatenate((served_from, begins)),
        measured_at_ms=np.concatenate((measured, begins)),
        age_ms=duty.age_ms,
        sessions=window.opening,
        before_session_ms=before_session_ms,
    )
    binds_now = holds(window.open_time, now_ms) and holds(bound, now_ms)
    pieces = _within(window, overdue_pieces(facts, from_ms=window.look_from_ms, to_ms=FAR_MS), now_ms=now_ms)
    unverified = False
    if len(pieces):
        due = cut(window.open_time, bound)
        if duty.duty is DutyKind.POSTING:
            due = _evidenced(
                due, merged(np.column_stack((facts.from_ms, facts.until_ms))[: len(served_from)])
            )
            unverified = not holds(due, now_ms)
        pieces = _within(window, cut(pieces, due), now_ms=now_ms)
    findings: list[Finding] = []
    edges = [int(later) for later in facts.from_ms[facts.from_ms > now_ms][:1]]
    if len(pieces):
        findings, cause_edges = _lapses(window, duty, quantity, pieces, online, samples, now_ms=now_ms)
        edges += cause_edges
    standing = DutyStanding.KEPT
    if not binds_now:
        standing = DutyStanding.NOT_DUE
    elif len(pieces) and pieces[-1, 1] > now_ms:
        standing = DutyStanding.OVERDUE
    elif unverified or (duty.duty is DutyKind.POSTING and not len(served_from)):
        standing = DutyStanding.UNVERIFIED
    counts_now = facts.from_ms <= now_ms
    covered_until_ms = int(facts.until_ms[counts_now].max()) if counts_now.any() else now_ms
    counting = served_from <= now_ms
    age_s = lag_s = None
    if counting.any():
        newest = int(np.argmax(np.where(counting, measured, -FAR_MS)))
        age_s = (now_ms - int(measured[newest])) / 1000
        lag_s = (int(served_from[newest]) - int(measured[newest])) / 1000
    edges.append(covered_until_ms)
    return DutyOutcome(
        findings=findings,
        standing=DutyState(
            duty=duty.duty,
            quantity=quantity,
            standing=standing,
            clause=duty.clause,
            age_s=age_s,
            lag_s=lag_s,
            deadline_ms=covered_until_ms if standing is DutyStanding.KEPT else None,
        ),
        edges_ms=edges,
    )


def _within(window: Window, pieces: Spans, *, now_ms: int) -> Spans:
    """The pieces that have begun and reach the judged span."""
    return pieces[(pieces[:, 0] <= now_ms) & (pieces[:, 1] >= window.judged_from_ms)]


def _evidenced(due: Spans, cover: Spans) -> Spans:
    """The part of each session after its first evidence: before it, or without any, posting is unverified, no lapse."""
    parts = []
    for session in due:
        within = cut(cover, session.reshape(1, 2))
        if len(within):
            parts.append((int(within[0, 0]), int(session[1])))
    return np.array(parts, dtype=np.int64).reshape(-1, 2) if parts else EMPTY


def _lapses(
    window: Window,
    duty: Duty,
    quantity: str,
    pieces: Spans,
    online: Sequence[OnlineSeries],
    samples: Sequence[SampleSeries],
    *,
    now_ms: int,
) -> tuple[list[Finding], list[int]]:
    """Verdicts of overdue pieces, and the instants at which an open one's largest cause may become another."""
    probes = [series.good for series in online if series.key.quantity == quantity]
    people = [found.good for found in samples if found.key.quantity == quantity]
    if duty.duty is DutyKind.ONLINE_MONITORING:
        people = []
    elif duty.duty is DutyKind.DAILY_TEST and ServedBy.ONLINE not in duty.served_by:
        probes = []
    stored, measured = _known([*probes, *people]).facts(duty.age_ms)
    published = None
    if duty.duty is DutyKind.POSTING:
        shown = [columns for key, columns in window.publications.items() if key.quantity == quantity]
        published = merged(
            np.concatenate(
                [
                    np.column_stack(
                        (
                            part.published_at_ms,
                            np.minimum(part.measured_at_ms, part.published_at_ms) + duty.age_ms,
                        )
                    )
                    for part in shown
                ]
                or [EMPTY]
            )
        )
    until_now = np.column_stack((pieces[:, 0], np.minimum(pieces[:, 1], max(now_ms, int(pieces[-1, 0])))))
    causes = seconds_by_cause(until_now, published=published, stored=stored, measured=measured)
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
            )
        )
    edges: list[int] = []
    if pieces[-1, 1] > now_ms:
        lengths = causes[-1]
        current = seconds_by_cause(
            np.array([(now_ms, now_ms + 1)], dtype=np.int64),
            published=published,
            stored=stored,
            measured=measured,
        )[0]
        growing = largest_cause(current)
        lead_s = max(lengths.values(), default=0.0) - lengths.get(growing, 0.0)
        covers = [stored, measured] if published is None else [stored, measured, published]
        edges = [edge for cover in covers if (edge := next_edge(cover, now_ms)) is not None]
        edges += [now_ms + round(lead_s * 1000), now_ms + round(lead_s * 1000) + 1]
    return findings, edges


def _full_test(window: Window, duty: Duty, *, now_ms: int) -> DutyOutcome:
    """Done only by a passing report; whether one exists on paper is not known here, so it is never a lapse."""
    passed = [at_ms for at_ms in window.entries.passed_reports_ms if at_ms <= now_ms]
    standing, age_s, deadline_ms = DutyStanding.UNVERIFIED, None, None
    if window.begin_ms is None or now_ms < window.begin_ms:
        standing = DutyStanding.NOT_DUE
    if passed:
        age_s = (now_ms - passed[-1]) / 1000
        if now_ms < passed[-1] + duty.age_ms:
            standing, deadline_ms = DutyStanding.KEPT, passed[-1] + duty.age_ms
    return DutyOutcome(
        findings=[],
        standing=DutyState(duty.duty, "", standing, duty.clause, age_s, None, deadline_ms),
        edges_ms=[] if deadline_ms is None else [deadline_ms],
    )
