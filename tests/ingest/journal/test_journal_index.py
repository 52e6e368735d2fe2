"""The index and the seqs of a source against brute force."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ingest.journal.account import boot_seqs
from ingest.journal.runs import Placed, ids_in, placed_of, rows_of
from ingest.journal.sources import Source

_messages = st.lists(
    st.tuples(st.integers(-2, 2), st.integers(0, 40) | st.just(2**53 - 1)), max_size=60, unique=True
)


def _placed(messages: list[tuple[int, int]], first_id: int) -> Placed:
    sources, seqs = ([one[at] for one in messages] for at in (0, 1))
    ids = np.arange(first_id, first_id + len(messages), dtype=np.int64)
    return Placed(np.array(sources, dtype=np.int64), np.array(seqs, dtype=np.int64), ids)


@given(messages=_messages, first_id=st.integers(1, 2**50))
def test_every_message_is_found_by_its_source_and_seq(messages: list[tuple[int, int]], first_id: int) -> None:
    rows = {row.source: row for row in rows_of([_placed(messages, first_id)])}
    for index, (source, seq) in enumerate(messages):
        row = rows[source]
        assert row.first_seq <= seq <= row.last_seq
        assert ids_in(row, seq) == [first_id + index]
        if (source, seq + 1) not in messages:
            assert ids_in(row, seq + 1) == []
    if rows:
        assert rows_of([placed_of(list(rows.values()))]) == list(rows.values())


@given(
    seqs=st.lists(st.integers(0, 60), max_size=60),
    settle_after=st.sets(st.integers(0, 60)),
    keep=st.integers(1, 3),
)
def test_a_source_knows_what_came_whatever_is_in_memory(
    seqs: list[int], settle_after: set[int], keep: int
) -> None:
    """A checkpoint may come after any seq; the ranges that it forgets are found in the file, here a dictionary."""
    file: dict[int, int] = {}

    def load(seq: int, below: int | None) -> list[tuple[int, int]]:
        return sorted(one for one in file.items() if one[1] >= seq and (below is None or one[0] < below))

    source = Source("gw-a", "b1", [], is_complete=True, load=load)
    came: set[int] = set()
    for step, seq in enumerate(seqs):
        assert source.holds(seq) == (seq in came)
        source.take(seq)
        came.add(seq)
        assert source.holds(seq)
        if step in settle_after:
            for first in source.absorbed:
                file.pop(first, None)
            file.update(source.changed_ranges())
            source.forget_changes()
            source.trim(keep=keep)
            assert {one for first, last in file.items() for one in range(first, last + 1)} == came
    ranges = source.all_ranges()
    assert [one for first, last in ranges for one in range(first, last + 1)] == sorted(came)
    assert all(left[1] + 1 < right[0] for left, right in pairwise(ranges))
    found = boot_seqs("gw-a", "b1", ranges)
    assert found.highest == max(came, default=-1)
    missing = sorted(set(range(found.highest + 1)) - came)
    assert [one for first, last in found.holes for one in range(first, last + 1)] == missing
    assert found.missing == len(missing)
