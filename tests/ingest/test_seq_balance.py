from hypothesis import given
from hypothesis import strategies as st

from gateway.contract.status import DroppedSpan, GatewayState, GatewayStatus
from ingest.receipt_book import merge_ranges
from ingest.seq_balance import GatewayClaims, balance_boots, count, without

RANGES = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 12)).map(lambda pair: (pair[0], sum(pair))), max_size=6
)
SINCE = "2026-07-01T08:00:00.000Z"


def numbers(ranges: list[tuple[int, int]]) -> set[int]:
    return {number for first, last in ranges for number in range(first, last + 1)}


def status(boot_id: str, next_seq: int, *outbox: tuple[str, int, int], dropped: int = 0) -> GatewayStatus:
    spans = [DroppedSpan(from_=SINCE, to=SINCE, readings=dropped)] if dropped else []
    return GatewayStatus(
        state=GatewayState.ONLINE,
        boot_id=boot_id,
        since=SINCE,
        version="",
        next_seq=next_seq,
        outbox=list(outbox),
        dropped=spans,
        hours_left=None,
    )


@given(RANGES, RANGES)
def test_without_is_the_difference_of_sets(
    ranges: list[tuple[int, int]], taken: list[tuple[int, int]]
) -> None:
    left = without(merge_ranges(ranges), merge_ranges(taken))
    assert numbers(left) == numbers(ranges) - numbers(taken)
    assert left == merge_ranges(left)
    assert count(left) == len(numbers(left))


@given(RANGES, RANGES, st.integers(0, 80))
def test_every_seq_is_received_kept_or_missing(
    received: list[tuple[int, int]], kept: list[tuple[int, int]], claimed: int
) -> None:
    claims = GatewayClaims(next_seqs={"b": claimed}, kept={"b": kept})
    (balance,) = balance_boots(received={"b": received}, claims=claims)
    here, there = numbers(received), numbers(kept)
    sent = max([claimed, *(number + 1 for number in here | there)])
    assert (balance.sent, balance.received) == (sent, len(here))
    assert balance.kept == len(there - here)
    assert numbers(list(balance.missing)) == set(range(sent)) - here - there
    assert balance.sent == balance.received + balance.kept + balance.missing_messages


def test_without_a_status_only_holes_show() -> None:
    (balance,) = balance_boots(received={"b1": [(0, 3), (6, 9)]}, claims=None)
    assert (balance.sent, balance.missing) == (10, ((4, 5),))


def test_a_lost_tail_shows_when_the_gateway_has_gone_on_to_another_boot() -> None:
    claims = GatewayClaims()
    claims.note(status("b1", 50), 1)
    claims.note(status("b2", 3), 2)
    first, second = balance_boots(received={"b1": [(0, 44)], "b2": [(0, 2)]}, claims=claims)
    assert (first.boot_id, first.missing) == ("b1", ((45, 49),))
    assert (second.boot_id, second.missing) == ("b2", ())


def test_a_boot_that_never_arrived_is_kept_by_the_gateway_or_missing() -> None:
    claims = GatewayClaims()
    claims.note(status("b2", 4, ("b1", 0, 7), ("b2", 2, 4)), 1)
    first, second = balance_boots(received={"b2": [(0, 1)]}, claims=claims)
    assert (first.kept, first.missing, second.kept, second.missing) == (7, (), 2, ())
    claims.note(status("b2", 4, ("b2", 2, 4), dropped=21), 2)
    first, _ = balance_boots(received={"b2": [(0, 1)]}, claims=claims)
    assert (first.kept, first.missing, claims.dropped_readings) == (0, ((0, 6),), 21)
