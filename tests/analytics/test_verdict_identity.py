"""Sticky identity through re-judging (DESIGN 12.10)."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from analytics.results import Verdict, VerdictKind, VerdictState, decode_verdict, encode
from analytics.spans import merged
from analytics.verdicts import reconcile, without_identity


def finding(start: int, end: int | None, *, rule: str = "ph.low", worst: float = 6.5) -> Verdict:
    return Verdict(
        verdict_id="", revision=0, kind=VerdictKind.EXCEEDANCE, pool_id="p", quantity="ph", rule=rule, profile="demo",
        standard="s", edition="e", clause="c", clause_status="read", consequence="none",
        state=VerdictState.OPEN if end is None else VerdictState.CLOSED, start_ms=start, end_ms=end, judged_at_ms=0,
        sensor_id="ph-1", worst_value=worst,
    )  # fmt: skip


class Book:
    """Current revisions, as the store would hold them."""

    def __init__(self) -> None:
        self.current: dict[str, Verdict] = {}
        self.written: list[Verdict] = []
        self._numbers = itertools.count(1)
        self._now = itertools.count(100)

    def judge(self, *findings: Verdict) -> list[Verdict]:
        alive = [v for v in self.current.values() if v.state is not VerdictState.WITHDRAWN]
        revisions = reconcile(
            findings, alive, judged_at_ms=next(self._now), new_id=lambda: f"id-{next(self._numbers)}"
        )
        self.written += revisions
        self.current.update({v.verdict_id: v for v in revisions})
        return revisions

    def alive(self) -> dict[str, tuple[int, int | None]]:
        return {
            v.verdict_id: (v.start_ms, v.end_ms)
            for v in self.current.values()
            if v.state is not VerdictState.WITHDRAWN
        }


def test_opening_worsening_and_closing_are_revisions_of_one() -> None:
    book = Book()
    (first,) = book.judge(finding(10, None))
    assert (first.verdict_id, first.revision, first.judged_at_ms) == ("id-1", 1, 100)
    assert book.judge(finding(10, None)) == []  # the same again says nothing new
    (worse,) = book.judge(finding(10, None, worst=6.2))
    (closed,) = book.judge(finding(10, 50, worst=6.2))
    assert [(v.verdict_id, v.revision) for v in (worse, closed)] == [("id-1", 2), ("id-1", 3)]
    assert closed.first_judged_at_ms == first.judged_at_ms
    assert decode_verdict(encode(closed)) == closed


def test_a_split_keeps_the_id_on_the_first_piece() -> None:
    book = Book()
    book.judge(finding(10, 100))
    book.judge(finding(10, 40), finding(60, 100))
    assert book.alive() == {"id-1": (10, 40), "id-2": (60, 100)}


def test_a_merge_withdraws_the_younger_and_names_the_survivor() -> None:
    book = Book()
    book.judge(finding(60, 100))  # id-1, though it begins later
    book.judge(finding(10, 40), finding(60, 100))  # id-2
    book.judge(finding(10, 100))
    assert book.alive() == {"id-1": (10, 100)}
    withdrawn = book.current["id-2"]
    assert (withdrawn.state, withdrawn.survivor, withdrawn.revision) == (VerdictState.WITHDRAWN, "id-1", 2)


def test_a_refuted_verdict_gets_a_last_revision_and_stays_readable() -> None:
    book = Book()
    book.judge(finding(10, 100))
    (withdrawn,) = book.judge()
    assert (withdrawn.state, withdrawn.survivor) == (VerdictState.WITHDRAWN, None)
    assert (withdrawn.start_ms, withdrawn.end_ms) == (10, 100)
    assert book.judge() == []


def test_other_limits_and_series_do_not_take_each_others_ids() -> None:
    book = Book()
    book.judge(finding(10, 100), finding(10, 100, rule="ph_closure.low"))
    other = replace(finding(10, 100), sensor_id="ph-2")
    book.judge(finding(20, 100), finding(10, 100, rule="ph_closure.low"), other)
    assert sorted(book.current) == ["id-1", "id-2", "id-3"]
    assert book.current["id-3"].sensor_id == "ph-2"


intervals = st.lists(
    st.tuples(st.integers(0, 60), st.integers(1, 20)).map(lambda p: (p[0], p[0] + p[1])), max_size=6
)


@settings(max_examples=300, deadline=None)
@given(rounds=st.lists(intervals, min_size=1, max_size=6))
def test_after_each_round_what_is_alive_is_what_was_found(rounds: list[list[tuple[int, int]]]) -> None:
    book = Book()
    for found in rounds:
        wanted = [finding(start, end) for start, end in merged(found).tolist()]
        old = {v.verdict_id: v for v in book.current.values() if v.state is not VerdictState.WITHDRAWN}
        book.judge(*wanted)
        alive = [v for v in book.current.values() if v.state is not VerdictState.WITHDRAWN]
        assert sorted(map(repr, map(without_identity, alive))) == sorted(map(repr, wanted))
        for verdict in alive:
            overlapping = [
                v
                for v in old.values()
                if v.start_ms < (verdict.end_ms or 0) and verdict.start_ms < (v.end_ms or 0)
            ]
            # An id that goes on belongs to something that overlapped it.
            if verdict.verdict_id in old:
                assert old[verdict.verdict_id] in overlapping
    by_id: dict[str, list[int]] = {}
    for verdict in book.written:
        by_id.setdefault(verdict.verdict_id, []).append(verdict.revision)
    assert all(revisions == list(range(1, len(revisions) + 1)) for revisions in by_id.values())
