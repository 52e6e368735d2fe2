"""Overdue time in closed form against cell-by-cell loops (DESIGN 12.6, 12.7); intervals against sets of cells."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.publication import aged_facts, largest_cause, overdue_pieces, seconds_by_cause
from analytics.results import Cause
from analytics.spans import Spans, complement, cut, holds, length_before, merged, next_edge, without

END = 120
facts_strategy = st.lists(st.tuples(st.integers(-30, END), st.integers(-30, END)), max_size=15)
spans_strategy = st.lists(
    st.tuples(st.integers(0, END), st.integers(0, 40)).map(lambda p: (p[0], p[0] + p[1])), max_size=8
)


def cells(spans: Spans) -> set[int]:
    return {cell for start, end in spans.tolist() for cell in range(start, end)}


def pieces_of(wanted: set[int]) -> list[list[int]]:
    starts = sorted(cell for cell in wanted if cell - 1 not in wanted)
    ends = sorted(cell + 1 for cell in wanted if cell + 1 not in wanted)
    return [list(pair) for pair in zip(starts, ends, strict=True)]


def as_array(numbers: list[int]) -> np.ndarray:
    return np.array(numbers, dtype=np.int64)


@settings(max_examples=300, deadline=None)
@given(one=spans_strategy, other=spans_strategy)
def test_sets_of_intervals_are_sets_of_cells(
    one: list[tuple[int, int]], other: list[tuple[int, int]]
) -> None:
    a, b = merged(one), merged(other)
    assert a.tolist() == pieces_of({c for s, e in one for c in range(s, e)})
    assert cut(a, b).tolist() == pieces_of(cells(a) & cells(b))
    assert without(a, b).tolist() == pieces_of(cells(a) - cells(b))
    assert complement(a, from_ms=10, to_ms=90).tolist() == pieces_of(set(range(10, 90)) - cells(a))
    at = np.arange(-2, END + 45)
    assert length_before(a, at).tolist() == [len([c for c in cells(a) if c < t]) for t in at]
    assert [holds(a, int(t)) for t in at] == [int(t) in cells(a) for t in at]
    edges = sorted(set(a.ravel().tolist()))
    assert next_edge(a, 50) == next((edge for edge in edges if edge > 50), None)


@settings(max_examples=400, deadline=None)
@given(facts=facts_strategy, opening=spans_strategy, age=st.integers(0, 40), begin=st.integers(0, 60))
def test_overdue_pieces_against_cells(
    facts: list[tuple[int, int]], opening: list[tuple[int, int]], age: int, begin: int
) -> None:
    served, measured = as_array([f[0] for f in facts]), as_array([f[1] for f in facts])
    open_time = merged(opening)
    found = overdue_pieces(
        aged_facts(
            from_ms=served, measured_at_ms=measured, age_ms=age, sessions=open_time, before_session_ms=None
        ),
        from_ms=begin,
        to_ms=END,
    )
    overdue = set()
    for cell in range(begin, END):
        covered = any(p <= cell < min(m, p) + age for p, m in facts)
        if not covered:
            overdue.add(cell)
    assert found.tolist() == pieces_of(overdue)
    assert cut(found, open_time).tolist() == pieces_of(overdue & cells(open_time))


@settings(max_examples=300, deadline=None)
@given(
    facts=facts_strategy,
    published=spans_strategy,
    age=st.integers(0, 40),
    pieces=spans_strategy,
    with_published=st.booleans(),
)
def test_causes_against_cells(
    facts: list[tuple[int, int]],
    published: list[tuple[int, int]],
    age: int,
    pieces: list[tuple[int, int]],
    with_published: bool,  # noqa: FBT001 - drawn
) -> None:
    stored_spans = merged([(s, min(m, s) + age) for s, m in facts])
    measured_spans = merged([(m, m + age) for _, m in facts])
    shown = merged(published) if with_published else None
    found = seconds_by_cause(merged(pieces), published=shown, stored=stored_spans, measured=measured_spans)
    for (start, end), seconds in zip(merged(pieces).tolist(), found, strict=True):
        expected: dict[Cause, float] = {}
        for cell in range(start, end):
            if shown is not None and cell in cells(shown):
                cause = Cause.NOT_DISPLAYED
            elif any(s <= cell < min(m, s) + age for s, m in facts):
                cause = Cause.NOT_PUBLISHED
            elif any(m <= cell < m + age for _, m in facts):
                cause = Cause.NOT_RECEIVED
            else:
                cause = Cause.NOT_MEASURED
            expected[cause] = expected.get(cause, 0) + 1
        assert {c: round(s * 1000) for c, s in seconds.items()} == expected
        assert expected[largest_cause(seconds)] == max(expected.values())


@settings(max_examples=200, deadline=None)
@given(
    measured=st.lists(st.integers(0, END), max_size=12),
    opening=spans_strategy,
    age=st.integers(0, 60),
    before=st.integers(0, 20),
)
def test_a_fact_does_not_serve_a_session_for_which_it_came_too_early(
    measured: list[int], opening: list[tuple[int, int]], age: int, before: int
) -> None:
    sessions = merged(opening)
    at = as_array(measured)
    facts = aged_facts(from_ms=at, measured_at_ms=at, age_ms=age, sessions=sessions, before_session_ms=before)
    for m, until in zip(measured, facts.until_ms.tolist(), strict=True):
        too_early = [s for s, _ in sessions.tolist() if s - before > m]
        assert until == min([m + age, *too_early])


def test_a_day_by_hand() -> None:
    # Open 06:00 to 22:00; published at 06:00, 06:10 and 07:00, measured at the same times, allowed age 15 min.
    minute = 60_000
    at = as_array([6 * 60 * minute, 370 * minute, 420 * minute])
    facts = aged_facts(
        from_ms=at, measured_at_ms=at, age_ms=15 * minute, sessions=merged([]), before_session_ms=None
    )
    open_time = merged([(360 * minute, 1320 * minute)])
    found = cut(overdue_pieces(facts, from_ms=0, to_ms=1440 * minute), open_time)
    # Overdue 06:25 to 07:00, and from 07:15 to closing.
    assert (found // minute).tolist() == [[385, 420], [435, 1320]]
