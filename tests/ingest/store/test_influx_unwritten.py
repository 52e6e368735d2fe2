"""What ingest knows to be unwritten, against a set of what is written."""

from hypothesis import given
from hypothesis import strategies as st

from ingest.store.influx_unwritten import HOLE_MS, HOLES_OF_A_POOL, Unwritten

STEP_MS = HOLE_MS // 3


@given(
    begun=st.one_of(st.none(), st.integers(0, 40)),
    batches=st.lists(st.lists(st.integers(0, 60), min_size=1, max_size=6), max_size=12),
)
def test_what_is_said_to_be_unwritten_never_was_written(begun: int | None, batches: list[list[int]]) -> None:
    unwritten = Unwritten()
    assert unwritten.unknown(["p", "q"]) == ["p", "q"]
    unwritten.learn("p", None if begun is None else begun * STEP_MS)
    # Everything up to the instant that was learned may be written: by an earlier life.
    written = set() if begun is None else set(range(begun + 1))
    for batch in batches:
        instants = sorted({number * STEP_MS for number in batch})
        if not unwritten.note_next("p", instants[0], instants[-1]) or len(instants) > 1:
            unwritten.note_written("p", instants)
        written |= set(batch)
        for number in range(70):
            at_ms = number * STEP_MS
            if at_ms > unwritten.newest_ms("p") or unwritten.in_hole("p", at_ms):
                assert number not in written
        assert len(unwritten._holes.get("p", [])) <= HOLES_OF_A_POOL


def test_a_backlog_behind_a_jump_stays_known_to_be_unwritten_while_it_comes() -> None:
    unwritten = Unwritten()
    unwritten.learn("p", 0)
    day_ms = 86_400_000
    unwritten.note_written("p", [day_ms])  # after an outage the newest message comes first
    live_ms = day_ms
    for at_ms in range(10_000, day_ms - HOLE_MS, 10_000):
        assert unwritten.in_hole("p", at_ms)
        unwritten.note_written("p", [at_ms])
        assert not unwritten.in_hole("p", at_ms)
        live_ms += 10_000
        assert live_ms > unwritten.newest_ms("p")
        assert unwritten.note_next("p", live_ms, live_ms)


def test_a_pool_without_a_reading_has_everything_unwritten_before_its_first_one_too() -> None:
    unwritten = Unwritten()
    unwritten.learn("p", None)
    unwritten.note_written("p", [5_000_000])
    assert unwritten.in_hole("p", 10_000)
    assert not unwritten.in_hole("p", 5_000_000)
    unwritten.note_hole("p", (6_000_000, 6_000_000 + HOLE_MS - 1))
    assert not unwritten.in_hole("p", 6_000_001)
