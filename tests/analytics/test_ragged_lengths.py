"""Spans of many owners at once, against sets of milliseconds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.ragged import RaggedSpans
from analytics.ragged_lengths import (
    REACH_MS,
    by_new_owner,
    common,
    complement,
    count_ended,
    count_started,
    length_before,
    merged_by_owner,
    nothing,
    union,
    without,
)
from analytics.spans import FAR_MS, merged

N_OWNERS, END = 3, 30
ROWS = st.lists(
    st.tuples(st.integers(0, N_OWNERS - 1), st.integers(-5, END), st.integers(-5, END)), max_size=12
)
Rows = list[tuple[int, int, int]]


def ragged(rows: Rows) -> RaggedSpans:
    table = np.array(rows, dtype=np.int64).reshape(-1, 3)
    return merged_by_owner(table[:, 0], table[:, 1:], n_owners=N_OWNERS)


def instants(rows: Rows, owner: int) -> set[int]:
    return {at for whose, start, end in rows if whose == owner for at in range(start, end)}


def held(spans: RaggedSpans, owner: int) -> set[int]:
    return {at for start, end in spans[owner] for at in range(max(start, -50), min(end, 50))}


@given(ROWS)
def test_merged_by_owner_is_merged_of_each(rows: Rows) -> None:
    spans = ragged(rows)
    assert len(spans) == N_OWNERS
    for owner in range(N_OWNERS):
        mine = [(start, end) for whose, start, end in rows if whose == owner]
        assert spans[owner].tolist() == merged(np.array(mine, dtype=np.int64).reshape(-1, 2)).tolist()


@given(ROWS, ROWS)
def test_union_difference_and_intersection(rows: Rows, others: Rows) -> None:
    spans, taken = ragged(rows), ragged(others)
    for owner in range(N_OWNERS):
        mine, theirs = instants(rows, owner), instants(others, owner)
        assert held(union([spans, taken]), owner) == mine | theirs
        assert held(without(spans, taken), owner) == mine - theirs
        assert held(common(spans, taken), owner) == mine & theirs
        assert held(complement(spans), owner) == set(range(-50, 50)) - mine


@given(ROWS, st.lists(st.tuples(st.integers(0, N_OWNERS - 1), st.integers(-8, END + 5)), max_size=10))
def test_lengths_and_counts(rows: Rows, asked: list[tuple[int, int]]) -> None:
    spans = ragged(rows)
    table = np.array(asked, dtype=np.int64).reshape(-1, 2)
    owner, at = table[:, 0], table[:, 1]
    lengths, started, ended = (
        measure(spans, owner, at) for measure in (length_before, count_started, count_ended)
    )
    for index, (whose, instant) in enumerate(asked):
        assert lengths[index] == sum(moment < instant for moment in instants(rows, whose))
        assert started[index] == sum(start < instant for start, _ in spans[whose])
        assert ended[index] == sum(end <= instant for _, end in spans[whose])


@given(ROWS, st.lists(st.integers(-1, 1), min_size=N_OWNERS, max_size=N_OWNERS))
def test_new_owners_get_the_union(rows: Rows, new: list[int]) -> None:
    spans = by_new_owner(ragged(rows), np.array(new), n_owners=2)
    for owner in range(2):
        expected = set().union(*(instants(rows, old) for old in range(N_OWNERS) if new[old] == owner))
        assert held(spans, owner) == expected


def test_what_never_ends_reaches_139_years() -> None:
    spans = merged_by_owner(np.array([0, 1]), np.array([[-FAR_MS, 5], [7, FAR_MS]]), n_owners=2)
    assert spans.spans.tolist() == [[-REACH_MS, 5], [7, REACH_MS]]
    assert length_before(spans, np.array([0, 1]), np.array([10, 10])).tolist() == [REACH_MS + 5, 3]
    assert complement(spans).spans.tolist() == [[5, REACH_MS], [-REACH_MS, 7]]


def test_nothing_is_nothing() -> None:
    spans = nothing(2)
    assert union([spans, spans]).spans.shape == (0, 2)
    assert without(spans, spans).first.tolist() == [0, 0, 0]
    assert complement(spans).spans.tolist() == [[-REACH_MS, REACH_MS]] * 2
    assert len(nothing(0)) == len(complement(nothing(0))) == 0


def test_an_owner_that_does_not_exist_is_refused() -> None:
    for owner in (-1, 2):
        with pytest.raises(ValueError, match="owners must be within 0 to 1"):
            merged_by_owner(np.array([owner]), np.array([[0, 1]]), n_owners=2)
