from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gateway.contract.receipts import Receipt
from ingest.receipt_book import ReceiptBook, merge_ranges

_RANGE = st.tuples(st.integers(0, 40), st.integers(0, 6)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@given(st.lists(_RANGE))
def test_merged_ranges_hold_the_same_numbers_and_never_touch(ranges: list[tuple[int, int]]) -> None:
    merged = merge_ranges(ranges)
    wanted = {number for first, last in ranges for number in range(first, last + 1)}
    assert {number for first, last in merged for number in range(first, last + 1)} == wanted
    assert all(left[1] + 1 < right[0] for left, right in pairwise(merged))


def test_one_receipt_a_gateway_and_second() -> None:
    book = ReceiptBook()
    for seq in (0, 1, 3):
        book.add([("gw-a", "b1", seq)])
    book.add([("gw-a", "b2", 0)])
    book.add([("gw-b", "x", 9)])
    due = book.due(100.0)
    assert due == [("gw-a", Receipt("b1", [(0, 1), (3, 3)])), ("gw-b", Receipt("x", [(9, 9)]))]
    for gateway_id, receipt in due:
        book.sent(gateway_id, receipt, 100.0)
    book.add([("gw-b", "x", 10)])
    assert book.due(100.9) == []
    assert book.due(101.0) == [("gw-a", Receipt("b2", [(0, 0)])), ("gw-b", Receipt("x", [(10, 10)]))]


def test_a_receipt_that_could_not_go_out_stays_due() -> None:
    book = ReceiptBook()
    book.add([("gw-a", "b1", 5)])
    assert book.due(1.0) == book.due(1.0)
    ((gateway_id, receipt),) = book.due(1.0)
    book.sent(gateway_id, receipt, 1.0)
    assert book.is_empty


def test_more_ranges_than_fit_go_out_one_receipt_after_the_other() -> None:
    book = ReceiptBook()
    for seq in range(0, 3000, 2):
        book.add([("gw-a", "b1", seq)])
    told: list[tuple[int, int]] = []
    for now_s in (0.0, 1.0, 2.0):
        for gateway_id, receipt in book.due(now_s):
            assert len(receipt.stored) <= 1000
            told += receipt.stored
            book.sent(gateway_id, receipt, now_s)
    assert told == [(seq, seq) for seq in range(0, 3000, 2)]
    assert book.is_empty
