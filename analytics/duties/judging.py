"""How the duties of a pool stand, and the lapses in which they were not kept (DESIGN 12.4, 12.6, 12.7). Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analytics.duties.bound import DutyBound, duty_bound, in_force_of
from analytics.duties.daily_test import sessions
from analytics.duties.facts import BEGIN, NO_INSTANTS, FactPart, ServingFacts, serving_facts
from analytics.duties.full_test import SEASON_GAP_MS, bound_seasons, report_parts, season_end_ms, seasons_of
from analytics.duties.lapses import NOT_MEASURED, cause_covers, lapse_findings
from analytics.duties.posting import NO_DISPLAYS, Displays, evidenced, posting_days
from analytics.duties.sources import posted_parts, published_parts, tested_parts
from analytics.publication import overdue_pieces
from analytics.results import DutyStanding, DutyState
from analytics.series import OnlineSeries, SampleSeries
from analytics.spans import (
    EMPTY,
    FAR_MS,
    Instants,
    Spans,
    cut,
    holds,
    merged,
    next_edge,
    without,
)
from analytics.standards.profile import Duty, DutyKind, ServedBy
from analytics.verdicts import Finding
from analytics.window import Window


@dataclass(frozen=True, slots=True)
class DutyOutcome:
    """Lapses and standing of one duty of one quantity, and the instants after now at which it changes by itself.

    `bound`: when the duty binds the pool, whether open or not. `overdue` and `unverified`: of that time, as far as
    the window looks back, when it was not kept, and when nobody can tell; both may reach beyond now.
    """

    findings: list[Finding]
    standing: DutyState
    edges_ms: list[int]
    bound: Spans
    overdue: Spans
    unverified: Spans


def judge_duties(
    window: Window,
    online: Sequence[OnlineSeries],
    samples: Sequence[SampleSeries],
    *,
    now_ms: int,
    displays: Displays = NO_DISPLAYS,
) -> list[DutyOutcome]:
    """Every duty of the pool's profile for every quantity that it has it for; `displays`: what screens showed."""
    outcomes: dict[tuple[DutyKind, str], list[tuple[Duty, DutyOutcome]]] = {}
    is_open = holds(window.open_time, now_ms)
    for duty in window.rules.duties:
        if (duty.from_ms or -FAR_MS) > now_ms or (duty.to_ms or FAR_MS) < window.look_from_ms:
            continue
        if duty.duty is DutyKind.FULL_TEST:
            outcome = _full_test(window, duty, now_ms=now_ms)
            outcomes.setdefault((duty.duty, ""), []).append((duty, outcome))
            continue
        for quantity in duty.quantities:
            bound = duty_bound(window, duty, quantity)
            if bound is not None:
                outcome = _judge_duty(
                    window,
                    duty,
                    quantity,
                    bound,
                    online,
                    samples,
                    displays,
                    binds_now=is_open and holds(bound.spans, now_ms),
                    now_ms=now_ms,
                )
                outcomes.setdefault((duty.duty, quantity), []).append((duty, outcome))
    return [_united(editions, now_ms=now_ms) for editions in outcomes.values()]


def _united(editions: Sequence[tuple[Duty, DutyOutcome]], *, now_ms: int) -> DutyOutcome:
    """One outcome of a duty's successive editions, with the standing by the one in force now, else by the last."""
    if len(editions) == 1:
        return editions[0][1]
    found = [outcome for _, outcome in editions]
    in_force = [outcome for duty, outcome in editions if duty.in_force(now_ms)]
    return DutyOutcome(
        findings=[finding for outcome in found for finding in outcome.findings],
        standing=(in_force or found)[-1].standing,
        edges_ms=[edge for outcome in found for edge in outcome.edges_ms],
        bound=merged(np.concatenate([outcome.bound for outcome in found])),
        overdue=merged(np.concatenate([outcome.overdue for outcome in found])),
        unverified=merged(np.concatenate([outcome.unverified for outcome in found])),
    )


def _judge_duty(
    window: Window,
    duty: Duty,
    quantity: str,
    bound: DutyBound,
    online: Sequence[OnlineSeries],
    samples: Sequence[SampleSeries],
    displays: Displays,
    *,
    binds_now: bool,
    now_ms: int,
) -> DutyOutcome:
    parts = tested_parts(window, duty, quantity, online, samples)
    if ServedBy.PUBLICATION in duty.served_by:
        parts += published_parts(window, quantity, online, displays)
    seen = NO_INSTANTS
    if duty.duty is DutyKind.POSTING:
        posted, seen = posted_parts(window, duty, quantity, online, displays)
        parts += posted
    before_ms = None if duty.before_session_s is None else round(duty.before_session_s * 1000)
    facts = serving_facts(
        [*parts, FactPart(BEGIN, "", bound.begins_ms, bound.begins_ms, duty.age_ms)],
        age_ms=duty.age_ms,
        sessions=EMPTY
        if before_ms is None
        else sessions(window.opening, window.entries.closed, before_session_ms=before_ms),
        before_session_ms=before_ms,
    )
    pieces = overdue_pieces(facts.facts, from_ms=window.look_from_ms, to_ms=FAR_MS)
    unverified = EMPTY
    edges: list[int] = []
    if duty.duty is DutyKind.POSTING:
        days = posting_days(window.opening, zone_name=window.pool.time_zone, to_ms=now_ms)
        pieces, unverified = _told_apart(window, pieces, facts.serving.cover, bound.spans, days, seen)
        edges += [edge for edge in days.ravel().tolist() if edge > now_ms][:1]
    elif len(pieces) and pieces[0, 0] <= now_ms:
        pieces = cut(pieces, cut(window.open_time, bound.spans))
    # Sorted and disjoint: what begins at or before now, and of it what ends in the judged span.
    pieces = pieces[: np.searchsorted(pieces[:, 0], now_ms, side="right")]
    findings: list[Finding] = []
    judged = pieces[np.searchsorted(pieces[:, 1], window.judged_from_ms, side="left") :]
    if len(judged):
        findings, cause_edges = lapse_findings(
            window,
            duty,
            quantity,
            judged,
            facts=facts,
            covers=cause_covers(window, duty, quantity, online, samples, displays),
            bound=bound.spans,
            now_ms=now_ms,
        )
        edges += cause_edges
    standing, standing_edges = _standing(
        duty, quantity, facts, pieces, unverified, binds_now=binds_now, now_ms=now_ms
    )
    return DutyOutcome(findings, standing, edges + standing_edges, bound.spans, pieces, unverified)


def _told_apart(
    window: Window, pieces: Spans, cover: Spans, bound: Spans, days: Spans, seen: Instants
) -> tuple[Spans, Spans]:
    """Of the time in which posting was due and nothing covered it: what is a lapse, and what nobody can tell."""
    due = cut(window.open_time, bound)
    looked_at = cut(due, np.array([(window.look_from_ms, FAR_MS)], dtype=np.int64))
    if not len(cover) and not len(seen):
        return EMPTY, looked_at
    overdue = cut(pieces, cut(due, evidenced(days, cover, seen)))
    return overdue, without(without(looked_at, cover), merged(overdue))


def _standing(
    duty: Duty,
    quantity: str,
    facts: ServingFacts,
    overdue: Spans,
    unverified: Spans,
    *,
    binds_now: bool,
    now_ms: int,
) -> tuple[DutyState, list[int]]:
    """How a duty stands now, and when it may stand otherwise."""
    counts_from, until = facts.facts.from_ms, facts.facts.until_ms
    counts_now = counts_from <= now_ms
    all_count = bool(counts_now.all())
    counting_until = until if all_count else until[counts_now]
    covered_until_ms = int(counting_until.max()) if len(counting_until) else now_ms
    if not binds_now:
        standing = DutyStanding.NOT_DUE
    elif holds(overdue, now_ms):
        standing = DutyStanding.OVERDUE
    elif holds(unverified, now_ms):
        standing = DutyStanding.UNVERIFIED
    else:
        standing = DutyStanding.KEPT
    age_s = lag_s = None
    served = facts.serving
    counting = counts_now[: len(served.from_ms)]
    if counting.any():
        measured = served.measured_at_ms
        newest = int((measured if all_count else np.where(counting, measured, -FAR_MS)).argmax())
        age_s = (now_ms - int(served.measured_at_ms[newest])) / 1000
        lag_s = (int(served.from_ms[newest]) - int(served.measured_at_ms[newest])) / 1000
    state = DutyState(
        duty=duty.duty,
        quantity=quantity,
        standing=standing,
        clause=duty.clause,
        age_s=age_s,
        lag_s=lag_s,
        deadline_ms=covered_until_ms if standing is DutyStanding.KEPT else None,
    )
    if all_count:
        return state, [covered_until_ms]
    return state, [covered_until_ms, int(counts_from[~counts_now].min())]


def _full_test(window: Window, duty: Duty, *, now_ms: int) -> DutyOutcome:
    """Done only by a passing report, of the year and since the last closing of the season before.

    What was tested before the pool came here is not known: until a year after, or the next season, it is unverified.
    """
    begin_ms = window.begin_ms
    if begin_ms is None or begin_ms > now_ms:
        nothing = DutyState(duty.duty, "", DutyStanding.NOT_DUE, duty.clause)
        return DutyOutcome([], nothing, [], EMPTY, EMPTY, EMPTY)
    found = seasons_of(window.pool, from_ms=begin_ms - duty.age_ms, to_ms=now_ms)
    began = in_force_of(window, duty, "", np.array([(begin_ms, FAR_MS)], dtype=np.int64))
    bound = cut(bound_seasons(found, window.entries.closed, now_ms=now_ms), began.spans)
    begins = began.begins_ms
    reports = report_parts(window.entries.reports, found)
    begin = FactPart(BEGIN, "", begins, begins, at_most_ms=season_end_ms(begins, found))
    facts = serving_facts([*reports, begin], age_ms=duty.age_ms, sessions=EMPTY, before_session_ms=None)
    overdue = cut(overdue_pieces(facts.facts, from_ms=begin_ms, to_ms=FAR_MS), bound)
    overdue = overdue[overdue[:, 0] <= now_ms]
    unverified = without(without(bound, facts.serving.cover), merged(overdue))
    judged = overdue[overdue[:, 1] >= window.judged_from_ms]
    findings: list[Finding] = []
    if len(judged):
        findings, _ = lapse_findings(
            window, duty, "", judged, facts=facts, covers=NOT_MEASURED, bound=bound, now_ms=now_ms
        )
    state, edges = _standing(
        duty, "", facts, overdue, unverified, binds_now=holds(bound, now_ms), now_ms=now_ms
    )
    edges += [edge for edge in (next_edge(bound, now_ms),) if edge is not None]
    edges += [int(start) + SEASON_GAP_MS for start in window.entries.closed[-1:, 0]]
    return DutyOutcome(findings, state, edges, bound, overdue, unverified)
